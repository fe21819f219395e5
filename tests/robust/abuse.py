# SPDX-License-Identifier: MIT
"""Kinds of bad argument, and hosts and guests whose whole state can be told.

A kind is a function of a `World`; what it gives is passed where something else is expected.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import datetime
import decimal
import fractions
import io
import math
import pathlib
import pickle
from collections import OrderedDict, UserList, deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import pgste
from pgste import migration

PAGES = 24
FRAMES, SLOTS = 12, 20
#: Of the dat guest: two slots, a hole of four pages between them, two pages behind them.
DAT_SLOTS = [(0, 10, 100, True), (14, 8, 200, True)]


class Hostile(Exception):
    """What the hostile objects raise: it may come out of a call."""


def _raising(*names: str, base: type = object) -> Any:
    def refuse(self: object, *args: object, **kwargs: object) -> Any:
        raise Hostile

    return type("Raising_" + "_".join(names).strip("_"), (base,), dict.fromkeys(names, refuse))


def _giving(**values: object) -> Any:
    """An object whose special methods give nonsense."""
    methods = {
        f"__{name}__": (lambda self, *args, value=value, **kwargs: value)
        for name, value in values.items()
    }
    return type("Nonsense", (), methods)()


class World:
    """A host with four guests, a replay, and one guest of another host: all in use."""

    def __init__(self) -> None:
        self.host = pgste.Host(FRAMES, SLOTS, low=1, high=3)
        self.guest = pgste.Guest(PAGES, self.host, vcpus=2, cbrl_entries=5)
        self.reporting = pgste.Guest(PAGES, self.host, "reporting")
        self.strict = pgste.Guest(
            PAGES, self.host, "madv_free", strict=True, allow_cow_sharing=True
        )
        self.guest.write(range(8), np.arange(8))
        self.host.swap_out(self.guest, range(4))
        self.guest.essa(2, range(2, 5))
        self.guest.free(range(10, 13), vcpu=1)
        self.strict.write(range(3), 5)
        self.strict.free(range(2))
        self.strict.read([5, 6])  # of the zero page
        self.guest.set_problem_state(1, True)
        self.dat = pgste.Guest(
            PAGES, self.host, generation="dat", slots=DAT_SLOTS, storage_keys=True, vcpus=2
        )
        self.dat.write([1, 2, 15], 4)
        self.dat.essa(2, [2, 15, 16], vcpu=1)
        self.dat.set_storage_key([1, 2, 20], [0x30, 0xF8, 0x12])
        self.dat.set_notify([1, 2], pgste.PgsteBits.DAT_VSIE)
        self.dat.start_migration()
        self.aged = pgste.Host(40, 200, reclaim="mglru", write_delay=2)
        self.swapped = pgste.Guest(PAGES, self.aged)
        self.swapped.write(slice(None), 3)
        self.aged.reclaim(5)
        self.foreign = pgste.Guest(PAGES)
        self.closed = pgste.Guest(PAGES)
        self.closed.close()
        self.closed_host = pgste.Host(4, 4)
        self.closed_host.close()
        events = np.array([1 << 8, 2 << 8, 1 << 8 | 1, 2 << 8 | 1], np.uint64)
        self.replayed = pgste.Guest(PAGES)
        self.replay = pgste.Replay(self.replayed, events, np.arange(4))
        self.replay.run(1)
        self.trace = pgste.Trace(events, np.arange(4, dtype=np.uint64))
        self.saver = migration.Saver(pgste.Guest(PAGES), io.BytesIO())
        self.guests = [self.guest, self.reporting, self.strict, self.dat, self.foreign]
        self.guests.append(self.replayed)
        self.guests.append(self.swapped)
        self.hosts = [self.host, self.foreign.host, self.replayed.host, self.aged]

    def close(self) -> None:
        for host in self.hosts:
            host.close()

    def alive(self) -> bool:
        with contextlib.suppress(pgste.GuestClosedError):
            for guest in self.guests:
                guest.stats()
            for host in self.hosts:
                host.stats()
            return True
        return False

    def state(self) -> list[object]:
        """Everything that the package tells about all of them."""
        told: list[object] = []
        for guest in self.guests:
            told += [
                guest.pgste().tobytes(),
                guest.pte().tobytes(),
                guest.states().tobytes(),
                guest.is_free().tobytes(),
                guest.peek(slice(None)).tobytes(),
                [guest.cbrl(vcpu).tobytes() for vcpu in range(guest.vcpus)],
                guest.stats(),
                guest.now_ns,
                guest.migration_mode,
                guest.count_states(),
                guest.host_ptes().tobytes(),
                guest.host_pte_stats(),
                guest.soft_dirty().tobytes(),
                guest.host_gfn(slice(None)).tobytes(),
                list(guest.slots.items()),
                (guest.cmma_enabled, guest.uses_storage_keys, guest.dirty_count),
                guest.allow_cow_sharing,
                self.keys(guest),
            ]
        told += [self.reporting.reporting(), self.reporting.parked_blocks()]
        told += [self.reporting.free_blocks(order) for order in range(6)]
        told += [self.reporting.migratetypes()]
        for host in self.hosts:
            told += [host.stats(), host.low, host.high, host.rearm]
            told += [host.frame_list(name).tobytes() for name in ("active", "inactive", "lazyfree")]
        told += [pickle.dumps(self.aged.generations())]
        told += [self.host.frame_key(range(FRAMES)).tobytes()]
        told += [self.host.frame_info(frame) for frame in range(FRAMES)]
        told += [self.host.slot_info(slot) for slot in range(SLOTS)]
        told += [self.replay.position, self.replay.stats(), self.trace.events.tobytes()]
        return told

    @staticmethod
    def keys(guest: pgste.Guest) -> bytes:
        """Of all pages in slots that are not between a start and a commit."""
        keys = bytearray()
        for slot in guest.slots.values():
            gfns = range(slot.base, slot.base + slot.pages)
            try:
                keys += guest.get_storage_key(gfns).tobytes()
            except pgste.StateError:
                for gfn in gfns:
                    with contextlib.suppress(pgste.StateError):
                        keys += guest.get_storage_key(gfn).tobytes()
        return bytes(keys)

    def validate(self) -> None:
        for host in self.hosts:
            with contextlib.suppress(pgste.GuestClosedError):
                host.validate()


Kind = Callable[[World], Any]
KINDS: dict[str, Kind] = {}
#: Kinds that change or close what is in use by themselves, so that states cannot be compared.
MEDDLERS: set[str] = set()


def _always(value: Any) -> Kind:
    return lambda world: value


def _values(**values: Any) -> None:
    for name, value in values.items():
        KINDS[name] = _always(value)


_values(
    none=None,
    ellipsis=...,
    not_implemented=NotImplemented,
    true=True,
    false=False,
    a_type=int,
    a_module=math,
    a_function=len,
    a_lambda=lambda *args: None,
    an_object=object(),
    an_exception=Hostile("passed"),
    minus_one=-1,
    minus_two_64=-(2**64),
    two_8=2**8,
    two_31=2**31,
    two_32=2**32,
    two_40=2**40,
    two_52=2**52,
    two_63=2**63,
    two_64_less=2**64 - 1,
    two_64=2**64,
    two_200=2**200,
    many_digits=10**5000,
    minus_many_digits=-(10**5000),
    the_end=PAGES,
    half=0.5,
    one_float=1.0,
    nan=math.nan,
    infinity=math.inf,
    minus_infinity=-math.inf,
    a_complex=1j,
    a_decimal=decimal.Decimal(1),
    a_decimal_nan=decimal.Decimal("nan"),
    a_fraction=fractions.Fraction(1, 3),
    a_date=datetime.date(2026, 1, 1),
    a_path=pathlib.Path("nowhere"),
    empty_text="",
    text="no such name",
    digits="1",
    surrogate="\ud800",
    nul_in_text="cmma\0",
    very_long_text="x" * 100_000,
    text_subclass=type("Text", (str,), {})("cmma"),
    int_subclass=type("Int", (int,), {})(1),
    raising_int_subclass=_raising("__index__", "__int__", "__eq__", "__lt__", base=int)(1),
    bytes=b"\1\2",
    bytearray=bytearray(b"\1\2"),
    empty_bytes=b"",
    memoryview=memoryview(b"\1\2\3"),
    memoryview_2d=memoryview(bytes(16)).cast("B", (4, 4)),
    memoryview_of_floats=memoryview(array.array("d", [1.0])),
    ctypes_array=(ctypes.c_uint64 * 3)(1, 2, 3),
    ctypes_int=ctypes.c_int(3),
    ctypes_pointer=ctypes.pointer(ctypes.c_int(3)),
    std_array=array.array("q", [1, 2]),
    std_array_of_floats=array.array("d", [1.0]),
    empty_list=[],
    empty_tuple=(),
    list_of_none=[None],
    list_of_text=["1"],
    list_of_floats=[1.0, 2.0],
    list_of_bools=[True],
    list_of_nan=[math.nan],
    list_of_lists=[[1], [2, 3]],
    list_of_huge=[1, 2**64],
    list_of_many_digits=[10**5000],
    list_of_negative=[-1],
    list_of_raising=[_raising("__index__")()],
    long_list=[0] * 5000,
    user_list=UserList([1, 2]),
    a_deque=deque([1, 2]),
    a_set={1, 2},
    a_frozenset=frozenset({1}),
    a_dict={1: 2},
    an_ordered_dict=OrderedDict(a=1),
    dict_keys={1: 2}.keys(),
    empty_range=range(0),
    range_beyond=range(PAGES - 1, PAGES + 3),
    range_huge=range(2**63 - 2, 2**63 + 2),
    range_endless=range(0, 2**62),
    range_backwards=range(3, -3, -1),
    range_step_huge=range(0, 10, 2**70),
    slice_step_zero=slice(0, 4, 0),
    slice_step_float=slice(0, 4, 1.0),
    slice_step_huge=slice(0, 4, 2**80),
    slice_beyond=slice(0, PAGES + 1),
    slice_negative=slice(-4, None),
    slice_of_text=slice("a", "b"),
    slice_of_raising=slice(_raising("__index__")(), None),
    slice_backwards=slice(None, None, -5),
    array_0d=np.array(1),
    array_2d=np.ones((2, 2), np.int64),
    array_empty=np.empty(0, np.int64),
    array_empty_2d=np.empty((0, 4), np.int64),
    array_strided=np.arange(8)[::2],
    array_backwards=np.arange(4)[::-1],
    array_swapped=np.arange(4).astype(">i8"),
    array_unaligned=np.frombuffer(b"\0" * 33, np.uint8)[1:].view(np.int64),
    array_broadcast=np.broadcast_to(np.int64(1), 4),
    array_of_objects=np.array([1, "a", None], object),
    array_of_int_objects=np.array([1, 2], object),
    array_structured=np.zeros(2, [("a", "i4"), ("b", "f8")]),
    array_of_text=np.array(["1", "2"]),
    array_of_bytes=np.array([b"1"]),
    array_of_times=np.array(["2026-01-01"], "datetime64[ns]"),
    array_of_spans=np.array([1], "timedelta64[ns]"),
    array_of_bools=np.ones(4, bool),
    array_of_halves=np.ones(4, np.float16),
    array_of_floats=np.ones(4),
    array_of_nan=np.full(4, np.nan),
    array_of_complex=np.ones(2, complex),
    array_of_void=np.zeros(2, "V3"),
    array_beyond=np.array([0, PAGES]),
    array_negative=np.array([-1]),
    array_smallest=np.array([-(2**63)]),
    array_largest=np.array([2**64 - 1], np.uint64),
    array_repeated=np.zeros(500, np.uint8),
    array_masked=np.ma.masked_array([1, 2, 3], [False, True, False]),
    array_matrix=np.asmatrix([[1, 2]]),
    array_record=np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    a_dtype=np.dtype("u8"),
    raising_index=_raising("__index__")(),
    raising_int=_raising("__int__")(),
    raising_len=_raising("__len__", "__getitem__")(),
    raising_iter=_raising("__iter__")(),
    raising_array=_raising("__array__")(),
    raising_interface=type("I", (), {"__array_interface__": property(lambda self: 1 / 0)})(),
    raising_eq=_raising("__eq__", "__hash__")(),
    raising_bool=_raising("__bool__")(),
    raising_repr=_raising("__repr__", "__str__")(),
    raising_getattr=_raising("__getattr__")(),
    raising_class=type("C", (), {"__class__": property(lambda self: int)})(),
    raising_fspath=_raising("__fspath__")(),
    nonsense_index_text=_giving(index="1"),
    nonsense_index_none=_giving(index=None),
    nonsense_index_huge=_giving(index=2**70),
    nonsense_index_negative=_giving(index=-5),
    nonsense_len=_giving(len=2**62, getitem=1),
    nonsense_len_negative=_giving(len=-1, getitem=1),
    nonsense_len_text=_giving(len="a", getitem=1),
    nonsense_iter=_giving(iter=1),
    nonsense_array=_giving(array="none"),
    nonsense_array_2d=_giving(array=np.ones((3, 3), int)),
    nonsense_interface=_giving(getattr={"shape": (2**60,), "typestr": "<i8", "data": (0, False)}),
    nonsense_bool=_giving(bool="yes"),
    nonsense_fspath=_giving(fspath=3),
)
for _scalar in sorted(set(np.sctypeDict.values()), key=lambda t: t.__name__):
    if _scalar not in (np.void, np.object_):
        _values(**{f"scalar_{_scalar.__name__}": np.ones(1, _scalar)[0]})
for _type in (np.int8, np.int64):
    _values(**{f"scalar_{_type.__name__}_negative": _type(-1)})


def _kind(function: Kind) -> Kind:
    KINDS[function.__name__.strip("_")] = function
    return function


def _meddler(function: Kind) -> Kind:
    MEDDLERS.add(function.__name__.strip("_"))
    return _kind(function)


@_kind
def _a_guest(world: World) -> Any:
    return world.guest


@_kind
def _guest_of_another_host(world: World) -> Any:
    return world.foreign


@_kind
def _closed_guest(world: World) -> Any:
    return world.closed


@_kind
def _a_host(world: World) -> Any:
    return world.host


@_kind
def _closed_host(world: World) -> Any:
    return world.closed_host


@_kind
def _a_replay(world: World) -> Any:
    return world.replay


@_kind
def _a_trace(world: World) -> Any:
    return world.trace


@_kind
def _unmade_guest(world: World) -> Any:
    return pgste.Guest.__new__(pgste.Guest)


@_kind
def _unmade_host(world: World) -> Any:
    return pgste.Host.__new__(pgste.Host)


@_kind
def _unmade_replay(world: World) -> Any:
    return pgste.Replay.__new__(pgste.Replay)


@_kind
def _list_of_guests(world: World) -> Any:
    return [world.guest, world.guest]


@_kind
def _list_of_guests_of_two_hosts(world: World) -> Any:
    return [world.guest, world.foreign]


@_kind
def _list_of_itself(world: World) -> Any:
    it: list[Any] = [1]
    it.append(it)
    return it


@_kind
def _dict_of_itself(world: World) -> Any:
    it: dict[str, Any] = {}
    it["order"] = it
    return it


@_kind
def _deep_list(world: World) -> Any:
    it: Any = 1
    for _ in range(5000):
        it = [it]
    return it


@_kind
def _deep_tuple(world: World) -> Any:
    it: Any = 1
    for _ in range(5000):
        it = (it,)
    return it


@_kind
def _generator(world: World) -> Any:
    return (n for n in range(3))


@_kind
def _raising_generator(world: World) -> Any:
    def numbers() -> Iterator[int]:
        yield 1
        raise Hostile

    return numbers()


@_kind
def _endless_buffer_released(world: World) -> Any:
    view = memoryview(bytearray(8))
    view.release()
    return view


@_kind
def _array_read_only(world: World) -> Any:
    numbers = np.arange(4)
    numbers.flags.writeable = False
    return numbers


@_kind
def _list_that_shrinks(world: World) -> Any:
    """Its second element empties it while it is looked at."""
    it: list[Any] = []

    class Shrinks:
        def __index__(self) -> int:
            it.clear()
            return 1

    it.extend([1, Shrinks(), 3, 4])
    return it


@_meddler
def _index_that_closes_the_guest(world: World) -> Any:
    class Closes:
        def __index__(self) -> int:
            world.guest.close()
            world.replayed.close()
            return 1

    return Closes()


@_meddler
def _index_that_closes_the_host(world: World) -> Any:
    class Closes:
        def __index__(self) -> int:
            world.host.close()
            return 1

    return Closes()


@_meddler
def _array_that_closes_the_guest(world: World) -> Any:
    class Closes:
        def __array__(self, *args: object, **kwargs: object) -> Any:
            world.guest.close()
            world.reporting.close()
            return np.arange(3)

    return Closes()


@_meddler
def _list_that_closes_the_host(world: World) -> Any:
    class Closes:
        def __index__(self) -> int:
            world.host.close()
            return 2

    return [1, Closes(), 3]


@_meddler
def _slice_that_closes_the_guest(world: World) -> Any:
    class Closes:
        def __index__(self) -> int:
            world.guest.close()
            return 1

    return slice(0, Closes(), None)


@_meddler
def _repr_that_closes_the_host(world: World) -> Any:
    class Closes:
        def __repr__(self) -> str:
            world.host.close()
            return "closed"

    return Closes()


@_meddler
def _eq_that_frees(world: World) -> Any:
    class Frees(str):
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            with contextlib.suppress(pgste.PgsteError):
                world.guest.free(range(3))
                world.guest.zap_scan()
            return False

    return Frees("cmma")


@_meddler
def _index_that_writes(world: World) -> Any:
    class Writes:
        def __index__(self) -> int:
            with contextlib.suppress(pgste.PgsteError):
                world.guest.write(range(PAGES), 9)
                world.guest.essa(2, range(PAGES))
            return 2

    return Writes()


@_meddler
def _sequence_that_closes(world: World) -> Any:
    class Closes(list):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            world.guest.close()
            return super().__iter__()

        def __len__(self) -> int:
            world.foreign.close()
            return 2

    return Closes([world.guest, world.guest])
