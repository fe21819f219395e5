# SPDX-License-Identifier: MIT
"""Guest page states of s390x (PGSTE, ESSA, CBRL, zap) and free-page mechanisms, at speed.

`Guest` has the pages of a virtual machine, `Host` the frames and swap slots that guests
share.  `Trace` reads the events of a page allocator, `Replay` drives guests with them
(`run_all`: many at once), and `compare` puts the free-page mechanisms side by side.
docs/model.md in the source tree says exactly what is modelled; `pgste.errors` lists the
exceptions.
"""

from __future__ import annotations

from pathlib import Path

from pgste._engine import (
    VERSION as __version__,
)
from pgste._engine import (
    Guest,
    Host,
    Replay,
    isa_name,
    isa_select,
    isa_variants,
    mechanisms,
)
from pgste.batch import run_all
from pgste.compare import Comparison, compare
from pgste.enums import Content, Orc, PgsteBits, PteBits, State, Usage
from pgste.errors import (
    AddressingException,
    ArgumentError,
    ArgumentTypeError,
    ChangedError,
    DiscardException,
    ForeignPteError,
    GfnError,
    GuestClosedError,
    HostBusyError,
    ModelMemoryError,
    OperationException,
    OutOfFramesError,
    OutOfSwapError,
    PgsteError,
    PrivilegedOperationException,
    ProgramInterruption,
    SpecificationException,
    StateError,
    TraceError,
    UnknownNameError,
    ValidationError,
)
from pgste.guarantees import Guarantees, guarantees
from pgste.trace import Trace, sample_trace

__all__ = [
    "AddressingException",
    "ArgumentError",
    "ArgumentTypeError",
    "ChangedError",
    "Comparison",
    "Content",
    "DiscardException",
    "ForeignPteError",
    "GfnError",
    "Guarantees",
    "Guest",
    "GuestClosedError",
    "Host",
    "HostBusyError",
    "ModelMemoryError",
    "OperationException",
    "Orc",
    "OutOfFramesError",
    "OutOfSwapError",
    "PgsteBits",
    "PgsteError",
    "PrivilegedOperationException",
    "ProgramInterruption",
    "PteBits",
    "Replay",
    "SpecificationException",
    "State",
    "StateError",
    "Trace",
    "TraceError",
    "UnknownNameError",
    "Usage",
    "ValidationError",
    "__version__",
    "compare",
    "get_include",
    "get_library",
    "guarantees",
    "isa_name",
    "isa_select",
    "isa_variants",
    "mechanisms",
    "run_all",
    "sample_trace",
]


def get_include() -> str:
    """Directory of ``pgste.h``, for C and Cython code that is built on this package.

    In a source tree that is ``src_c``, in an installed package ``pgste/include``.
    """
    package = Path(__file__).resolve().parent
    installed = package / "include"
    return str(installed if installed.is_dir() else package.parent / "src_c")


def get_library() -> str:
    """Directory of ``libpgste.so``, the C core, for programs that link to it."""
    return str(Path(__file__).resolve().parent)
