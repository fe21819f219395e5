# SPDX-License-Identifier: MIT
"""Refusals of the model; the class names are those of the engine, so tests compare names."""

from __future__ import annotations


class ModelError(Exception):
    """A call was refused and changed nothing."""


class GfnError(ModelError):
    """A gfn, or the end of a block, lies outside the guest."""


class StateError(ModelError):
    """A strict guest freed a free page or allocated one in use."""


class ForeignPage(ModelError):
    """The page's PTE was loaded and names nothing of this host."""


class OutOfFrames(ModelError):
    """No frame is free and reclaim found none."""


class OutOfSwap(ModelError):
    """No swap slot is free."""


class ProgramInterruption(ModelError):
    """The guest gets a program interruption with this code."""

    def __init__(self, code: int, address: int | None = None) -> None:
        super().__init__(f"program interruption {code:#06x}")
        self.code = code
        self.address = address
