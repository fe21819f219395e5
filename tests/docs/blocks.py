# SPDX-License-Identifier: MIT
"""Fenced blocks of Markdown files, and what the text around says about them.

A comment that a reader does not see, on a line of its own before a block:

``<!-- needs: root -->``
    The block cannot be run by a test; what follows the colon is the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

Commands = list[tuple[str, list[str]]]


@dataclass
class Block:
    """One fenced block; `line` is that of its fence, `lead` the text since the last block."""

    file: str
    heading: str
    line: int
    language: str
    lines: list[str] = field(default_factory=list)
    lead: list[str] = field(default_factory=list)

    def comment(self, name: str) -> str | None:
        """What a comment before the block says, if it is the last thing there."""
        for line in reversed(self.lead):
            found = re.fullmatch(r"<!--\s*([\w ]+?):\s*(.*?)\s*-->", line.strip())
            if found and found[1] == name:
                return found[2]
            if line.strip() and not found:
                return None
        return None

    @property
    def is_console(self) -> bool:
        return self.language == "console" or (
            self.language in ("", "text") and bool(self.lines) and self.lines[0].startswith("$ ")
        )

    @property
    def is_output(self) -> bool:
        return self.language in ("", "text") and not self.is_console

    def commands(self) -> Commands:
        """Each command of a console block with the lines it prints."""
        found: Commands = []
        continued = False
        for line in self.lines:
            if continued:
                found[-1] = (found[-1][0] + "\n" + line, [])
            elif line.startswith("$ "):
                found.append((line[2:], []))
            else:
                assert found, f"{self.file}:{self.line}: output before the first command"
                found[-1][1].append(line)
            continued = line.endswith("\\") and not found[-1][1]
        return found


def blocks_of(file: str, text: str) -> list[Block]:
    """All fenced blocks of a Markdown text, in order."""
    found: list[Block] = []
    heading, lead = "", list[str]()
    inside: Block | None = None
    for number, line in enumerate(text.split("\n"), 1):
        fence = re.fullmatch(r"\s*```\s*(\S*).*", line)
        if inside is not None:
            if fence and not fence[1]:
                inside, lead = None, []
            else:
                inside.lines.append(line)
        elif fence:
            inside = Block(file, heading, number, fence[1], lead=lead)
            found.append(inside)
        else:
            title = re.fullmatch(r"#+\s+(.*)", line)
            heading = title[1] if title else heading
            lead.append(line)
    assert inside is None, f"{file}:{inside and inside.line}: a block without an end"
    return found


def output_of(block: Block, following: Block | None) -> list[str] | None:
    """What a block prints, if the next one says so: right behind it, or after "It prints:"."""
    if following is None or not following.is_output:
        return None
    between = " ".join(line.strip() for line in following.lead if line.strip())
    if between and not re.fullmatch(r".{0,60}\bprints?\b.{0,60}:", between):
        return None
    return following.lines


def matches(expected: list[str], printed: list[str]) -> bool:
    """Whether the lines are the same; a line "..." stands for any number of lines."""
    expected, printed = trimmed(expected), trimmed(printed)
    if "..." not in expected:
        return expected == printed
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else re.escape(line) + r"\n" for line in expected
    )
    return re.fullmatch(pattern, "".join(line + "\n" for line in printed)) is not None


def trimmed(lines: list[str]) -> list[str]:
    """Without blanks at the ends of lines, and empty lines at the end."""
    return "\n".join(line.rstrip() for line in lines).rstrip("\n").split("\n")
