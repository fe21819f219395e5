# SPDX-License-Identifier: MIT
"""Container of ``trace-cmd record`` (trace.dat), file versions 6 and 7.

Layout from the manual pages trace-cmd.dat.v6(5) and trace-cmd.dat.v7(5); where those are
behind (a section's size has 8 bytes, a buffer option names the size of its pages) from files
of trace-cmd 3.1.  The ring-buffer pages in it are decoded by src_c/trace/ring.c, and the
streams of the CPUs merged by time.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from pgste._engine.trace import RingDecoder
from pgste.errors import TraceError
from pgste.traces.events import Words

__all__ = ["MAGIC", "TraceDat", "merge", "parse", "ring_layout"]

Progress: TypeAlias = Callable[[int, int], object]

MAGIC = b"\x17\x08\x44tracing"
_BATCH_PAGES = 256
_OPTION_DONE, _OPTION_BUFFER, _OPTION_CLOCK = 0, 3, 4
_OPTION_HEADER_INFO, _OPTION_EVENT_FORMATS = 16, 18
_FIELD = re.compile(r"field:\s*[^;]*?(\w+)(?:\[[^]]*\])?\s*;\s*offset:(\d+);\s*size:(\d+);")


@dataclass(frozen=True)
class TraceDat:
    """What a trace.dat holds: packed events and times in order, trace clock, counters."""

    events: Words
    times: Words
    clock: str
    counters: dict[str, int]


def _fields(text: str) -> dict[str, tuple[int, int]]:
    return {name: (int(offset), int(size)) for name, offset, size in _FIELD.findall(text)}


def ring_layout(
    header_page: str,
    formats: Iterable[str],
    *,
    big_endian: bool,
    page_bytes: int | None = None,
) -> dict[str, int]:
    """The layout that RingDecoder wants, from tracefs files (or their copies in a trace.dat).

    ``header_page`` is the text of events/header_page, ``formats`` the texts of the files
    events/kmem/EVENT/format; those of other events than mm_page_alloc, mm_page_free and
    mm_page_free_batched are passed over.  ``page_bytes`` is the size of a ring-buffer page if it
    is not what header_page says.  TraceError for text that lacks a field.
    """
    page = _fields(header_page)
    try:
        commit, data = page["commit"], page["data"]
    except KeyError as error:
        raise TraceError(f"header_page has no field {error}") from None
    layout = {
        "id_alloc": -1,
        "id_free": -1,
        "id_free_batched": -1,
        "common_type_offset": 0,
        "common_type_bytes": 2,
        "page_bytes": page_bytes or data[0] + data[1],
        "commit_offset": commit[0],
        "commit_bytes": commit[1],
        "data_offset": data[0],
        "big_endian": int(big_endian),
    }
    for event in ("alloc", "free"):
        for name in ("pfn", "order"):
            layout |= {f"{event}_{name}_offset": 0, f"{event}_{name}_bytes": 0}
    for text in formats:
        title = re.search(r"^name: *(\S+)", text, re.MULTILINE)
        number = re.search(r"^ID: *(\d+)", text, re.MULTILINE)
        event = title.group(1).removeprefix("mm_page_") if title else ""
        if event not in ("alloc", "free", "free_batched"):
            continue
        fields = _fields(text)
        if number is None or "common_type" not in fields:
            raise TraceError(f"format of mm_page_{event} has no ID or no common_type")
        layout[f"id_{event}"] = int(number.group(1))
        layout["common_type_offset"], layout["common_type_bytes"] = fields["common_type"]
        if event == "free_batched":
            continue
        for name in ("pfn", "order"):
            if name not in fields:
                raise TraceError(f"format of mm_page_{event} has no field {name}")
            offset, size = fields[name]
            layout |= {f"{event}_{name}_offset": offset, f"{event}_{name}_bytes": size}
    return layout


def merge(streams: list[tuple[Words, Words]]) -> tuple[Words, Words]:
    """Merge the (events, times) of the CPUs by time; at the same time the lower CPU comes first.

    The order within a CPU stays; a time that goes back there becomes the one before it.
    """
    if not streams:
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    events = np.concatenate([stream[0] for stream in streams])
    times = np.concatenate([np.maximum.accumulate(stream[1]) for stream in streams])
    order = np.argsort(times, kind="stable")
    return events[order], times[order]


class _Reader:
    """Numbers and strings at a position of the file, in the file's byte order."""

    def __init__(self, data: memoryview, position: int = 0, big_endian: bool = False) -> None:
        self.data = data
        self.position = position
        self.big_endian = big_endian

    def at(self, position: int) -> _Reader:
        return _Reader(self.data, position, self.big_endian)

    def take(self, nr_bytes: int) -> memoryview:
        end = self.position + nr_bytes
        if end > len(self.data):
            raise TraceError("the file is cut off here", offset=min(self.position, len(self.data)))
        part = self.data[self.position : end]
        self.position = end
        return part

    def number(self, nr_bytes: int) -> int:
        return int.from_bytes(self.take(nr_bytes), "big" if self.big_endian else "little")

    def string(self) -> str:
        start = self.position
        for end in range(start, min(start + 4096, len(self.data))):
            if self.data[end] == 0:
                self.position = end + 1
                return bytes(self.data[start:end]).decode("latin-1")
        raise TraceError("a string has no end", offset=start)

    def expect(self, text: bytes) -> None:
        start = self.position
        if bytes(self.take(len(text))) != text:
            raise TraceError(f"no {text.rstrip(bytes(1)).decode()!r} here", offset=start)


