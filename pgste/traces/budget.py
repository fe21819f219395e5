# SPDX-License-Identifier: MIT
"""What a reader may take: a few bytes of input must not cost gigabytes or minutes."""

from __future__ import annotations

from dataclasses import dataclass

from pgste.errors import ArgumentError, ArgumentTypeError, TraceError
from pgste.units import format_bytes

__all__ = ["LINE", "PAGE", "PIPE_BYTE", "STEP", "UNPACKED_BYTE", "Budget", "Meter"]

# Units of work, each about a nanosecond of a slow machine.
STEP = 1000
"""A step that is taken in Python."""
UNPACKED_BYTE = 4
PIPE_BYTE = 1
"""A byte of a pipe, whose size nobody knows."""
LINE = 16
"""A line of text."""
PAGE = 4
"""A page of an event's block, counted."""
_MEMORY_PER_BYTE = 4
_WORK_PER_BYTE = 1000


@dataclass(frozen=True)
class Budget:
    """The memory and the work that reading a trace and summing it up may take.

    A file may always take 4 bytes of memory and 1000 units of work for each of its own bytes, so
    that the budget is met only by files that are small and blow up, or damaged on purpose.  A pipe
    may have no end: for what is read of one, the budget is all there is.

    Parameters
    ----------
    memory_bytes : int
        Bytes for what is unpacked, for events and for tables; 1 GiB by default.
    work : int, optional
        Units of about a nanosecond: 4 for a byte that is unpacked, 1 for a byte of a pipe, 16 for
        a line of text, 4 for a page of a block that is counted, 1 for 32 pages of a guest that a
        trace is replayed through, 1000 for a step in Python.  By default 4 for each byte
        of ``memory_bytes``.
    """

    memory_bytes: int = 1 << 30
    work: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (
            ("memory_bytes", self.memory_bytes, 1),
            ("work", self.work, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int):
                raise ArgumentTypeError(f"{name}: an integer, not {value!r}")
            if not least <= value < 1 << 63:
                raise ArgumentError(f"{name}: {value} is not in {least} .. 2^63 - 1")
        if not self.work:
            object.__setattr__(self, "work", min(4 * self.memory_bytes, (1 << 63) - 1))


class Meter:
    """What one reading has taken of its budget.

    ``input_bytes`` is the size of the file, and grows if that does; 0 for a pipe.
    """

    def __init__(self, budget: Budget | None, input_bytes: int = 0) -> None:
        self.budget = Budget() if budget is None else budget
        self.input_bytes = input_bytes
        self.memory_taken = 0
        self.work_taken = 0

    @property
    def memory_limit(self) -> int:
        return max(self.budget.memory_bytes, _MEMORY_PER_BYTE * self.input_bytes)

    @property
    def work_limit(self) -> int:
        return max(self.budget.work, _WORK_PER_BYTE * self.input_bytes)

    def memory(self, nr_bytes: int, what: str) -> None:
        """Bytes that will be held; TraceError, before they are, if they are too many."""
        self.memory_taken += nr_bytes
        if self.memory_taken > self.memory_limit:
            raise self.passed(what)

    def give_back(self, nr_bytes: int) -> None:
        self.memory_taken -= nr_bytes

    def work(self, units: int, what: str) -> None:
        """Work that will be done; TraceError if it is too much."""
        self.work_taken += units
        if self.work_taken > self.work_limit:
            raise self.passed(what, "work")

    def passed(self, what: str, kind: str = "memory") -> TraceError:
        """The error for what passed the budget, with how to raise it."""
        if kind == "memory":
            limit, name = format_bytes(self.memory_limit) + " of memory", "memory_bytes"
        else:
            limit, name = f"{self.work_limit:,} units of work", "work"
        return TraceError(
            f"budget: {what} takes more than the {limit} that it may take; "
            f"Trace.open(..., budget=Budget({name}=...)) or --budget SIZE allows more"
        )
