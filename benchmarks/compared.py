# SPDX-License-Identifier: MIT
"""Two results: what got slower or faster, beyond noise."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.results import Result
from benchmarks.tables import markdown

# A smaller change does not count, however narrow the spread is.
NOISE = 0.05
# Of fewer rounds it is too likely that none of one run is among those of the other.
MIN_ROUNDS = 5
# What the machine had for two threads may differ by so much between runs that are compared.
SAME_MACHINE = 0.1
# With fewer rows their spread says nothing about the noise of a run.
MIN_ROWS = 10
MANY = 20  # names of a list


@dataclass(frozen=True)
class Change:
    """How a benchmark changed: `ratio` above 1 is slower; `apart`: more than its rounds differ.

    `reason`: why that cannot be judged, "" if it can.
    """

    name: str
    ratio: float
    apart: bool
    basis: str
    reason: str = ""


def bounds(result: Result, basis: str | None) -> tuple[float, float, float]:
    """Low end, median and high end of the time of an item over the rounds.

    In multiples of a limit's time, which saw the same machine; else in ns.  The ends leave out a
    tenth of the rounds on each side; of a result that does not have the rounds they are quartiles.
    """
    if basis is None:
        low, high = result.info["ns_iqr"]
        return low, result.info["ns"], high
    own = result.info["limits"][basis]
    rounds = sorted(own.get("rounds", own["speed"]))
    cut = len(rounds) // 10
    return 1 / rounds[-1 - cut], 1 / own["speed"][1], 1 / rounds[cut]


def not_judged(old: Result, new: Result, basis: str | None) -> str:
    """Why two results of a benchmark tell nothing, "" if they do."""
    before, now = (result.info.get("gauges", {}) for result in (old, new))
    for name in sorted({*before} & {*now}):
        if abs(math.log(now[name][1] / before[name][1])) > SAME_MACHINE:
            return f"the machine had other {name}"
    for result in (old, new) if basis else ():
        rounds = result.info["limits"][basis].get("rounds")
        if rounds is not None and len(rounds) < MIN_ROUNDS:
            return f"fewer than {MIN_ROUNDS} rounds"
    return ""


def changes(old: Sequence[Result], new: Sequence[Result]) -> list[Change]:
    """Every benchmark that is in both; those that got slower most come first."""
    before = {(result.group, result.name): result for result in old}
    found = []
    for result in new:
        was = before.get((result.group, result.name))
        if was is None:
            continue
        basis = result.basis if result.basis in was.info["limits"] else None
        low, median, high = bounds(result, basis)
        old_low, old_median, old_high = bounds(was, basis)
        found.append(
            Change(
                result.name,
                median / old_median,
                low > old_high or high < old_low,
                basis or "time",
                not_judged(was, result, basis),
            )
        )
    return sorted(found, key=lambda change: -change.ratio)


def noise(all_changes: Sequence[Change]) -> float:
    """The least change that counts, as a share: three times the spread of all rows.

    Most rows did not change, so that their spread around the median (as a standard deviation, by
    the median of absolute deviations) is what one run differs from the next by.
    """
    logs = [math.log(change.ratio) for change in all_changes]
    if len(logs) < MIN_ROWS:
        return NOISE
    middle = statistics.median(logs)
    sigma = 1.4826 * statistics.median(abs(each - middle) for each in logs)
    return max(NOISE, math.exp(3 * sigma) - 1)


def beyond_noise(all_changes: Sequence[Change]) -> list[Change]:
    """What changed by more than the noise, and by more than its own rounds differ."""
    least = math.log1p(noise(all_changes))
    return [
        change
        for change in all_changes
        if change.apart and not change.reason and abs(math.log(change.ratio)) > least
    ]


def comparison(old: Sequence[Result], new: Sequence[Result]) -> str:
    """What got slower and faster beyond noise, as Markdown."""
    all_changes = changes(old, new)
    beyond = beyond_noise(all_changes)
    slower = [change for change in beyond if change.ratio > 1]
    only = {(each.group, each.name) for each in old} ^ {(each.group, each.name) for each in new}
    reasons: dict[str, list[str]] = {}
    for change in all_changes:
        reasons.setdefault(change.reason, []).append(change.name)
    within = len(reasons.pop("", [])) - len(beyond)
    lines = [
        f"{len(all_changes)} benchmarks in both: {len(slower)} slower,"
        f" {len(beyond) - len(slower)} faster, {within} within noise (rounds of the two results"
        f" overlap, or less than {noise(all_changes):.0%}, which is from the spread of all rows)."
    ]
    for reason, names in reasons.items():
        listed = "" if len(names) > MANY else f": {', '.join(sorted(names))}"
        lines.append(f"Not judged, {reason}: {len(names)} benchmarks{listed}.")
    if only:
        lines.append(f"In one of the two only: {', '.join(sorted(name for _, name in only))}.")
    if beyond:
        rows = [
            (
                f"`{change.name}`",
                "slower" if change.ratio > 1 else "faster",
                f"{change.ratio:.2f}",
                change.basis,
            )
            for change in beyond
        ]
        lines += ["", *markdown(rows, ("benchmark", "", "time, new / old", "measured against"))]
    return "\n".join(lines)
