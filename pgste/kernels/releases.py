# SPDX-License-Identifier: MIT
"""Releases of the kernel and the commits between them, for tables of what changed when.

What is said of a commit was read at the place that `Commit.seen` names; a commit without is
from secondary sources, and whatever prints it says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgste.errors import ArgumentError

__all__ = ["Commit", "Release", "release_number", "span_text"]

Release = tuple[int, int, int]
_RELEASE = re.compile(r"v?(\d{1,2})\.(\d{1,3})(?:\.(\d{1,4}))?", re.ASCII)


def release_number(text: str, name: str = "release") -> Release:
    """A release as numbers that compare: ``v7.1.5`` is (7, 1, 5), ``6.19`` is (6, 19, 0).

    ArgumentError for what is none; a release candidate is none either.
    """
    match = _RELEASE.fullmatch(text)
    if match is None:
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        raise ArgumentError(f"{name}: {shown!r} is no release such as v6.19 or v7.1.5")
    major, minor, patch = match.groups(default="0")
    return int(major), int(minor), int(patch)


@dataclass(frozen=True)
class Commit:
    """A change to the kernel: its id, its title, the first release that has it, and where seen.

    `stable` are releases of stable series that have it too.
    """

    id: str
    title: str
    release: str
    seen: str = ""
    stable: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.id} {self.title}"


def span_text(first: str, last: str | None) -> str:
    """``v4.13 to v6.19``, ``v5.3``, or ``v7.0 on`` for what goes on."""
    if last is None:
        return f"{first} on"
    return first if first == last else f"{first} to {last}"