@dataclass(frozen=True)
class _Buffer:
    """Ring-buffer pages of one tracing instance: (offset, bytes) of each CPU."""

    page_bytes: int | None
    cpus: list[tuple[int, int]]


@dataclass
class _Contents:
    header_page: str = ""
    formats: list[str] = field(default_factory=list)
    clock: str = ""
    buffers: list[_Buffer] = field(default_factory=list)
    compression: str = "none"


def _read_header_info(reader: _Reader) -> str:
    reader.expect(b"header_page\0")
    text = bytes(reader.take(reader.number(8))).decode("latin-1")
    reader.expect(b"header_event\0")
    reader.take(reader.number(8))
    return text


def _read_event_formats(reader: _Reader) -> list[str]:
    formats = []
    for _ in range(reader.number(4)):
        system = reader.string()
        for _ in range(reader.number(4)):
            text = bytes(reader.take(reader.number(8))).decode("latin-1")
            if system == "kmem":
                formats.append(text)
    return formats


def _chosen_clock(text: str) -> str:
    """The clock in brackets of a trace_clock file."""
    match = re.search(r"\[([^]]*)\]", text)
    return match.group(1) if match else text.strip()


def _decompress(name: str, data: memoryview, offset: int) -> bytes:
    if name == "zlib":
        try:
            return zlib.decompress(data)
        except zlib.error as error:
            raise TraceError(f"zlib: {error}", offset=offset) from error
    if name == "zstd":
        try:
            from compression import zstd  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            pass
        else:
            try:
                return bytes(zstd.decompress(data))
            except zstd.ZstdError as error:
                raise TraceError(f"zstd: {error}", offset=offset) from error
    raise TraceError(
        f"compressed with {name!r}, which this Python has no module for: record with "
        "--compression none, or convert with trace-cmd convert --compression none",
        offset=offset,
    )


# ---- version 7 ------------------------------------------------------------------------------


def _section(reader: _Reader, contents: _Contents) -> _Reader:
    """The section at the reader's position, unpacked."""
    reader.take(2)
    flags = reader.number(2)
    reader.take(4)
    size = reader.number(8)
    if not flags & 1:
        end = reader.position + size
        return _Reader(reader.data[:end], reader.position, reader.big_endian)
    packed_bytes, _ = reader.number(4), reader.number(4)
    start = reader.position
    data = _decompress(contents.compression, reader.take(packed_bytes), start)
    return _Reader(memoryview(data), 0, reader.big_endian)


def _read_buffer_option(option: _Reader, contents: _Contents) -> _Buffer:
    option.take(8)
    option.string()
    contents.clock = option.string()
    left = len(option.data) - option.position
    # Since 3.1 the size of a page comes before the number of CPUs.
    page_bytes = option.number(4) if (left - 8) % 20 == 0 else None
    cpus = []
    for _ in range(option.number(4)):
        option.take(4)
        cpus.append((option.number(8), option.number(8)))
    return _Buffer(page_bytes, cpus)


def _read_version_7(reader: _Reader) -> _Contents:
    contents = _Contents()
    contents.compression = reader.string()
    reader.string()
    at_options = reader.number(8)
    seen = set()
    while at_options:
        if at_options in seen:
            raise TraceError("the option sections form a circle", offset=at_options)
        seen.add(at_options)
        section = _section(reader.at(at_options), contents)
        at_options = 0
        while section.position < len(section.data):
            number, size = section.number(2), section.number(4)
            option = _Reader(section.take(size), 0, reader.big_endian)
            if number == _OPTION_DONE:
                at_options = option.number(8)
                break
            if number == _OPTION_BUFFER:
                contents.buffers.append(_read_buffer_option(option, contents))
            elif number == _OPTION_CLOCK and not contents.clock:
                contents.clock = _chosen_clock(option.string())
            elif number == _OPTION_HEADER_INFO:
                part = _section(reader.at(option.number(8)), contents)
                contents.header_page = _read_header_info(part)
            elif number == _OPTION_EVENT_FORMATS:
                part = _section(reader.at(option.number(8)), contents)
                contents.formats = _read_event_formats(part)
    return contents


