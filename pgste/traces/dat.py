# SPDX-License-Identifier: MIT
"""Container of ``trace-cmd record`` (trace.dat), file versions 6 and 7.

Layout from the manual pages trace-cmd.dat.v6(5) and trace-cmd.dat.v7(5); where those are
behind (a section's size has 8 bytes, a buffer option names the size of its pages) from files
of trace-cmd 3.1.  The ring-buffer pages in it are decoded by src_c/trace/ring.c, and the
streams of the CPUs merged by time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from pgste._engine.trace import RingDecoder
from pgste.errors import TraceError
from pgste.traces.budget import STEP, Meter
from pgste.traces.dat_parts import Reader, decompress
from pgste.traces.events import Words
from pgste.traces.source import Content, InMemory, Progress

__all__ = ["MAGIC", "TraceDat", "merge", "parse", "ring_layout"]

MAGIC = b"\x17\x08\x44tracing"
_BATCH_BYTES = 1 << 20
_EVENT_BYTES = 64  # of memory for an event: in the stream of its CPU, joined, sorted, in order
_OPTION_DONE, _OPTION_BUFFER, _OPTION_CLOCK = 0, 3, 4
_OPTION_HEADER_INFO, _OPTION_EVENT_FORMATS = 16, 18
_MAX_DIGITS = 9


@dataclass(frozen=True)
class TraceDat:
    """What a trace.dat holds: packed events and times in order, trace clock, counters."""

    events: Words
    times: Words
    clock: str
    counters: dict[str, int]


def _number_behind(label: str, text: str) -> int | None:
    digits = text.strip().removeprefix(label)
    return int(digits) if digits.isdecimal() and len(digits) <= _MAX_DIGITS else None


def _fields(text: str) -> dict[str, tuple[int, int]]:
    """Offset and size of each "field:TYPE NAME[LENGTH]; offset:N; size:N;", in one pass."""
    found = {}
    for part in text.split("field:")[1:]:
        declaration, *numbers = part.split(";", 3)
        if len(numbers) < 3:
            continue
        name = declaration.strip()
        if name.endswith("]"):
            name = name[: name.rfind("[")]
        words = name.replace("*", " ").split()
        offset, size = _number_behind("offset:", numbers[0]), _number_behind("size:", numbers[1])
        if words and offset is not None and size is not None:
            found[words[-1]] = (offset, size)
    return found


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
        number = re.search(r"^ID: *(\d{1,9})$", text, re.MULTILINE)
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


def _read_header_info(reader: Reader) -> str:
    reader.expect(b"header_page\0")
    text = bytes(reader.take(reader.number(8))).decode("latin-1")
    reader.expect(b"header_event\0")
    reader.skip(reader.number(8))
    return text


def _read_event_formats(reader: Reader) -> list[str]:
    formats = []
    for _ in range(reader.number(4)):
        system = reader.string()
        for _ in range(reader.number(4)):
            nr_bytes = reader.number(8)
            if system == "kmem":
                formats.append(bytes(reader.take(nr_bytes)).decode("latin-1"))
            else:
                reader.skip(nr_bytes)
    return formats


def _chosen_clock(text: str) -> str:
    """The clock in brackets of a trace_clock file."""
    chosen, bracket, _ = text.partition("[")[2].partition("]")
    return chosen if bracket else text.strip()


# ---- version 7 ------------------------------------------------------------------------------


def _section(reader: Reader, contents: _Contents) -> Reader:
    """The section at the reader's position, unpacked."""
    reader.take(2)
    flags = reader.number(2)
    reader.take(4)
    size = reader.number(8)
    if not flags & 1:
        part = reader.at(reader.position)
        part.end = min(part.end, reader.position + size)
        return part
    packed_bytes, unpacked_bytes = reader.number(4), reader.number(4)
    start = reader.position
    data = reader.take(packed_bytes)
    return reader.within(
        decompress(contents.compression, data, unpacked_bytes, start, reader.meter)
    )


def _read_buffer_option(option: Reader, contents: _Contents) -> _Buffer:
    option.take(8)
    option.string()
    contents.clock = option.string()
    left = option.end - option.position
    # Since 3.1 the size of a page comes before the number of CPUs.
    page_bytes = option.number(4) if (left - 8) % 20 == 0 else None
    cpus = []
    for _ in range(option.number(4)):
        option.take(4)
        cpus.append((option.number(8), option.number(8)))
    return _Buffer(page_bytes, cpus)


def _read_version_7(reader: Reader) -> _Contents:
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
        while section.position < section.end:
            number, size = section.number(2), section.number(4)
            option = section.within(section.take(size))
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


def _read_version_6(reader: Reader) -> _Contents:
    contents = _Contents()
    contents.header_page = _read_header_info(reader)
    for _ in range(reader.number(4)):
        reader.skip(reader.number(8))
    contents.formats = _read_event_formats(reader)
    reader.skip(reader.number(4))  # kallsyms
    reader.skip(reader.number(4))  # printk formats
    reader.skip(reader.number(8))  # task names
    nr_cpus = reader.number(4)
    start = reader.position
    part = bytes(reader.take(10))
    if part == b"options  \0":
        while number := reader.number(2):
            option = reader.within(reader.take(reader.number(4)))
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


