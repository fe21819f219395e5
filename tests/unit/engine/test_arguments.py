# SPDX-License-Identifier: MIT
"""Arguments of guests: every form that is taken, and every bad one, which changes nothing."""

from __future__ import annotations

import array
import enum
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest

import pgste

Unchanged = Callable[..., AbstractContextManager[None]]
PAGES = 40


def name(gfns: object) -> str:
    """The same in every process: the workers of a run must agree on what a test is called."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(gfns))[:40]


class _Number(enum.IntEnum):
    FIVE = 5


class _Index:
    def __index__(self) -> int:
        return 5


def _strided() -> np.ndarray[Any, Any]:
    values = np.zeros(9, dtype=np.int32)
    values[::3] = [3, 1, 39]
    return values[::3]


def _unaligned() -> np.ndarray[Any, Any]:
    raw = np.zeros(1 + 3 * 8, dtype=np.uint8)
    values = raw[1:].view(np.int64)
    values[:] = [3, 1, 39]
    assert not values.flags.aligned
    return values


def _read_only() -> np.ndarray[Any, Any]:
    values = np.array([3, 1, 39], dtype=np.uint64)
    values.flags.writeable = False
    return values


GOOD: list[tuple[Any, list[int]]] = [
    (5, [5]),
    (0, [0]),
    (39, [39]),
    (_Number.FIVE, [5]),
    (_Index(), [5]),
    (np.int8(5), [5]),
    (np.uint64(39), [39]),
    (np.array(7), [7]),
    (range(3), [0, 1, 2]),
    (range(37, 40), [37, 38, 39]),
    (range(7, 7), []),
    (range(50, 3), []),
    (range(0, 9, 4), [0, 4, 8]),
    (range(5, -1, -2), [5, 3, 1]),
    (range(5, 4, -1), [5]),
    (range(2**80, 0), []),
    (slice(None), list(range(40))),
    (slice(38, None), [38, 39]),
    (slice(2), [0, 1]),
    (slice(40, 40), []),
    (slice(5, 2), []),
    (slice(None, None, 15), [0, 15, 30]),
    (slice(None, None, -20), [39, 19]),
    (slice(np.int8(3), np.uint8(5), 1), [3, 4]),
    ([3, 1, 39], [3, 1, 39]),
    ((3, 3), [3, 3]),
    ([np.uint8(3), _Number.FIVE], [3, 5]),
    ([], []),
    ((), []),
    (bytearray(b"\x03\x01"), [3, 1]),
    (array.array("H", [3, 1, 39]), [3, 1, 39]),
    (memoryview(array.array("q", [3, 1])), [3, 1]),
    (_strided(), [3, 1, 39]),
    (_unaligned(), [3, 1, 39]),
    (_read_only(), [3, 1, 39]),
    (np.arange(10)[::-1], list(range(9, -1, -1))),
    (np.broadcast_to(np.uint16(4), 3), [4, 4, 4]),
    *[
        (np.array([3, 1, 39], dtype=order + code), [3, 1, 39])
        for code in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")
        for order in "<>"
    ],
    *[(np.array([], dtype=code), []) for code in ("u1", "i8", ">u4")],
    (np.array([3, 1], dtype=np.longlong), [3, 1]),
    (np.array([3, 1], dtype=np.ulonglong), [3, 1]),
]


@pytest.mark.parametrize(("gfns", "pages"), GOOD, ids=[name(gfns) for gfns, _ in GOOD])
def test_every_form_of_gfns_means_the_same_pages(gfns: Any, pages: list[int]) -> None:
    guest = pgste.Guest(PAGES)
    tags = np.arange(100, 100 + PAGES, dtype=np.uint32)
    guest.write(range(PAGES), tags)
    assert guest.peek(gfns).tolist() == [100 + page for page in pages]
    assert guest.read(gfns).tolist() == [100 + page for page in pages]
    assert guest.pte(gfns).tolist() == [page << 12 | 0x13F for page in pages]
    assert guest.essa(0, gfns).tolist() == [0] * len(pages)
    guest.free(gfns)
    assert np.flatnonzero(guest.is_free()).tolist() == sorted(set(pages))
    assert guest.is_free(gfns).tolist() == [True] * len(pages)
    assert guest.stats()["pages_freed"] == len(pages)
    guest.alloc(gfns)
    assert guest.states(gfns).tolist() == [pgste.State.VALID] * len(pages)
    assert guest.host.swap_out(guest, gfns) == len(set(pages))


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"])
def test_native_contiguous_arrays_of_every_dtype_may_be_large(dtype: str) -> None:
    guest = pgste.Guest(100)
    gfns = np.tile(np.arange(100, dtype=dtype), 50)
    guest.free(gfns)
    assert guest.is_free().all()
    assert guest.stats()["double_frees"] == 4900
    assert guest.essa(0, gfns).tolist() == [7] * 5000


BAD_GFNS: list[tuple[Any, type[Exception], str]] = [
    (40, pgste.GfnError, "gfns: 40 is outside the pages of the guest, 0 .. 39"),
    (-1, IndexError, "gfns: -1 "),
    (2**64, pgste.GfnError, "gfns: 18446744073709551616 "),
    (-(2**70), pgste.GfnError, "gfns: -1180591620717411303424 "),
    (np.int64(-1), pgste.GfnError, "gfns: -1 "),
    (np.array(40), pgste.GfnError, r"gfns.*: 40 "),
    (True, pgste.ArgumentTypeError, "gfns: True"),
    (np.True_, pgste.ArgumentTypeError, "gfns: .*True"),
    (None, TypeError, "gfns: None"),
    (1.0, TypeError, "gfns: 1.0"),
    (np.float64(1), TypeError, "gfns: .*1.0"),
    (1j, pgste.ArgumentTypeError, "gfns: 1j"),
    ("1", pgste.ArgumentTypeError, "gfns: '1'"),
    (b"1", pgste.ArgumentTypeError, "gfns: b'1'"),
    ({1, 2}, pgste.ArgumentTypeError, "gfns: {1, 2}"),
    ({1: 2}, pgste.ArgumentTypeError, "gfns: {1: 2}"),
    (object(), pgste.ArgumentTypeError, "gfns: <object"),
    (iter([1, 2]), pgste.ArgumentTypeError, "gfns: <list_iterator"),
    (range(41), pgste.GfnError, r"gfns\[40\]: 40 "),
    (range(-1, 3), pgste.GfnError, r"gfns\[0\]: -1 "),
    (range(2**80, 2**81), pgste.GfnError, r"gfns\[0\]: 1208925819614629174706176 "),
    (range(5, -3, -1), pgste.GfnError, r"gfns\[6\]: -1 "),
    (range(5, -6, -5), pgste.GfnError, r"gfns\[2\]: -5 "),
    (range(38, 44, 2), pgste.GfnError, r"gfns\[1\]: 40 "),
    (range(37, 44, 2), pgste.GfnError, r"gfns\[2\]: 41 "),
    (range(0, 2**70, 2**69), pgste.GfnError, r"gfns\[1\]: 590295810358705651712 "),
    (slice(0, 41), pgste.ArgumentError, "gfns.stop: 41 is not in 0 .. 40"),
    (slice(-1, None), pgste.ArgumentError, "gfns.start: -1"),
    (slice(None, None, 0), pgste.ArgumentError, "gfns.step: 0"),
    (slice(1.0, 2), pgste.ArgumentTypeError, "gfns.start: 1.0"),
    (slice(0, 2, "1"), pgste.ArgumentTypeError, "gfns.step: '1'"),
    ([1, 40], pgste.GfnError, r"gfns\[1\]: 40 "),
    ([1, -1], pgste.GfnError, r"gfns\[1\]: -1 "),
    ([1, 2, 2**64], pgste.GfnError, r"gfns\[2\]: 18446744073709551616 "),
    ([2**63, 1], pgste.GfnError, r"gfns\[0\]: 9223372036854775808 "),
    ([1, True], pgste.ArgumentTypeError, r"gfns\[1\]: True"),
    ([1, 2.0], pgste.ArgumentTypeError, r"gfns\[1\]: 2.0"),
    ([1, None], pgste.ArgumentTypeError, r"gfns\[1\]: None"),
    ([[1, 2], [3, 4]], pgste.ArgumentTypeError, r"gfns\[0\]: \[1, 2\]"),
    (["1"], pgste.ArgumentTypeError, r"gfns\[0\]: '1'"),
    (np.array([1, 40]), pgste.GfnError, r"gfns\[1\]: 40 "),
    (np.array([1, -5, -6], dtype="i1"), pgste.GfnError, r"gfns\[1\]: -5 "),
    (np.array([1, 255], dtype="u1"), pgste.GfnError, r"gfns\[1\]: 255 "),
    (np.array([1, 2**64 - 1], dtype="u8"), pgste.GfnError, r"gfns\[1\]: 18446744073709551615 "),
    (np.array([1, -(2**63)], dtype="i8"), pgste.GfnError, r"gfns\[1\]: -9223372036854775808 "),
    (np.array([1, 99], dtype=">i4"), pgste.GfnError, r"gfns\[1\]: 99 "),
    (np.array([1, 2], dtype=bool), pgste.ArgumentTypeError, "gfns: .*bool"),
    (np.array([1.0, 2.0]), pgste.ArgumentTypeError, "gfns: .*float64"),
    (np.array([]), pgste.ArgumentTypeError, "gfns: .*float64"),
    (np.array([1, 2], dtype=object), pgste.ArgumentTypeError, "gfns: .*object"),
    (np.array(["1"]), pgste.ArgumentTypeError, f"gfns: .*{np.dtype('U1').str}"),
    (np.array([1], dtype="m8[s]"), pgste.ArgumentTypeError, "gfns: .*timedelta64"),
    (np.array([1], dtype="M8[s]"), pgste.ArgumentTypeError, "gfns: .*datetime64"),
    (np.array([(1,)], dtype=[("a", "i4")]), pgste.ArgumentTypeError, "gfns: "),
    (np.zeros((2, 2), dtype=int), pgste.ArgumentError, r"gfns: .*\(2, 2\).*one dimension"),
    (np.zeros((0, 3), dtype=int), ValueError, r"gfns: .*\(0, 3\)"),
]

METHODS: dict[str, Callable[[pgste.Guest, Any], object]] = {
    "free": lambda guest, gfns: guest.free(gfns),
    "alloc": lambda guest, gfns: guest.alloc(gfns),
    "write": lambda guest, gfns: guest.write(gfns, 1),
    "read": lambda guest, gfns: guest.read(gfns),
    "peek": lambda guest, gfns: guest.peek(gfns),
    "set_words": lambda guest, gfns: guest.set_words(gfns, pgste=1 << 24, pte=0x401),
    "swap_out": lambda guest, gfns: guest.host.swap_out(guest, gfns),
    "pgste": lambda guest, gfns: guest.pgste(gfns),
    "pte": lambda guest, gfns: guest.pte(gfns),
    "states": lambda guest, gfns: guest.states(gfns),
    "is_free": lambda guest, gfns: guest.is_free(gfns),
}


def _busy_guest(**options: Any) -> pgste.Guest:
    """A guest with pages in all states."""
    guest = pgste.Guest(PAGES, **options)
    guest.write(range(0, PAGES, 2), np.arange(1, PAGES // 2 + 1))
    guest.host.swap_out(guest, range(0, PAGES, 4))
    guest.free(range(0, 12))
    return guest


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("gfns", "error", "match"), BAD_GFNS, ids=[name(gfns) for gfns, _, _ in BAD_GFNS]
)
def test_bad_gfns(
    gfns: Any, error: type[Exception], match: str, method: str, unchanged: Unchanged
) -> None:
    if gfns is None and method in ("pgste", "pte", "states", "is_free"):
        return  # every page
    guest = _busy_guest()
    with unchanged(guest), pytest.raises(error, match=match) as caught:
        METHODS[method](guest, gfns)
    assert isinstance(caught.value, pgste.PgsteError)


@pytest.mark.parametrize("generation", ["pgtable", "dat"])
@pytest.mark.parametrize(
    ("gfns", "error", "match"), BAD_GFNS, ids=[name(gfns) for gfns, _, _ in BAD_GFNS]
)
def test_bad_gfns_of_essa(
    gfns: Any, error: type[Exception], match: str, generation: str, unchanged: Unchanged
) -> None:
    """A gfn beyond the guest is an address; one that is negative or above 2**63 is none."""
    guest = _busy_guest(generation=generation)
    beyond = issubclass(error, IndexError) and not isinstance(gfns, slice)
    if beyond:
        values = gfns if isinstance(gfns, (range, list)) else np.atleast_1d(gfns).tolist()
        ends = (values[0], values[-1]) if isinstance(values, range) else values
        beyond = all(0 <= value < 2**51 for value in ends)
    if not beyond:
        with unchanged(guest), pytest.raises(error, match=match):
            guest.essa(2, gfns)
    elif generation == "pgtable":
        with unchanged(guest), pytest.raises(pgste.AddressingException, match=match):
            guest.essa(2, gfns)
    else:
        assert guest.essa(2, gfns)[-1] == 0x10


GFNS_THAT_ARE_BYTES = np.arange(3, dtype=np.uint8)
BAD_OUT: list[tuple[Any, type[Exception], str]] = [
    ([0, 0, 0], TypeError, r"out: \[0, 0, 0\] is not an array"),
    (np.zeros(3, np.int8), TypeError, "out: an array of dtype int8; results are uint8"),
    (np.zeros(2, np.uint8), ValueError, r"out: an array of shape \(2,\); there are 3 gfns"),
    (np.zeros((3, 1), np.uint8), ValueError, r"out: an array of shape \(3, 1\); there are 3 gfns"),
    (np.zeros(6, np.uint8)[::2], ValueError, "out: the array must be contiguous"),
    (np.frombuffer(b"abc", np.uint8), ValueError, "out: the array must be contiguous and writ"),
    (GFNS_THAT_ARE_BYTES, ValueError, "out: the array shares memory with gfns"),
]


@pytest.mark.parametrize(("out", "error", "match"), BAD_OUT)
def test_bad_out_of_essa(
    out: Any, error: type[Exception], match: str, unchanged: Unchanged
) -> None:
    guest = _busy_guest()
    before = np.array(out)
    with unchanged(guest), pytest.raises(error, match=match) as caught:
        guest.essa(1, GFNS_THAT_ARE_BYTES, out=out)
    assert isinstance(caught.value, pgste.PgsteError)
    assert np.array_equal(out, before)


def test_ranges_longer_than_memory(unchanged: Unchanged) -> None:
    guest = _busy_guest()
    with unchanged(guest):
        for call in (guest.read, guest.pte, lambda gfns: guest.free(gfns, 39)):
            with pytest.raises(pgste.GfnError, match=r"gfns\[40\]: 40 "):
                call(range(2**50))
        with pytest.raises(pgste.AddressingException, match=r"gfns\[40\]: 40 "):
            guest.essa(0, range(2**50))
    other = _busy_guest(generation="dat")
    with unchanged(other), pytest.raises(MemoryError):
        other.essa(0, range(2**62))


def test_blocks_that_pass_the_end(unchanged: Unchanged) -> None:
    guest = _busy_guest()
    bad: list[tuple[Any, int, str]] = [
        (39, 1, r"gfns: the block of 2\*\*1 pages at 39 passes the end, 40"),
        (0, 39, r"gfns: the block of 2\*\*39 pages at 0 "),
        ([0, 33], 3, r"gfns\[1\]: the block of 2\*\*3 pages at 33 "),
        (np.array([0, 32, 36], dtype=np.int8), 3, r"gfns\[2\]: the block of 2\*\*3 pages at 36 "),
        (range(40), 2, r"gfns\[37\]: the block of 2\*\*2 pages at 37 "),
        (range(0, 40, 8), 4, r"gfns\[4\]: the block of 2\*\*4 pages at 32 "),
    ]
    for gfns, order, match in bad:
        for method in (guest.free, guest.alloc):
            with unchanged(guest), pytest.raises(pgste.GfnError, match=match):
                method(gfns, order)
    guest.free(range(0, 40, 8), 3)
    assert guest.is_free().all()


BAD_NUMBERS: list[tuple[Any, type[Exception]]] = [
    (-1, pgste.ArgumentError),
    (2**64, pgste.ArgumentError),
    (-(2**80), ValueError),
    (1.0, pgste.ArgumentTypeError),
    (True, TypeError),
    (np.True_, pgste.ArgumentTypeError),
    ("0", pgste.ArgumentTypeError),
    (None, pgste.ArgumentTypeError),
    ([0], pgste.ArgumentTypeError),
    (np.array([0]), pgste.ArgumentTypeError),
]


@pytest.mark.parametrize(("value", "error"), BAD_NUMBERS, ids=repr)
def test_bad_numbers(value: Any, error: type[Exception], unchanged: Unchanged) -> None:
    guest = _busy_guest(vcpus=2)
    calls: list[tuple[str, Callable[[], object]]] = [
        ("orc", lambda: guest.essa(value, 0)),
        ("orc", lambda: guest.essa_page(value, 0)),
        ("vcpu", lambda: guest.essa(2, 0, value)),
        ("vcpu", lambda: guest.essa_page(2, 0, vcpu=value)),
        ("vcpu", lambda: guest.free(0, vcpu=value)),
        ("vcpu", lambda: guest.alloc(0, 0, value)),
        ("vcpu", lambda: guest.cbrl(value)),
        ("vcpu", lambda: guest.intercept(value)),
        ("vcpu", lambda: guest.set_problem_state(value, True)),
        ("order", lambda: guest.free(0, value)),
        ("order", lambda: guest.alloc(0, order=value)),
        ("mask", lambda: guest.find(value, 0)),
        ("value", lambda: guest.find(255, value)),
        ("start", lambda: guest.find(255, 0, value)),
    ]
    if value is not None:
        calls.append(("limit", lambda: guest.find(255, 0, 0, value)))
    for name, call in calls:
        with unchanged(guest), pytest.raises(error, match=f"^{name}: "):
            call()


@pytest.mark.parametrize("value", [-1, 40, 2**63, 2**64, -(2**80)])
def test_bad_gfn_of_the_calls_for_one_page(value: int, unchanged: Unchanged) -> None:
    guest = _busy_guest()
    with unchanged(guest):
        for call in (guest.free_page, guest.alloc_page, guest.zap):
            with pytest.raises(pgste.GfnError, match=f"^gfn: {value} is outside"):
                call(value)
        with pytest.raises(IndexError, match=str(value)):
            guest.essa_page(2, value)


@pytest.mark.parametrize("value", [1.0, True, np.True_, "1", None, [1], range(1), np.array([1])])
def test_bad_type_of_the_calls_for_one_page(value: Any, unchanged: Unchanged) -> None:
    guest = _busy_guest()
    with unchanged(guest):
        for call in (guest.free_page, guest.alloc_page, guest.zap):
            with pytest.raises(pgste.ArgumentTypeError, match=r"^gfn: .* is not an integer"):
                call(value)
        with pytest.raises(pgste.ArgumentTypeError, match=r"^gfn: .* is not an integer"):
            guest.essa_page(2, value)


def test_numbers_out_of_their_ranges(unchanged: Unchanged) -> None:
    guest = _busy_guest(vcpus=2, nodat=True)
    calls: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: guest.essa(2, 0, 2), pgste.ArgumentError, "vcpu: 2 is not in 0 .. 1"),
        (lambda: guest.essa_page(2, 0, 2), ValueError, "vcpu: 2 is not in 0 .. 1"),
        (lambda: guest.free(0, 40), pgste.ArgumentError, "order: 40 is not in 0 .. 39"),
        (lambda: guest.alloc(0, 64), pgste.ArgumentError, "order: 64"),
        (lambda: guest.find(256, 0), pgste.ArgumentError, "mask: 256 is not in 0 .. 255"),
        (lambda: guest.find(1, 2), pgste.ArgumentError, "value: 0x2 .* mask 0x1"),
        (lambda: guest.find(1, 1, 41), pgste.ArgumentError, "start: 41 is not in 0 .. 40"),
        (lambda: guest.essa(8, 0), pgste.SpecificationException, "orc 8 is not in 0 .. 7"),
        (lambda: guest.essa(2**63, 0), pgste.SpecificationException, "orc"),
        (lambda: guest.essa_page(8, 0), ValueError, "orc 8"),
    ]
    for call, error, match in calls:
        with unchanged(guest), pytest.raises(error, match=match):
            call()


@pytest.mark.parametrize("value", [0, 1, None, "on", np.uint8(1)])
def test_flags_must_be_bools(value: Any, unchanged: Unchanged) -> None:
    guest = _busy_guest()
    with unchanged(guest):
        with pytest.raises(pgste.ArgumentTypeError, match=r"on: .* is not a bool"):
            guest.set_problem_state(0, value)
        with pytest.raises(pgste.ArgumentTypeError, match="migration_mode: "):
            guest.migration_mode = value
    for name in ("nodat", "strict"):
        with pytest.raises(pgste.ArgumentTypeError, match=f"{name}: .* is not a bool"):
            pgste.Guest(1, **{name: value})


BAD_TAGS: list[tuple[Any, type[Exception], str]] = [
    (-1, pgste.ArgumentError, "tags: -1 is not in 0 .. 4294967295"),
    (2**32, ValueError, "tags: 4294967296"),
    (1.5, pgste.ArgumentTypeError, "tags: 1.5"),
    (True, TypeError, "tags: True"),
    (None, pgste.ArgumentTypeError, "tags: None"),
    ("x", pgste.ArgumentTypeError, "tags: 'x'"),
    ([1], pgste.ArgumentError, "tags: 1 values for 2 gfns"),
    ([1, 2, 3], pgste.ArgumentError, "tags: 3 values for 2 gfns"),
    ([1, 2**32], pgste.ArgumentError, r"tags\[1\]: 4294967296"),
    ([1, -1], pgste.ArgumentError, r"tags\[1\]: -1"),
    ([1, False], pgste.ArgumentTypeError, r"tags\[1\]: False"),
    (np.array([1, 2**32]), pgste.ArgumentError, r"tags\[1\]: 4294967296"),
    (np.array([1, -1], dtype="i1"), pgste.ArgumentError, r"tags\[1\]: -1"),
    (np.array([1.0, 2.0]), pgste.ArgumentTypeError, "tags: .*float64"),
    (np.zeros((1, 2), dtype="u4"), pgste.ArgumentError, r"tags: .*\(1, 2\)"),
]


@pytest.mark.parametrize(("tags", "error", "match"), BAD_TAGS, ids=[repr(t[0]) for t in BAD_TAGS])
def test_bad_tags(tags: Any, error: type[Exception], match: str, unchanged: Unchanged) -> None:
    guest = _busy_guest()
    with unchanged(guest), pytest.raises(error, match=match):
        guest.write([0, 1], tags)


@pytest.mark.parametrize("name", ["pgste", "pte"])
def test_bad_words(name: str, unchanged: Unchanged) -> None:
    guest = _busy_guest()
    bad: list[tuple[Any, type[Exception], str]] = [
        (-1, pgste.ArgumentError, "-1 is not in 0 .. 18446744073709551615"),
        (2**64, pgste.ArgumentError, "18446744073709551616"),
        (1.0, pgste.ArgumentTypeError, "1.0"),
        ([1, 2, 3], pgste.ArgumentError, "3 values for 2 gfns"),
        (np.array([1, -1]), pgste.ArgumentError, r"\[1\]: -1"),
        (np.array([1.0, 1.0]), pgste.ArgumentTypeError, "float64"),
    ]
    for value, error, match in bad:
        with unchanged(guest), pytest.raises(error, match=f"^{name}.*{match}"):
            guest.set_words([0, 1], **{name: value})
    with unchanged(guest):
        guest.set_words([0, 1])


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", ">u4", ">i2"])
def test_tags_and_words_of_every_dtype(dtype: str) -> None:
    guest = pgste.Guest(4)
    values = np.array([7, 0, 100], dtype=dtype)
    guest.write([3, 1, 0], values)
    assert guest.read([0, 1, 3]).tolist() == [100, 0, 7]
    guest.set_words([3, 1, 0], pgste=values, pte=values[::-1])
    assert guest.pgste().tolist() == [100, 0, 0, 7]
    assert guest.pte().tolist() == [7, 0, 0x400, 100]


def test_strict_guests_refuse_the_whole_call(unchanged: Unchanged) -> None:
    guest = pgste.Guest(PAGES, strict=True)
    guest.free([3, 9])
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: guest.free(3), "gfns: page 3 is free already"),
        (lambda: guest.free([1, 3]), r"gfns\[1\]: page 3 is free already"),
        (lambda: guest.free([0, 8], 1), r"gfns\[1\]: page 9 is free already"),
        (lambda: guest.free([1, 1]), r"gfns\[1\]: page 1 is named twice"),
        (lambda: guest.free([4, 5], 1), r"gfns\[1\]: page 5 is named twice"),
        (lambda: guest.free(range(2, 5)), r"gfns\[1\]: page 3 is free already"),
        (lambda: guest.free_page(9), "gfn: page 9 is free already"),
        (lambda: guest.alloc(4), "gfns: page 4 is in use already"),
        (lambda: guest.alloc([3, 9, 3]), r"gfns\[2\]: page 3 is named twice"),
        (lambda: guest.alloc(2, 1), "gfns: page 2 is in use already"),
        (lambda: guest.alloc_page(np.int16(0)), "gfn: page 0 is in use already"),
    ]
    for call, match in calls:
        with unchanged(guest), pytest.raises(pgste.StateError, match=match):
            call()
    guest.alloc([3, 9])
    guest.free(range(PAGES))
    assert guest.stats()["double_frees"] == 0


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"pages": 0}, pgste.ArgumentError, "pages: 0 is not in 1 .. 1099511627776"),
        ({"pages": -1}, ValueError, "pages: -1"),
        ({"pages": 2**40 + 1}, pgste.ArgumentError, "pages: 1099511627777"),
        ({"pages": 2**80}, pgste.ArgumentError, "pages: 1208925819614629174706176"),
        ({"pages": 4.0}, pgste.ArgumentTypeError, "pages: 4.0"),
        ({"pages": True}, TypeError, "pages: True"),
        ({"pages": "4"}, pgste.ArgumentTypeError, "pages: '4'"),
        ({"host": 5}, pgste.ArgumentTypeError, "host: 5 is not a Host"),
        ({"mechanism": "balloon"}, pgste.UnknownNameError, "mechanism: 'balloon' .* 'cmma'"),
        ({"mechanism": None}, pgste.ArgumentTypeError, "mechanism: None"),
        ({"mechanism": b"cmma"}, TypeError, "mechanism: b'cmma'"),
        ({"generation": "v6"}, ValueError, "generation: 'v6' .* 'pgtable', 'dat'"),
        ({"generation": 0}, pgste.ArgumentTypeError, "generation: 0"),
        ({"vcpus": 0}, pgste.ArgumentError, "vcpus: 0 is not in 1 .. 1024"),
        ({"vcpus": 1025}, pgste.ArgumentError, "vcpus: 1025"),
        ({"cbrl_entries": 0}, pgste.ArgumentError, "cbrl_entries: 0 is not in 1 .. 511"),
        ({"cbrl_entries": 512}, pgste.ArgumentError, "cbrl_entries: 512"),
        ({"cbrl_entries": 5.0}, pgste.ArgumentTypeError, "cbrl_entries: 5.0"),
    ],
)
def test_bad_guests(options: dict[str, Any], error: type[Exception], match: str) -> None:
    host = pgste.Host(4, 4)
    with pytest.raises(error, match=match):
        pgste.Guest(**{"pages": 4, "host": host, **options})
    assert pgste.Guest(4, host).number == 0


def test_the_largest_guests_and_smallest() -> None:
    guest = pgste.Guest(2**40, pgste.Host(1, 0))
    assert guest.essa(2, 2**40 - 1).tolist() == [2]
    assert guest.cbrl().tolist() == [2**40 - 1]
    guest.free([2**40 - 2])
    assert guest.read(2**40 - 3).tolist() == [0]
    assert pgste.Guest(1, cbrl_entries=1, vcpus=1024).essa(2, 0, 1023).tolist() == [2]


def test_a_guest_is_made_once() -> None:
    guest = pgste.Guest(4)
    with pytest.raises(pgste.ArgumentError, match="exists already"):
        guest.__init__(8)  # type: ignore[misc]
    assert guest.pages == 4


def test_a_guest_that_was_never_made() -> None:
    guest = pgste.Guest.__new__(pgste.Guest)
    for call in (lambda: guest.free_page(0), lambda: guest.essa(0, 0), guest.stats):
        with pytest.raises((pgste.GuestClosedError, pgste.ArgumentError, pgste.GfnError)):
            call()
    host = pgste.Host.__new__(pgste.Host)
    with pytest.raises(pgste.GuestClosedError):
        host.stats()
    host.close()