# ---- version 6 ------------------------------------------------------------------------------


def _read_version_6(reader: _Reader) -> _Contents:
    contents = _Contents()
    contents.header_page = _read_header_info(reader)
    for _ in range(reader.number(4)):
        reader.take(reader.number(8))
    contents.formats = _read_event_formats(reader)
    reader.take(reader.number(4))  # kallsyms
    reader.take(reader.number(4))  # printk formats
    reader.take(reader.number(8))  # task names
    nr_cpus = reader.number(4)
    start = reader.position
    part = bytes(reader.take(10))
    if part == b"options  \0":
        while number := reader.number(2):
            option = _Reader(reader.take(reader.number(4)), 0, reader.big_endian)
            if number == _OPTION_BUFFER:
                raise TraceError("buffers of tracing instances in a version 6 file", offset=start)
            if number == _OPTION_CLOCK:
                contents.clock = _chosen_clock(option.string())
        start = reader.position
        part = bytes(reader.take(10))
    if part != b"flyrecord\0":
        raise TraceError("no ring-buffer pages: recorded as text (latency)?", offset=start)
    cpus = [(reader.number(8), reader.number(8)) for _ in range(nr_cpus)]
    contents.buffers = [_Buffer(None, cpus)]
    return contents


# ---- pages ----------------------------------------------------------------------------------


def _cpu_pages(reader: _Reader, contents: _Contents, offset: int, size: int) -> memoryview:
    """The ring-buffer pages of one CPU, unpacked."""
    part = reader.at(offset)
    if not size or contents.compression == "none":
        return part.take(size)
    pages = bytearray()
    for _ in range(part.number(4)):
        packed_bytes, _ = part.number(4), part.number(4)
        start = part.position
        pages += _decompress(contents.compression, part.take(packed_bytes), start)
    return memoryview(pages)


def parse(data: memoryview, progress: Progress | None = None) -> TraceDat:
    """Read a trace.dat that lies in memory or in a map.  TraceError with the byte offset."""
    reader = _Reader(data)
    reader.expect(MAGIC)
    at_version = reader.position
    version = reader.string()
    if version not in ("6", "7"):
        raise TraceError(f"file version {version!r} is neither 6 nor 7", offset=at_version)
    reader.big_endian = bool(reader.number(1))
    reader.take(5)
    contents = _read_version_7(reader) if version == "7" else _read_version_6(reader)
    if not contents.header_page or not contents.formats or not contents.buffers:
        raise TraceError("the file has no events of kmem or no buffers", offset=len(data))
    streams = []
    counters: dict[str, int] = {}
    for buffer in contents.buffers:
        layout = ring_layout(
            contents.header_page,
            contents.formats,
            big_endian=reader.big_endian,
            page_bytes=buffer.page_bytes,
        )
        try:
            decoder = RingDecoder(layout)
        except (ValueError, OverflowError) as error:
            raise TraceError(f"event formats: {error}") from error
        for offset, size in buffer.cpus:
            pages = _cpu_pages(reader, contents, offset, size)
            packed = contents.compression != "none"
            streams.append(_decode_cpu(decoder, pages, None if packed else offset))
            if progress is not None:
                progress(min(offset + size, len(data)), len(data))
        for name, count in decoder.counters.items():
            counters[name] = counters.get(name, 0) + count
    if progress is not None:
        progress(len(data), len(data))
    events, times = merge(streams)
    return TraceDat(events, times, contents.clock, counters)


def _decode_cpu(decoder: RingDecoder, pages: memoryview, offset: int | None) -> tuple[Words, Words]:
    """Pages of one CPU, which start at ``offset`` of the file (None: packed there)."""
    if len(pages) % decoder.page_bytes:
        raise TraceError(
            f"{len(pages)} bytes of a CPU are no multiple of a page of {decoder.page_bytes}",
            offset=offset,
        )
    all_events, all_times = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    step = _BATCH_PAGES * decoder.page_bytes
    for start in range(0, len(pages), step):
        try:
            events, times = decoder.decode(pages[start : start + step])
        except TraceError as error:
            at = None if offset is None else offset + start + (error.offset or 0)
            raise TraceError(error.reason, offset=at) from None
        except ValueError as error:
            raise TraceError(f"event formats: {error}") from error
        all_events.append(events)
        all_times.append(times)
    return np.concatenate(all_events), np.concatenate(all_times)
