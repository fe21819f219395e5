# SPDX-License-Identifier: MIT
"""The verb cmma: what a migration stream holds, whole and damaged."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgste.cli import main

SMALL = Path(__file__).parents[1] / "golden/streams/small.qevm"


def shown(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert main(["cmma", *words]) == status
    out, err = capsys.readouterr()
    assert (err == "") == (status == 0)
    return out + err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(shown(capsys, *words, "--json"))
    return data


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    data = as_json(capsys, str(SMALL))
    raw = SMALL.read_bytes()
    values = bytearray(4096)
    for row in data["records"]:
        word, count = struct.unpack_from(">QQ", raw + bytes(8), row["offset"])
        assert word & 0xFFF == {"eos": 1, "more": 2, "done": 8}[row["record"]]
        if row["record"] == "more":
            assert (word >> 12, count) == (row["page"], row["pages"])
            part = np.frombuffer(raw, np.uint8, count, row["offset"] + 16)
            usage = [row[key] for key in ("stable", "unused", "potentially_volatile", "volatile")]
            assert usage == np.bincount(part & 3, minlength=4).tolist()
            assert row["no_dat"] == np.count_nonzero(part & 64)
            values[row["page"] : row["page"] + count] = part.tobytes()
    summary = data["summary"]
    more = [row for row in data["records"] if row["record"] == "more"]
    assert summary["pages"] == sum(row["pages"] for row in more)
    assert summary["records_with_values"] == len(more) > 3
    assert (summary["complete"], data["error"], summary["sections"]) == (True, None, 5)
    window = as_json(capsys, str(SMALL), "--page", "0x3e0", "--count", "30", "--summary")
    assert window["values"] == list(values[0x3E0 : 0x3E0 + 30])
    assert "records" not in window


def test_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = shown(capsys, str(SMALL), "--page", "4090", "--count", "9")
    assert "5 sections, 13 records" in text
    assert "complete" in text
    assert "pages 0xffa+9:\n00 00 00 00 00 00 -- --\n--\n" in text
    assert "more" not in shown(capsys, str(SMALL), "--summary")


def test_damaged(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "cut"
    file.write_bytes(SMALL.read_bytes()[:4200])
    text = shown(capsys, str(file), status=1)
    assert "DAMAGED" in text
    assert "more" in text  # what was before
    assert "byte 4200: cut off" in text
    assert main(["cmma", str(file), "--json"]) == 1
    out, _ = capsys.readouterr()
    data = json.loads(out)
    assert data["error"]["offset"] == 4200
    assert not data["summary"]["complete"]


def test_many_records(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    eos, done = struct.pack(">Q", 1), struct.pack(">Q", 8)
    file = tmp_path / "many"
    file.write_bytes(eos + struct.pack(">QQB", 2, 1, 1) * 100 + done + eos)
    assert "and 63 records more" in shown(capsys, str(file))
    assert len(as_json(capsys, str(file))["records"]) == 40
    assert as_json(capsys, str(file))["records_left_off"] == 63
    assert len(as_json(capsys, str(file), "--all")["records"]) == 103


@pytest.mark.parametrize(
    "words", [("--page", "-1"), ("--page", "0xfffffffffffffff"), ("--page", "1", "--count", "0")]
)
def test_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not in" in shown(capsys, str(SMALL), *words, status=1)
