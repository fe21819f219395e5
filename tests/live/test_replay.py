"""Replay on real memory: the kernel under a real limit, beside the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from live.machine import machine_alone
from live.test_memory import in_child
from pgste import sample_trace
from pgste._engine import Guest, Host
from pgste._engine import Replay as EngineReplay
from pgste._engine.live import Mapping, Replay
from pgste.cli import main
from pgste.errors import ArgumentError
from pgste.live import Advice, Refused
from pgste.live.counters import Counters
from pgste.live.mglru import mglru_on
from pgste.live.predicted import flush_moments, predict
from pgste.live.pressure import MemoryLimit, SwapFile, find_hierarchy
from pgste.live.replay import (
    CHUNK_PAGES,
    Figure,
    LiveReplay,
    MechanismReplay,
    live_replay,
    scale,
)
from pgste.traces import Trace
from pgste.traces.touch import touched

pytestmark = pytest.mark.alone  # it measures the kernel

SMALL = Path(__file__).parents[1] / "golden/traces/small.trace.dat"


def random_trace(rng: np.random.Generator, events: int) -> Trace:
    """Blocks of several orders on scattered pages, freed and allocated at will."""
    order = rng.choice([0, 0, 0, 1, 3, 9, 10], size=events)
    chunk = rng.integers(0, 40, size=events) ** 3
    pfn = chunk * CHUNK_PAGES + (rng.integers(0, CHUNK_PAGES, size=events) >> order << order)
    return Trace.from_arrays(rng.integers(0, 2, size=events), pfn, order)


def pages_of(event: tuple[int, int]) -> range:
    pfn, order = event
    return range(pfn, pfn + (1 << order))


@pytest.mark.parametrize("seed", range(8))
def test_scaling_keeps_each_page_that_it_takes_as_it_was(seed: int) -> None:
    """Against page by page bookkeeping in plain Python."""
    trace = random_trace(np.random.default_rng(seed), 300)
    scaled = scale(trace, 1 << 30)
    assert scaled.share == 1
    assert len(scaled.events) == len(trace)
    place: dict[int, int] = {}
    first: dict[int, int] = {}
    for pfn, order, kind, event in zip(
        trace.pfn.tolist(), trace.order.tolist(), trace.kind.tolist(), scaled.events.tolist(),
        strict=True,
    ):  # fmt: skip
        assert (event & 3, event >> 2 & 63) == (kind, order)
        for was, now in zip(pages_of((pfn, order)), pages_of((event >> 8, order)), strict=True):
            assert place.setdefault(was, now) == now, "a page is one page, for all events"
            first.setdefault(now, kind)
    assert len(set(place.values())) == len(place), "and no two pages are the same"
    assert max(place.values()) < scaled.pages
    expected = np.zeros(scaled.pages, dtype=np.uint8)
    for page, kind in first.items():
        expected[page] = kind
    assert (scaled.in_use == expected).all()


@pytest.mark.parametrize("most", [1 << 30, 3000])
def test_scaling_takes_accesses_along(most: int) -> None:
    rng = np.random.default_rng(5)
    plain = random_trace(rng, 4000)
    trace = touched(plain, "uniform:1")
    scaled = scale(trace, most)
    assert (scale(plain, most).events == scaled.events).all()
    chunks = np.unique(trace.pfn >> np.uint64(10))
    every = next(
        n
        for n in range(1, len(chunks) + 1)
        if len(chunks[::n]) * CHUNK_PAGES == scaled.pages
        and np.isin(trace.pfn >> np.uint64(10), chunks[::n]).sum() == len(scaled.events)
    )
    kept = {int(chunk): number for number, chunk in enumerate(chunks[::every])}
    place = [0]
    for pfn in trace.pfn.tolist():
        place.append(place[-1] + (pfn >> 10 in kept))
    expected = [
        ((kept[access >> 18] << 10 | access >> 8 & 1023) << 8 | access & 3, place[at])
        for access, at in zip(trace.accesses.tolist(), trace.places.tolist(), strict=True)
        if access >> 18 in kept
    ]
    assert list(zip(scaled.accesses.tolist(), scaled.places.tolist(), strict=True)) == expected
    assert len(expected) > 200


def test_scaling_down_is_a_sample_of_chunks() -> None:
    trace = random_trace(np.random.default_rng(3), 4000)
    whole = scale(trace, 1 << 30)
    part = scale(trace, whole.peak // 3)
    assert 0 < part.peak <= whole.peak // 3
    assert 0.1 < part.share < 0.6
    assert 0 < len(part.events) < len(whole.events)


def test_bad_scaling() -> None:
    with pytest.raises(ArgumentError, match="trace"):
        scale(Trace.from_arrays([], [], []), 10)
    with pytest.raises(ArgumentError, match="most_pages"):
        scale(random_trace(np.random.default_rng(1), 3), 0)


# ---- the replay in C, against plain Python ----


@pytest.mark.parametrize("advice", [None, Advice.DONTNEED])
@pytest.mark.parametrize("seed", range(4))
def test_replay_counts_and_content(advice: Advice | None, seed: int) -> None:
    rng = np.random.default_rng([seed, 77])
    order = rng.choice([0, 0, 1, 2], size=500)
    gfn = rng.integers(0, 64, size=500) >> order << order
    trace = Trace.from_arrays(rng.integers(0, 2, size=500), gfn, order)
    in_use = rng.integers(0, 2, size=64).astype(np.uint8)
    mapping = Mapping(64)
    nr = int(rng.integers(0, 700))
    places = np.sort(rng.integers(0, 501, nr)).astype(np.uint64)
    accesses = (rng.integers(0, 64, nr) << 8 | rng.choice([2, 3], nr)).astype(np.uint64)
    replay = Replay(mapping, in_use, -1 if advice is None else int(advice), accesses, places)
    replay.setup()
    for first in range(0, 500, 7):
        replay.run(trace.events[first : first + 7], first + 7 >= 500)

    used, content = in_use.astype(bool).tolist(), {}
    tag = 0
    for page in np.flatnonzero(in_use).tolist():
        tag += 1
        content[page] = tag
    counts = dict.fromkeys(("touched", "stale_allocs", "stale_pages", "implied_frees",
                            "ignored_frees", "hint_pages", "loads", "stores",
                            "ignored_accesses"), 0)  # fmt: skip
    queue = list(zip(accesses.tolist(), places.tolist(), strict=True))

    def access(place: int) -> None:
        nonlocal tag
        while queue and queue[0][1] == place:
            word, _ = queue.pop(0)
            page, is_store = word >> 8, word & 3 == 3
            if not used[page]:
                counts["ignored_accesses"] += 1
                continue
            counts["stores" if is_store else "loads"] += 1
            if is_store:
                tag += 1
                content[page] = tag

    for number, event in enumerate(trace.events.tolist()):
        access(number)
        pages = pages_of((event >> 8, event >> 2 & 63))
        freed = [page for page in pages if used[page]]
        if event & 3:
            counts["ignored_frees"] += len(pages) - len(freed)
        else:
            counts["implied_frees"] += len(freed)
        if advice is not None:
            counts["hint_pages"] += len(freed)
            for page in freed:
                content.pop(page, None)
        for page in freed:
            used[page] = False
        if event & 3:
            continue
        stale = 0
        for page in pages:
            used[page] = True
            tag += 1
            stale += page in content
            content[page] = tag
        counts["touched"] += len(pages)
        counts["stale_pages"] += stale
        counts["stale_allocs"] += bool(stale)
    access(500)
    stats = replay.stats()
    assert {name: stats[name] for name in counts} == counts
    assert stats["events"] == 500
    words, _ = mapping.load(range(64))
    assert words[:, 0].tolist() == [content.get(page, 0) for page in range(64)]


def test_consecutive_frees_that_join_are_one_call() -> None:
    mapping = Mapping(16)
    replay = Replay(mapping, np.ones(16, dtype=np.uint8), int(Advice.DONTNEED))
    frees = Trace.from_arrays([1] * 5, [0, 1, 2, 8, 4], [0, 0, 1, 1, 0])
    replay.run(frees.events, True)
    assert replay.stats()["hints"] == 3  # 0 .. 3, 8 .. 9, 4
    assert replay.stats()["hint_pages"] == 7


def test_events_outside_the_memory_are_refused() -> None:
    mapping = Mapping(16)
    replay = Replay(mapping, np.zeros(16, dtype=np.uint8), -1)
    for pfn, order in ((16, 0), (8, 4), (0, 5)):
        with pytest.raises(ArgumentError):
            replay.run(Trace.from_arrays([0], [pfn], [order]).events, True)
    with pytest.raises(ArgumentError, match="in_use"):
        Replay(mapping, np.zeros(15, dtype=np.uint8), -1)


# ---- what a figure says ----


def test_a_figure_by_hand() -> None:
    figure = Figure("swap_outs", (90.0, 100.0, 120.0), (150.0, 111.0, 80.0), "group")
    assert figure.model == 111
    assert figure.median == 100
    assert figure.spread == pytest.approx(0.3)
    assert figure.error == pytest.approx(0.11)
    assert figure.verdict == "within"
    for model, verdict in (
        (89.0, "outside"),
        (90.0, "within"),
        (120.0, "within"),
        (121.0, "outside"),
    ):
        assert Figure("swap_outs", figure.kernel, (model,), "group").verdict == verdict


def test_a_figure_of_which_little_is_known() -> None:
    one = Figure("swap_outs", (90.0,), (90.0,), "group")
    assert (one.spread, one.verdict, one.error) == (None, None, 0)
    none = Figure("swap_outs", (), (90.0,), "group")
    assert (none.median, none.spread, none.error, none.verdict) == (None, None, None, None)
    nothing = Figure("swap_outs", (0.0, 0.0), (5.0,), "group")
    assert (nothing.median, nothing.spread, nothing.error, nothing.verdict) == (
        0, None, None, "outside"
    )  # fmt: skip
    assert Figure("elapsed_seconds", (1.0, 2.0), (), "group").verdict is None


# ---- what the model says ----


def test_the_timer_may_be_anywhere() -> None:
    """A flush each 2 seconds, from one of eight moments of them on."""
    assert flush_moments(0.1) == [()] * 8
    assert flush_moments(0.5) == [(0.25,), (0.75,), *[()] * 6]
    assert flush_moments(4.0)[3] == (0.875 / 4, 2.875 / 4)
    assert [len(each) for each in flush_moments(5.0)] == [3] * 4 + [2] * 4
    assert flush_moments(0) == [()] * 8


def test_statistics_are_flushed_at_these_moments() -> None:
    """Each run of the model is a replay that stops there and flushes, and nowhere else."""
    scaled = scale(sample_trace(), 1 << 30)
    args = (scaled, "madv_free", 55000, 90000, 7)
    runs = predict(*args, seconds=0.5)
    assert len(runs) == 8
    assert all(run.values == runs[2].values for run in runs[3:])
    assert runs[0].values["swap_outs"] < 0.8 * runs[2].values["swap_outs"]
    host = Host(55000, 90000, reclaim="lru", fresh_stats=False)
    replay = EngineReplay([Guest(scaled.pages, host=host, mechanism="madv_free")], scaled.events)
    replay.run(int(0.25 * len(scaled.events)))
    host.flush_stats()
    replay.run()
    assert runs[0].values["swap_outs"] == host.stats()["swap_outs"]
    assert len(runs[0].resident) == 8
    assert runs[0].resident[-1] == host.stats()["frames"] - host.stats()["frames_free"]


def test_runs_that_find_no_memory_are_left_out() -> None:
    scaled = scale(sample_trace(), 1 << 30)
    assert predict(scaled, "none", 20000, 20000, 5, 1.0) == ()
    assert MechanismReplay("none", (), (), 20000, ()).model is None
    figures = MechanismReplay("none", (), (), 20000, ()).figures
    assert figures["swap_outs"].model is None


@pytest.mark.parametrize("seed", range(4))
def test_swap_is_sized_by_pages(seed: int) -> None:
    """Blocks count as all of their pages: by their heads alone, swap was too small."""
    trace = random_trace(np.random.default_rng(seed), 300)
    pages = {
        page for event in trace.events.tolist() for page in pages_of((event >> 8, event >> 2 & 63))
    }
    assert scale(trace, 1 << 30).used == len(pages) > 300


# ---- under a real limit ----


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> LiveReplay:
    try:
        with machine_alone():
            return live_replay(
                Trace.open(SMALL),
                runs=2,
                samples=50,
                swap_directory=str(tmp_path_factory.mktemp("swap")),
            )
    except Refused as refused:
        pytest.skip(f"no replay under a limit here: {refused}")


def test_memory_stays_under_the_limit(small: LiveReplay) -> None:
    assert small.limit_pages == small.scaled.peak * 3 // 4
    for name, one in small.mechanisms.items():
        assert len(one.runs) == 2, one.killed
        for run in one.runs:
            # The kernel charges by the batch, 64 pages a CPU.
            assert run.values["resident_peak"] <= small.limit_pages + 512, name
            assert run.values["swap_outs"] > 0, name
            assert run.values["events"] == len(small.scaled.events)
        assert one.frames == int(np.median([run.values["resident_peak"] for run in one.runs]))


def test_nothing_but_the_mapping_is_in_the_group(small: LiveReplay) -> None:
    """Of madv_dontneed nothing comes back from swap, nor of the process itself: it is locked."""

    def lock() -> str:
        Mapping(1).lock_others()
        return "locked"

    locked = in_child(lock) == "locked"
    for run in small.mechanisms["madv_dontneed"].runs:
        assert run.values["faults"] - run.values["touched"] < 200
        assert run.values["disk_faults"] < (1 if locked else 100)


def test_each_counter_says_whose_it_is(small: LiveReplay) -> None:
    version = small.cgroup_version
    for one in small.mechanisms.values():
        figures = one.figures
        assert figures["swap_outs"].scope == {1: "whole machine", 2: "group"}[version]
        assert figures["readahead_hits"].scope == "whole machine"
        assert figures["hints"].scope == "group"


def test_model_predicts_what_the_kernel_does(small: LiveReplay) -> None:
    for name, one in small.mechanisms.items():
        figures = one.figures
        assert one.model is not None
        for key in ("hints", "hint_pages"):
            assert figures[key].error in (0, None), (name, key)
            assert figures[key].verdict == "within", (name, key)
        for run in one.runs:
            for key in ("ignored_frees", "implied_frees"):
                assert run.values[key] == one.model.values[key], (name, key)
            # The model reclaims what is needed. The kernel does that at least; now and then it
            # takes several times as much, while what it chose first is still being written.
            share = run.values["resident_mean"] / one.model.values["resident_mean"]
            assert 0.4 < share < 1.1, name
            assert run.values["swapped_peak"] > 0.8 * one.model.values["swapped_peak"], name
    assert small.mechanisms["madv_dontneed"].figures["stale_allocs"].median == 0
    stale = small.mechanisms["none"].figures["stale_allocs"]
    assert stale.model == stale.median
    assert stale.spread == 0


def test_nothing_is_left(small: LiveReplay, tmp_path_factory: pytest.TempPathFactory) -> None:
    hierarchy = find_hierarchy()
    assert hierarchy is not None
    assert not list(hierarchy.directory.glob("pgste-*"))
    # swap files of others are not the test's business
    assert str(tmp_path_factory.getbasetemp()) not in Path("/proc/swaps").read_text()


def test_result_as_data_and_picture(small: LiveReplay, tmp_path: Path) -> None:
    from pgste.live.plot import plot_live_replay

    data = json.loads(json.dumps(small.to_dict(), allow_nan=False))
    assert set(data["mechanisms"]) == {"none", "madv_dontneed", "madv_free"}
    none = data["mechanisms"]["none"]
    assert len(none["kernel"][1]["samples"]["resident"]) == 51
    assert none["figures"]["swap_outs"]["scope"] in ("group", "whole machine")
    assert len(none["figures"]["swap_outs"]["runs"]) == 2
    plot_live_replay(small, tmp_path / "replay.png")
    assert (tmp_path / "replay.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="path"):
        plot_live_replay(small, tmp_path / "replay.txt")


@pytest.mark.usefixtures("machine", "small")
def test_accesses_are_replayed_too(tmp_path: Path) -> None:
    trace = touched(Trace.open(SMALL), "uniform:0.5")
    result = live_replay(trace, ("madv_dontneed",), runs=1, swap_directory=str(tmp_path))
    one = result.mechanisms["madv_dontneed"]
    assert one.model is not None
    for key in ("loads", "stores", "ignored_accesses"):
        assert one.runs[0].values[key] == one.model.values[key], key
    assert one.runs[0].values["loads"] > 5000
    assert one.runs[0].values["disk_faults"] > 100, "pages come back from swap now"
    assert one.model.values["swap_ins"] > 100


@pytest.mark.usefixtures("machine", "small")
def test_a_run_that_is_killed_is_a_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without swap to speak of the kernel kills `none`; what gives memory back lives on."""
    monkeypatch.setattr(
        "pgste.live.replay.SwapFile", lambda size, directory: SwapFile(64 * 4096, directory)
    )
    alloc, free = np.zeros(4096, int), np.ones(4096, int)
    pfns = np.arange(4096)
    trace = Trace.from_arrays(
        np.concatenate([alloc, free, alloc]), np.concatenate([pfns, pfns, pfns + 4096]), [0] * 12288
    )
    result = live_replay(
        trace, ("none", "madv_dontneed"), runs=2, limit_pages=4300, swap_directory=str(tmp_path)
    )
    none, eager = result.mechanisms["none"], result.mechanisms["madv_dontneed"]
    assert (len(none.runs), len(none.killed)) == (0, 2)
    assert all(killed.by_group for killed in none.killed)
    assert "memory.stat after it: " in str(none.killed[0])
    assert none.killed[0].stat["pgfault"] > 0
    assert none.figures["swap_outs"].median is None
    assert none.frames == 4300
    assert (len(eager.runs), len(eager.killed)) == (2, 0)
    assert eager.figures["swap_outs"].median == 0


