# SPDX-License-Identifier: MIT
"""Records of a sweep on disk as they come, so that a sweep that was stopped can go on.

A folder has `sweep.json`, which says of what traces the records are, and the records: Parquet
parts (`cells-000000.parquet`, ...), or JSON lines (`cells.jsonl`) where pyarrow is not installed.
Lines are of the standard library alone, and one that was cut off takes no other along.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pgste._engine.names import shown
from pgste.errors import ArgumentError, MissingPackageError
from pgste.files.saving import save
from pgste.files.texts import load_json, read_bounded
from pgste.study.cell import COLUMNS, DONE, FAILED, OUT_OF_MEMORY

__all__ = ["Store"]

FORMAT, VERSION = "pgste-sweep", 1
_SECONDS = 2.0
"""Parts are written so far apart; what a killed sweep loses."""
_MOST = 2000
"""Or so many records apart."""
_MOST_ABOUT = 16 << 20  # bytes
_ABOUT, _LINES, _PARTS = "sweep.json", "cells.jsonl", "cells-*.parquet"
_WHOLE = ("seed", "guests", "swap_slots", "host_frames", "end_event")
_TEXT = ("trace", "mechanism", "host_memory", "reclaim", "reporting", "status", "error")


class Store:
    """Records in a folder.  One sweep at a time may write to it."""

    def __init__(self, folder: str | os.PathLike[str], traces: Mapping[str, str]) -> None:
        """Open or make it; ``traces`` are the digests by name.

        ArgumentError when the folder has something else, or another sweep writes to it; OSError
        when it cannot be written; MissingPackageError for Parquet without pyarrow.
        """
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)  # held until close()
        try:
            self._open({"format": FORMAT, "version": VERSION, "traces": dict(traces)})
        except BaseException:
            os.close(self._lock)
            raise

    def _open(self, about: dict[str, Any]) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArgumentError(f"results: another sweep writes to {self.folder}") from None
        path = self.folder / _ABOUT
        if path.exists() and not path.is_file():
            raise ArgumentError(f"results: {path} is no regular file")
        if not path.exists():
            if any(self.folder.iterdir()):
                raise ArgumentError(f"results: {self.folder} has other files, and no {_ABOUT}")
            save(path, lambda file: file.write(json.dumps(about, indent=1).encode() + b"\n"))
        try:
            there = load_json(read_bounded(path, _MOST_ABOUT))
        except ValueError:
            there = None
        if there != about:
            raise ArgumentError(f"results: {self.folder} is of another sweep, of other traces")
        parts = sorted(self.folder.glob(_PARTS))
        lines = self.folder / _LINES
        self.parquet = bool(parts) or (not lines.exists() and find_spec("pyarrow") is not None)
        self._next = 1 + max((int(part.stem.partition("-")[2]) for part in parts), default=-1)
        self._pending: list[dict[str, Any]] = []
        self._written = time.monotonic()
        self.records = self._read_parts(parts) if self.parquet else self._read_lines(lines)

    def add(self, record: dict[str, Any]) -> None:
        """Keep a record; it is on disk after two seconds at most, with the next one or `close`."""
        self._pending.append(record)
        late = time.monotonic() - self._written >= _SECONDS
        if not self.parquet or late or len(self._pending) >= _MOST:
            self.flush()

    def flush(self) -> None:
        if not self._pending:
            return
        if self.parquet:
            save(
                self.folder / f"cells-{self._next:06}.parquet",
                lambda file: _write_part(file, self._pending),
            )
            self._next += 1
        else:
            text = "".join(json.dumps(record) + "\n" for record in self._pending)
            with open(self.folder / _LINES, "ab") as file:
                file.write(text.encode())
        self._pending = []
        self._written = time.monotonic()

    def close(self) -> None:
        try:
            self.flush()
        finally:
            os.close(self._lock)

    def _read_parts(self, parts: Sequence[Path]) -> list[dict[str, Any]]:
        reader = _parquet()
        found = []
        for part in parts:
            try:
                found += [_checked(record) for record in reader.read_table(part).to_pylist()]
            except ValueError as error:  # pyarrow's own are such, too
                raise ArgumentError(f"results: {part} is damaged: {error}") from None
        return found

    def _read_lines(self, path: Path) -> list[dict[str, Any]]:
        if not path.exists():
            return []
        if not path.is_file():
            raise ArgumentError(f"results: {path} is no regular file")
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):  # the sweep was killed in the middle of a line
            os.truncate(path, len(whole))
        try:
            return [_checked(load_json(line)) for line in whole.splitlines()]
        except ValueError as error:
            raise ArgumentError(f"results: {path} is damaged: {error}") from None


def _checked(record: Any) -> dict[str, Any]:
    """A record as a sweep writes it; ValueError for anything else that a file may say."""
    if not isinstance(record, dict) or set(record) != set(COLUMNS):
        raise ValueError("no record of a sweep")
    for name, value in record.items():
        kinds = (str,) if name in _TEXT else (int,) if name in _WHOLE else (int, float)
        wrong = isinstance(value, bool) or not isinstance(value, kinds)
        if wrong and (value is not None or name in ("status", "mechanism", "reclaim", "seconds")):
            raise ValueError(f"{name}: {shown(value)}")
    if record["status"] not in (DONE, OUT_OF_MEMORY, FAILED):
        raise ValueError(f"status: {shown(record['status'])}")
    return record


def _parquet() -> Any:
    try:
        return import_module("pyarrow.parquet")
    except ImportError:
        raise MissingPackageError(
            "results in Parquet need pyarrow: pip install 'pgste[parquet]'"
        ) from None


def _write_part(file: Any, records: Iterable[Mapping[str, Any]]) -> None:
    """Columns have the same types in every part, even where a part has no value at all."""
    pa = import_module("pyarrow")
    rows = list(records)
    types = {name: pa.int64() for name in _WHOLE} | {name: pa.string() for name in _TEXT}
    schema = pa.schema([(name, types.get(name, pa.float64())) for name in rows[0]])
    _parquet().write_table(pa.Table.from_pylist(rows, schema=schema), file)
