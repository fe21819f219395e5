# SPDX-License-Identifier: MIT
"""Fleets: names, shifts and parts of traces, what is told, and bad arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pgste
from pgste.cli import main
from pgste.study.fleet import Fleet, Member

ALLOC, FREE = 0, 1
SECOND = 10**9


def burst(pages: int = 64) -> pgste.Trace:
    """Pages that are in use for a second, from 1 s on; in 3 s."""
    kind = [ALLOC] * pages + [FREE] * pages + [ALLOC]
    pfn = [*range(1024, 1024 + pages)] * 2 + [1024]
    time = [SECOND] * pages + [2 * SECOND] * pages + [4 * SECOND]
    return pgste.Trace.from_arrays(
        np.array(kind), np.array(pfn), np.zeros(len(kind), int), np.array(time)
    )


def test_peaks_that_do_not_coincide() -> None:
    together = Fleet([burst(), burst()]).compare(["none"], 1000)
    assert (together.sum_of_peaks, together.peak_of_sum, together.peak_seconds) == (128, 128, 0.0)
    apart = Fleet([burst(), Member(burst(), shift=1.5)]).compare(["madv_dontneed"], 64)
    assert (apart.sum_of_peaks, apart.peak_of_sum) == (128, 64)
    assert apart.host_frames == 64
    result = apart["madv_dontneed"]
    assert [one.start for one in result.guests] == [0.0, 1.5]
    assert result.out_of_memory is None
    with pytest.raises(KeyError, match="cmma"):
        apart["cmma"]


@pytest.mark.parametrize("reclaim", ["simple", "lru", "mglru"])
def test_one_guest_is_what_compare_counts(reclaim: str) -> None:
    trace = pgste.sample_trace()
    alone = pgste.compare(trace, reclaim=reclaim)
    fleet = Fleet([trace]).compare(reclaim=reclaim)
    assert fleet.host_frames == alone.host_frames
    assert fleet.sum_of_peaks == fleet.peak_of_sum == trace.summary()["peak_in_use"]
    for one in fleet.results:
        values = alone[one.mechanism].values
        assert one.counts == {name: values[name] for name in one.counts}
        assert one.frames_peak == values["frames_peak"]
        assert one.swap_peak == values["swap_peak"]


def test_guests_of_one_member_are_those_of_compare() -> None:
    trace = pgste.sample_trace()[:60000]
    alone = pgste.compare(trace, ["cmma"], guests=2)["cmma"].values
    fleet = Fleet([Member(trace, weight=2)]).compare(["cmma"])["cmma"]
    assert fleet.counts == {name: alone[name] for name in fleet.counts}
    assert len(fleet.guests) == 2


def test_parts_of_a_trace() -> None:
    assert len(Member(burst(), end=0).part()) == 64
    assert len(Member(burst(), start=1).part()) == 65
    assert len(Member(burst(), start=0.5, end=1).part()) == 64
    with pytest.raises(pgste.ArgumentError, match="no events"):
        Member(burst(), start=1.5, end=2)


def test_names_are_different() -> None:
    fleet = Fleet([Member(burst(), name="web", weight=2), burst(), Member(burst(), name="web")])
    found = fleet.compare(["none"], 500)
    assert list(found.peaks) == ["web", "web 2", "trace", "web 3"]
    assert [one.name for one in found["none"].guests] == list(found.peaks)


def test_who_ran_out_of_memory_and_when() -> None:
    found = Fleet([Member(burst(), name="a"), Member(burst(), shift=0.5, name="b")]).compare(
        ["none", "madv_free"], 100, swap_slots=0
    )
    assert found["none"].out_of_memory == ("b", 0.5)
    assert found["none"].guests[1].counts["zero_fills"] == 36
    # b's set-up: what is live at its start is written before its first event
    live = pgste.Trace.from_arrays(np.array([FREE]), np.array([5]), np.array([6]), np.array([0]))
    assert Fleet([burst(), Member(live, shift=9, name="late")]).compare(["none"], 66, swap_slots=0)[
        "none"
    ].out_of_memory == ("late", 9.0)


def test_progress_and_threads_change_nothing_else() -> None:
    seen: dict[str, list[int]] = {}

    def progress(mechanism: str, done: int, total: int) -> None:
        assert total == 2 * len(burst())
        seen.setdefault(mechanism, []).append(done)

    fleet = Fleet([burst(), Member(burst(), shift=1)])
    one = fleet.compare(progress=progress)
    assert all(steps == sorted(steps) and steps[-1] == 258 for steps in seen.values())
    assert json.loads(json.dumps(one.to_dict())) == json.loads(
        json.dumps(fleet.compare(threads=4).to_dict())
    )


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"trace": 7}, TypeError, "trace: 7"),
        ({"shift": -1}, ValueError, "shift: -1"),
        ({"shift": "1"}, TypeError, "shift"),
        ({"stagger": float("nan")}, ValueError, "stagger: nan"),
        ({"start": 2e9}, ValueError, "start: 2000000000.0"),
        ({"end": True}, TypeError, "end: True"),
        ({"weight": 0}, ValueError, "weight: 0"),
        ({"weight": 1.5}, TypeError, "weight"),
        ({"name": 7}, TypeError, "name: 7"),
    ],
)
def test_bad_members_are_named(
    arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        Member(**{"trace": burst(), **arguments})


def test_bad_fleets_are_named() -> None:
    for members, error, says in (
        ([], ValueError, "0 guests"),
        (7, TypeError, "members"),
        ([burst(), 7], TypeError, r"members\[1\]: 7"),
        ([Member(burst(), weight=4096), burst()], ValueError, "4097 guests"),
    ):
        with pytest.raises(error, match=says):
            Fleet(members)  # type: ignore[arg-type]
    fleet = Fleet([burst()])
    for arguments, says in (
        ({"mechanisms": ["balloon"]}, "balloon"),
        ({"mechanisms": []}, "at least one"),
        ({"host_frames": 0}, "host_frames: 0"),
        ({"swap_slots": -1}, "swap_slots"),
        ({"threads": 0}, "threads: 0"),
    ):
        with pytest.raises(ValueError, match=says):
            fleet.compare(**arguments)


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    burst().save("a.pgt")
    burst().save("b@+9s")  # a file is a file, whatever its name
    words = ["compare", "a.pgt*2@stagger=1.5s,end=1s", "b@+9s", "a.pgt@+2s", "--swap-slots", "0"]
    assert main([*words, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    guests = data["results"][0]["guests"]
    assert [(one["name"], one["start"]) for one in guests] == [
        ("a.pgt", 0.0), ("a.pgt 2", 1.5), ("b@+9s", 0.0), ("a.pgt 3", 2.0)
    ]  # fmt: skip
    assert main([*words, "--host-frames", "100%"]) == 0
    shown = capsys.readouterr().out
    assert "the sum of their peaks is 1 MiB, the peak of their sum 512 KiB (50%" in shown
    for bad, says in (
        (["a.pgt@+1s,soon"], "soon"),
        (["a.pgt", "a.pgt", "--guests", "2"], "--guests"),
        (["a.pgt", "a.pgt", "--plot", "p.png"], "--plot"),
        (["a.pgt", "missing.pgt"], "missing.pgt"),
    ):
        assert main(["compare", *bad]) == 1
        assert says in capsys.readouterr().err