@pytest.mark.usefixtures("machine")
def test_bad_settings(small: LiveReplay) -> None:
    trace = Trace.open(SMALL)
    with pytest.raises(ArgumentError, match="limit_pages"):
        live_replay(trace, limit_pages=10)
    with pytest.raises(ArgumentError, match="runs: 0"):
        live_replay(trace, runs=0)
    with pytest.raises(ArgumentError, match="runs: 1001"):
        live_replay(trace, runs=1001)
    with pytest.raises(ArgumentError, match="samples: 0"):
        live_replay(trace, samples=0)


def test_bad_mechanism() -> None:
    with pytest.raises(ArgumentError, match="cmma"):
        live_replay(Trace.open(SMALL), ("cmma",))


def test_counters_of_a_group_are_used_where_there_are_any() -> None:
    """memory.stat of version 2 (Linux 6.12) and of version 1, made up."""

    class Group:
        def __init__(self, *stats: dict[str, int]) -> None:
            self.stats = list(stats)

        def stat(self) -> dict[str, int]:
            return self.stats.pop(0) if len(self.stats) > 1 else self.stats[0]

    two = {"pswpout": 5, "pswpin": 3, "pglazyfreed": 1, "workingset_refault_anon": 2}
    later = {"pswpout": 15, "pswpin": 4, "pglazyfreed": 1, "workingset_refault_anon": 9}
    counters = Counters(cast(MemoryLimit, Group(two, two, later)))
    assert {key for key, scope in counters.scope.items() if scope == "group"} == {
        "swap_outs", "pages_read", "lazyfree_discards", "refaults"
    }  # fmt: skip
    since = counters.since()
    assert [since[key] for key in ("swap_outs", "pages_read", "lazyfree_discards", "refaults")] == [
        10, 1, 0, 7
    ]  # fmt: skip
    one = Counters(cast(MemoryLimit, Group({"workingset_refault_anon": 2})))
    assert one.scope["refaults"] == "group"
    assert one.scope["swap_outs"] == "whole machine"


