# SPDX-License-Identifier: MIT
"""Guest page states of s390x (PGSTE, ESSA, CBRL, zap) and free-page mechanisms, at speed.

`Guest` has the pages of a virtual machine, `Host` the frames and swap slots that guests
share.  `Trace` reads the events of a page allocator, `Replay` drives guests with them
(`run_all`: many at once), and `compare` puts the free-page mechanisms side by side.
docs/model.md in the source tree says exactly what is modelled; `pgste.errors` lists the
exceptions.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from pgste.enums import Content, Orc, PgsteBits, PteBits, State, Usage
from pgste.errors import (
    AddressingException,
    ArgumentError,
    ArgumentTypeError,
    CancelledError,
    ChangedError,
    DiscardException,
    ForeignPteError,
    GfnError,
    GuestClosedError,
    HostBusyError,
    KvmArgumentError,
    KvmError,
    KvmFaultError,
    MissingPackageError,
    ModelMemoryError,
    NoCmmaError,
    OperationException,
    OutOfFramesError,
    OutOfSwapError,
    PgsteError,
    PrivilegedOperationException,
    ProgramInterruption,
    SlotsOverlapError,
    SpecificationException,
    StateError,
    StreamError,
    TraceError,
    UnknownNameError,
    ValidationError,
    VcpusExistError,
)
from pgste.moved import MOVED

if TYPE_CHECKING:
    from pgste._engine import VERSION as __version__
    from pgste._engine import (
        CmmaBits,
        Guest,
        Host,
        Replay,
        Slot,
        generations,
        isa_name,
        isa_select,
        isa_variants,
        mechanisms,
    )
    from pgste.guarantees import Guarantees, guarantees
    from pgste.study.batch import run_all
    from pgste.study.compare import compare
    from pgste.study.curve import Curve, curve
    from pgste.study.fleet import Fleet, Member
    from pgste.study.footprint import Footprint, footprint
    from pgste.study.result import Comparison
    from pgste.study.smallest import Smallest, smallest_hosts
    from pgste.study.sweep import Sweep, sweep
    from pgste.traces import Trace, sample_trace

__all__ = [
    "AddressingException",
    "ArgumentError",
    "ArgumentTypeError",
    "CancelledError",
    "ChangedError",
    "CmmaBits",
    "Comparison",
    "Content",
    "Curve",
    "DiscardException",
    "Fleet",
    "Footprint",
    "ForeignPteError",
    "GfnError",
    "Guarantees",
    "Guest",
    "GuestClosedError",
    "Host",
    "HostBusyError",
    "KvmArgumentError",
    "KvmError",
    "KvmFaultError",
    "Member",
    "MissingPackageError",
    "ModelMemoryError",
    "NoCmmaError",
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
    "Slot",
    "SlotsOverlapError",
    "Smallest",
    "SpecificationException",
    "State",
    "StateError",
    "StreamError",
    "Sweep",
    "Trace",
    "TraceError",
    "UnknownNameError",
    "Usage",
    "ValidationError",
    "VcpusExistError",
    "__version__",
    "compare",
    "curve",
    "footprint",
    "generations",
    "get_include",
    "get_library",
    "guarantees",
    "isa_name",
    "isa_select",
    "isa_variants",
    "mechanisms",
    "run_all",
    "sample_trace",
    "smallest_hosts",
    "sweep",
]

# Names that take time to import, and where they are; imported when somebody asks for them.
_LATER = {
    "CmmaBits": "pgste._engine.CmmaBits",
    "Comparison": "pgste.study.result.Comparison",
    "Curve": "pgste.study.curve.Curve",
    "Fleet": "pgste.study.fleet.Fleet",
    "Footprint": "pgste.study.footprint.Footprint",
    "Guarantees": "pgste.guarantees.Guarantees",
    "Guest": "pgste._engine.Guest",
    "Host": "pgste._engine.Host",
    "Member": "pgste.study.fleet.Member",
    "Replay": "pgste._engine.Replay",
    "Slot": "pgste._engine.Slot",
    "Smallest": "pgste.study.smallest.Smallest",
    "Sweep": "pgste.study.sweep.Sweep",
    "Trace": "pgste.traces.Trace",
    "__version__": "pgste._engine.VERSION",
    "compare": "pgste.study.compare.compare",
    "curve": "pgste.study.curve.curve",
    "footprint": "pgste.study.footprint.footprint",
    "generations": "pgste._engine.generations",
    "guarantees": "pgste.guarantees.guarantees",
    "isa_name": "pgste._engine.isa_name",
    "isa_select": "pgste._engine.isa_select",
    "isa_variants": "pgste._engine.isa_variants",
    "mechanisms": "pgste._engine.mechanisms",
    "run_all": "pgste.study.batch.run_all",
    "sample_trace": "pgste.traces.sample_trace",
    "smallest_hosts": "pgste.study.smallest.smallest_hosts",
    "sweep": "pgste.study.sweep.sweep",
}


class _Package(ModuleType):
    """The package, in which the functions compare and guarantees win over modules of that name.

    The import system sets a module as attribute of its package.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _LATER and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    if name in _LATER:
        module, _, theirs = _LATER[name].rpartition(".")
        value = getattr(import_module(module), theirs)
    elif name in MOVED:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def get_include() -> str:
    """Directory of ``pgste.h``, for C and Cython code that is built on this package.

    In a source tree that is ``src_c``, in an installed package ``pgste/include``.
    """
    package = get_library()
    installed = os.path.join(package, "include")
    if os.path.isdir(installed):
        return installed
    return os.path.join(os.path.dirname(package), "src_c")


def get_library() -> str:
    """Directory of ``libpgste.so``, the C core, for programs that link to it."""
    return os.path.dirname(os.path.realpath(__file__))
