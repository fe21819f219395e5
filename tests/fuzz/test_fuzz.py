# SPDX-License-Identifier: MIT
"""That the fuzzing tools work: files that are put together are whole, and the readers' corpus
keeps its promises.  The C harnesses are built and run by tests/fuzz/run, in .ci/run."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import pgste
from fuzz import known, seeds, streams
from fuzz.formats import ALLOC, FREE, Dat7, Machine, compress, dat_v6, dat_v7, pgt, repair_pgt
from fuzz.mutate import Mutator, plain_change
from fuzz.readers import Target, plain_fuzz

CORPUS = Path(__file__).parent / "corpus"
MACHINES = (Machine(), Machine(True), Machine(commit_bytes=4), Machine(page_bytes=4096))
PFN, ORDER = 0x99, 1


def opened(folder: Path, data: bytes) -> pgste.Trace:
    path = folder / "trace"
    path.write_bytes(data)
    return pgste.Trace.open(path)


@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_trace_dat(tmp_path: Path, machine: Machine) -> None:
    records = machine.record(ALLOC, PFN, ORDER) + machine.record(FREE, PFN, ORDER)
    cpus = [machine.page(records), b""]
    expected = [PFN << 8 | ORDER << 2, PFN << 8 | ORDER << 2 | 1]
    for data in (
        dat_v6(machine, cpus),
        dat_v7(machine, cpus, packed=False),
        dat_v7(machine, cpus, packed=True),
        dat_v7(machine, cpus, packed=True, level=0),
    ):
        for file in (data, *(compress(name, data) for name in ("xz", "gz", "bz2"))):
            trace = opened(tmp_path, file)
            assert trace.events.tolist() == expected
            assert trace.time.tolist() == [10**9 + 1000, 10**9 + 2000]


def test_a_full_page_is_full(tmp_path: Path) -> None:
    machine = Machine(page_bytes=4096)
    dat = Dat7(machine)
    assert len(opened(tmp_path, dat_v6(machine, [machine.full_page() * 3]))) == 3 * (4080 // 24)
    assert dat.data.startswith(b"\x17\x08\x44tracing7")


def test_pgt(tmp_path: Path) -> None:
    trace = opened(tmp_path, pgt([5 << 8, 6 << 8 | 1], [1, 2], b'{"format": "perf"}'))
    assert trace.events.tolist() == [5 << 8, 6 << 8 | 1]
    assert trace.format == "perf"
    trace.save(tmp_path / "saved")
    saved = (tmp_path / "saved").read_bytes()
    assert repair_pgt(saved) == saved
    damaged = saved[:140] + b"\x07" + saved[141:]
    with pytest.raises(pgste.TraceError, match="altered"):
        opened(tmp_path, damaged)
    opened(tmp_path, repair_pgt(damaged))


def test_changes_reach_behind_checksums_and_compression(tmp_path: Path) -> None:
    """Of changed files many are whole still, which a checksum would not let be."""
    choose = random.Random(5)
    mutator = Mutator(lambda data, size: plain_change(data, size, choose))
    machine = Machine()
    packed = dat_v7(machine, [machine.full_page()], packed=True, level=0)
    words = [7 << 8, 7 << 8 | 1, 9 << 8]
    for data in (
        pgt(words, [1, 2, 3], b"{}"),
        compress("xz", pgt(words, [1, 2, 3], b"{}")),
        packed,
        compress("gz", packed),
    ):
        different = 0
        for seed in range(60):
            try:
                opened(tmp_path, mutator(data, 20_000, seed))
                different += 1
            except pgste.TraceError:
                pass
        assert different > 5


def test_seeds_are_there_for_every_corpus() -> None:
    assert sorted(seeds.SEEDS) == sorted(path.name for path in CORPUS.iterdir())
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 600_000
    assert len(files) < 1200
    for harness, made in known.KNOWN.items():
        for name in made:
            assert (CORPUS / harness / name).stat().st_size < 20_000


@pytest.mark.parametrize("harness", ["pgt", "dat"])
def test_the_corpus_of_the_readers(harness: str) -> None:
    with contextlib.closing(Target()) as target:
        for path in sorted((CORPUS / harness).iterdir()):
            target(path.read_bytes())


def test_damaged_streams() -> None:
    """The corpus of migration streams, and 3000 that are damaged by chance."""
    with contextlib.closing(streams.Target()) as target:
        for path in sorted((CORPUS / "stream").iterdir()):
            target(path.read_bytes())
        arguments = ["-runs=3000", "-seed=5", "-max_len=4096", str(CORPUS / "stream")]
        assert plain_fuzz(target, arguments, packed=False) == 0


def test_the_driver_without_coverage(capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(CORPUS / "pgt"), str(CORPUS / "dat")]
    with contextlib.closing(Target()) as target:
        assert plain_fuzz(target, ["-runs=50", "-seed=3", *files]) == 0
    assert int(capsys.readouterr().out.split(":")[-1]) > 50


def test_the_readers_leave_no_file(tmp_path: Path) -> None:
    """However they end: libFuzzer under atheris ends the process by itself, a signal does too."""
    program = "import os, sys; from fuzz.readers import Target; "
    program += "target = Target(); target(b'x'); os._exit(7)"
    env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    shm = Path("/dev/shm")
    before = set(shm.glob("pgste-fuzz*"))
    done = subprocess.run([sys.executable, "-c", program], check=False, env=env)
    assert done.returncode == 7
    assert not list(tmp_path.iterdir())
    assert set(shm.glob("pgste-fuzz*")) <= before