# ---- a kernel that reclaims otherwise than the model ----


@pytest.mark.parametrize(
    ("text", "on"),
    [("0x0007\n", True), ("0x0001", True), ("0x0000\n", False), ("0x0006", False), ("y", False)],
)
def test_whether_the_multi_gen_lru_is_on(text: str, on: bool) -> None:
    assert mglru_on(text) is on


def test_a_kernel_without_the_multi_gen_lru(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgste.live.mglru.ENABLED", tmp_path / "enabled")
    assert mglru_on() is False
    (tmp_path / "enabled").write_text("0x0003\n")
    assert mglru_on() is True


@pytest.mark.parametrize("text", ["0x0007", "0x0000"])
def test_a_replay_says_that_the_kernel_is_not_the_one_modelled(
    text: str,
    tmp_path: Path,
    machine: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on = text == "0x0007"
    (tmp_path / "enabled").write_text(text + "\n")
    monkeypatch.setattr("pgste.live.mglru.ENABLED", tmp_path / "enabled")
    words = ["live", "replay", str(SMALL), "--mechanism", "none", "--runs", "1", "--most", "16M"]
    status = main(words)
    out, err = capsys.readouterr()
    if "refused" in err:
        pytest.skip(err.strip())
    assert status == 0
    assert ("MGLRU on: the model is of the classic LRU" in out) is on
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mglru"] is on