def _cpu_pages(
    reader: Reader, contents: _Contents, offset: int, size: int, page_bytes: int
) -> Iterator[tuple[memoryview, int | None]]:
    """The ring-buffer pages of one CPU, whole pages at a time, and where in the file they lie.

    None for pages that are packed there.  TraceError if the last page is not whole.
    """
    part = reader.at(offset)
    step = max(_BATCH_BYTES // page_bytes, 1) * page_bytes
    if not size or contents.compression == "none":
        if size % page_bytes:
            raise _no_pages(size, page_bytes, offset)
        if offset + size > reader.end:
            raise TraceError("the file is cut off here", offset=min(offset, reader.end))
        for start in range(0, size, step):
            at = part.position
            yield part.take(min(step, size - start)), at
        return
    rest = b""
    done = 0
    for _ in range(part.number(4)):
        packed_bytes, unpacked_bytes = part.number(4), part.number(4)
        start = part.position
        data = part.take(packed_bytes)
        rest += decompress(contents.compression, data, unpacked_bytes, start, reader.meter)
        whole = len(rest) // page_bytes * page_bytes
        for at in range(0, whole, step):
            yield memoryview(rest)[at : min(at + step, whole)], None
        done += whole
        rest = rest[whole:]
    if rest:
        raise _no_pages(done + len(rest), page_bytes, None)


def _no_pages(nr_bytes: int, page_bytes: int, offset: int | None) -> TraceError:
    reason = f"{nr_bytes} bytes of a CPU are no multiple of a page of {page_bytes}"
    return TraceError(reason, offset=offset)


def _decoder(contents: _Contents, page_bytes: int | None, reader: Reader) -> RingDecoder:
    layout = ring_layout(
        contents.header_page,
        contents.formats,
        big_endian=reader.big_endian,
        page_bytes=page_bytes,
    )
    reader.meter.memory(2 * layout["page_bytes"], f"a page of {layout['page_bytes']:,} bytes")
    try:
        decoder = RingDecoder(layout)
    except (ValueError, OverflowError) as error:
        raise TraceError(f"event formats: {error}") from error
    if not decoder.page_bytes:
        raise TraceError("event formats: a page of 0 bytes")
    return decoder


def parse(
    data: memoryview | bytes | Content,
    progress: Progress | None = None,
    meter: Meter | None = None,
) -> TraceDat:
    """Read a trace.dat that lies in memory or on disk.  TraceError with the byte offset."""
    content = InMemory(data) if isinstance(data, memoryview | bytes) else data
    reader = Reader(content, meter or Meter(None, content.size))
    reader.expect(MAGIC)
    at_version = reader.position
    version = reader.string()
    if version not in ("6", "7"):
        raise TraceError(f"file version {version!r} is neither 6 nor 7", offset=at_version)
    reader.big_endian = bool(reader.number(1))
    reader.take(5)
    contents = _read_version_7(reader) if version == "7" else _read_version_6(reader)
    if not contents.header_page or not contents.formats or not contents.buffers:
        raise TraceError("the file has no events of kmem or no buffers", offset=content.size)
    streams = []
    decoders: dict[int | None, RingDecoder] = {}
    for buffer in contents.buffers:
        decoder = decoders.get(buffer.page_bytes)
        if decoder is None:
            decoder = decoders[buffer.page_bytes] = _decoder(contents, buffer.page_bytes, reader)
        for offset, size in buffer.cpus:
            pages = _cpu_pages(reader, contents, offset, size, decoder.page_bytes)
            streams.append(_decode_cpu(decoder, pages, reader.meter))
            if progress is not None:
                progress(min(offset + size, content.size), content.size)
    counters: dict[str, int] = {}
    for decoder in decoders.values():
        for name, count in decoder.counters.items():
            counters[name] = counters.get(name, 0) + count
    if progress is not None:
        progress(content.size, content.size)
    events, times = merge(streams)
    return TraceDat(events, times, contents.clock, counters)


def _decode_cpu(
    decoder: RingDecoder, batches: Iterator[tuple[memoryview, int | None]], meter: Meter
) -> tuple[Words, Words]:
    """The events of one CPU, from its pages and where in the file they lie."""
    all_events, all_times = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    for pages, offset in batches:
        meter.work(STEP * (len(pages) // decoder.page_bytes), "decoding this many pages")
        try:
            events, times = decoder.decode(pages)
        except TraceError as error:
            at = None if offset is None else offset + (error.offset or 0)
            raise TraceError(error.reason, offset=at) from None
        except ValueError as error:
            raise TraceError(f"event formats: {error}") from error
        if len(events):
            meter.memory(_EVENT_BYTES * len(events), "this many events")
            all_events.append(events)
            all_times.append(times)
    return np.concatenate(all_events), np.concatenate(all_times)
