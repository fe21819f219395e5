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
from pathlib import Path
from typing import Any

from pgste.errors import ArgumentError

__all__ = ["ESTIMATE_ROWS", "Cost", "Estimate", "Profile", "estimate"]

FORMAT = "pgste-costs"
VERSION = 1
_MOST_BYTES = 1 << 20  # of a file; a profile has a few thousand


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
        """Write the profile as JSON; OSError as from open."""
        text = json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1)
        Path(path).write_text(text + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Profile:
        """Read a profile; ArgumentError, which names the file, if it is not one."""
        try:
            with open(path, "rb") as file:
                text = file.read(_MOST_BYTES + 1)
            if len(text) > _MOST_BYTES:
                raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
            data = json.loads(text)
            if data.pop("format") != FORMAT or data.pop("version") != VERSION:
                raise ValueError(f"it is not {FORMAT} version {VERSION}")
            costs = {name: Cost(**cost) for name, cost in data.pop("costs").items()}
            for name, cost in costs.items():
                numbers = (cost.median, cost.q1, cost.q3)
                if not all(isinstance(n, int | float) and 0 <= n < 1e15 for n in numbers):
                    raise ValueError(f"cost {name} is not a time")
            if not isinstance(data["machine"], dict) or not isinstance(data["skipped"], dict):
                raise ValueError("machine and skipped are not objects")
            return cls(costs=costs, **data)
        except RecursionError:
            raise ArgumentError(f"{os.fspath(path)} is no cost profile: nested too deep") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArgumentError(f"{os.fspath(path)} is no cost profile: {error}") from None


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
ESTIMATE_ROWS = (
    ("total", "estimated time, ms"),
    ("hints", "  of hints"),
    ("faults", "  of page faults"),
    ("swap", "  of swap"),
)
"""Attributes of an `Estimate`, and what a table calls them."""


def estimate(profile: Profile, mechanism: str, stats: Mapping[str, float]) -> Estimate:
    """Time that a replay's counters (`Guest.stats`) stand for on the profile's machine.

    hints: calls and pages of madvise.  faults: zero fills, and for ``madv_free`` the first store
    to pages that came back before their discard (pages allocated that were neither filled nor
    swapped in).  swap: swap-outs and swap-ins, these in random order.  The hints of ``cmma`` and
    ``reporting`` are None unless there were none: ESSA is an instruction of s390x, and a report
    leaves the guest by a virtqueue, neither of which a profile knows.
    """

    def time_of(*parts: tuple[float, str]) -> float | None:
        total = 0.0
        for number, name in parts:
            if number and name not in profile.costs:
                return None
            total += number * profile.costs[name].median if number else 0.0
        return total * 1e-9

    kind = HINTS_OF.get(mechanism)
    if kind:
        hints = time_of((stats["hints"], f"{kind}_call"), (stats["hint_pages"], f"{kind}_page"))
    else:
        hints = None if stats["hints"] else 0.0
    kept = 0.0
    if mechanism == "madv_free":
        kept = max(stats["pages_allocated"] - stats["zero_fills"] - stats["swap_ins"], 0)
    return Estimate(
        hints=hints,
        faults=time_of((stats["zero_fills"], "touch_dontneed"), (kept, "touch_free_kept")),
        swap=time_of((stats["swap_outs"], "swap_out"), (stats["swap_ins"], "swap_in_random")),
    )
