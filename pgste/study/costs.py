# SPDX-License-Identifier: MIT
"""What hints, faults and swap cost on some machine, and the time that counters stand for.

`pgste calibrate` measures a `Profile`; `estimate` turns the counters of a comparison into time
with it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pgste.errors import ArgumentError
from pgste.files.saving import save
from pgste.files.texts import load_json, read_bounded

__all__ = ["ESTIMATE_ROWS", "OPERATIONS", "Cost", "Estimate", "Profile", "estimate", "operations"]

FORMAT = "pgste-costs"
VERSION = 1
_MOST_BYTES = 1 << 24  # of a profile; those of `calibrate` have a few KiB


@dataclass(frozen=True)
class Cost:
    """A measured cost in nanoseconds: median and quartiles over the rounds."""

    median: float
    q1: float
    q3: float
    rounds: int
    unit: str
    """"ns a page" or "ns a call"."""
    meaning: str


@dataclass(frozen=True)
class Profile:
    """Costs of a machine, with what is needed to know where they are from."""

    machine: dict[str, Any]
    date: str
    seconds: float
    costs: dict[str, Cost]
    skipped: dict[str, str]
    """What could not be measured, and why."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as JSON, whole or not at all; OSError if it cannot be written."""
        text = json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1)
        save(path, lambda file: file.write(f"{text}\n".encode()))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Profile:
        """Read a profile.

        Raises
        ------
        OSError
            The file cannot be read.
        ArgumentError
            It is no profile; the message names the file.
        """
        try:
            data = load_json(read_bounded(path, _MOST_BYTES))
            if data.pop("format") != FORMAT or data.pop("version") != VERSION:
                raise ValueError(f"it is not {FORMAT} version {VERSION}")
            costs = {name: Cost(**cost) for name, cost in data.pop("costs").items()}
            profile = cls(costs=costs, **data)
            _check(profile)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArgumentError(f"{os.fspath(path)} is no cost profile: {error}") from None
        return profile


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e15  # type: ignore[operator]


def _check(profile: Profile) -> None:
    """ValueError for a value that is not of the type that the fields say."""
    for name, cost in profile.costs.items():
        if not all(map(_is_number, (cost.median, cost.q1, cost.q3))):
            raise ValueError(f"cost {name} is not a time")
        if type(cost.rounds) is not int or not _is_number(cost.rounds):
            raise ValueError(f"rounds of cost {name}: {cost.rounds!r} is not a count")
        if not isinstance(cost.unit, str) or not isinstance(cost.meaning, str):
            raise ValueError(f"cost {name} has no text for its unit or meaning")
    if not isinstance(profile.machine, dict):
        raise ValueError(f"machine: {profile.machine!r} is not an object")
    if not isinstance(profile.date, str) or not _is_number(profile.seconds):
        raise ValueError("date is no text, or seconds no time")
    skipped = profile.skipped
    if not isinstance(skipped, dict) or not all(isinstance(why, str) for why in skipped.values()):
        raise ValueError("skipped is not an object of texts")


@dataclass(frozen=True)
class Estimate:
    """Estimated seconds of a mechanism's work; None where the profile has no such cost."""

    hints: float | None
    faults: float | None
    swap: float | None

    @property
    def known(self) -> bool:
        """Whether the profile has what all parts cost."""
        return self.total is not None

    @property
    def total(self) -> float | None:
        """Sum of the parts, None if one is not known."""
        parts = (self.hints, self.faults, self.swap)
        return None if None in parts else sum(part for part in parts if part is not None)


HINTS_OF = {"madv_dontneed": "dontneed", "madv_free": "free"}
OPERATIONS = {
    "essa": "an ESSA instruction for a page",
    "intercept": "an exit to process a full CBRL",
    "report_call": "a report of free pages, without its pages",
    "report_page": "a page of a report",
    "dontneed_call": "a call of MADV_DONTNEED, without its pages",
    "dontneed_page": "a page of it",
    "free_call": "a call of MADV_FREE, without its pages",
    "free_page": "a page of it",
    "touch_dontneed": "a page fault that zeroes a frame",
    "touch_free_kept": "the first store to a page that MADV_FREE left there",
    "swap_out": "a page written to swap",
    "swap_in_random": "a page read from swap",
    "swap_in_cached": "a page that was read ahead",
}
"""What has a cost, by its name in a profile; `calibrate` measures all but the first four."""
ESTIMATE_ROWS = (
    ("total", "estimated time, ms"),
    ("hints", "  of hints"),
    ("faults", "  of page faults"),
    ("swap", "  of swap"),
)
"""Attributes of an `Estimate`, and what a table calls them."""


def operations(mechanism: str, stats: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """How often each of `OPERATIONS` was done, by the part of an `Estimate` that it counts for.

    hints: calls and pages of madvise or of reports; ESSA instructions, and exits for a full CBRL.
    faults: zero fills, and for ``madv_free`` the first store to pages that came back before their
    discard (pages allocated that were neither filled nor swapped in).  swap: swap-outs and
    swap-ins, these in random order, except those that found the page in the swap cache, read
    ahead (``readahead_hits``, where there is such a counter).
    """
    if mechanism == "cmma":
        hints = {"essa": stats["hints"], "intercept": stats.get("intercepts", 0)}
    else:
        kind = HINTS_OF.get(mechanism, "report")
        hints = {f"{kind}_call": stats["hints"], f"{kind}_page": stats.get("hint_pages", 0)}
        if not stats["hints"]:
            hints = {}
    kept = 0.0
    if mechanism == "madv_free":
        kept = max(stats["pages_allocated"] - stats["zero_fills"] - stats["swap_ins"], 0)
    ahead = min(stats.get("readahead_hits", 0), stats["swap_ins"])
    parts = {
        "hints": hints,
        "faults": {"touch_dontneed": stats["zero_fills"], "touch_free_kept": kept},
        "swap": {
            "swap_out": stats["swap_outs"],
            "swap_in_random": stats["swap_ins"] - ahead,
            "swap_in_cached": ahead,
        },
    }
    return {part: {op: nr for op, nr in each.items() if nr} for part, each in parts.items()}


def estimate(
    profile: Profile, mechanism: str, stats: Mapping[str, float], which: str = "median"
) -> Estimate:
    """Time that a replay's counters (`Guest.stats`) stand for on the profile's machine.

    ``which`` cost of the profile counts: "median", or the ends of its range, "q1" and "q3".  A
    part is None if the profile lacks the cost of one of its `operations`: ESSA is an instruction
    of s390x, and a report leaves the guest by a virtqueue, which `calibrate` does not measure.
    """

    def time_of(counts: Mapping[str, float]) -> float | None:
        if not counts.keys() <= profile.costs.keys():
            return None
        times = (nr * float(getattr(profile.costs[op], which)) for op, nr in counts.items())
        return sum(times) * 1e-9

    return Estimate(**{part: time_of(each) for part, each in operations(mechanism, stats).items()})
