# SPDX-License-Identifier: MIT
"""Runs all fuzzing harnesses, tells what they did, and keeps what they found.

    tests/fuzz/run [--minutes N | --seconds N | --runs N] [--jobs N] [--seed N] [--cc CC]
        [--json FILE] [--merge] [HARNESS...]

Each harness starts from its corpus in the repository and from what earlier runs added in
build/fuzz-work.  An input that breaks a promise is kept in tests/fuzz/findings and the harness
goes on until it has found MOST_FINDINGS.  Exit status 1 if anything was found, 130 if a signal
ended the run early, which then still tells what it did.  With
PGSTE_FUZZ_SKIP_KNOWN=1 in the environment, files of the corpus named known-* are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType

from fuzz.corpus import CORPUS, clean_name, known_files, merge

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WORK = ROOT / "build" / "fuzz-work"
FINDINGS = HERE / "findings"
MOST_FINDINGS = 5
STOP = threading.Event()
RUNNING: set[subprocess.Popen[str]] = set()
SKIP_KNOWN = bool(os.environ.get("PGSTE_FUZZ_SKIP_KNOWN"))


@dataclass(frozen=True)
class Harness:
    """A program of the build folder, or a script here that starts Python, and its options."""

    name: str
    max_len: int
    script: str | None = None
    dictionary: str | None = None
    timeout: int = 10

    @property
    def in_c(self) -> bool:
        return self.script is None

    def options(self) -> list[str]:
        extra = [] if self.dictionary is None else [f"-dict={HERE / self.dictionary}"]
        return [f"-max_len={self.max_len}", f"-timeout={self.timeout}", "-len_control=20", *extra]


HARNESSES = [
    Harness("text", 4096, dictionary="text.dict"),
    Harness("ring", 700),
    Harness("summary", 600),
    Harness("search", 16),
    Harness("api", 1500, timeout=20),
    Harness("pgt", 20_000, "read", timeout=30),
    Harness("dat", 20_000, "read", dictionary="dat.dict", timeout=30),
    Harness("stream", 4096, "load", timeout=30),
]


@dataclass
class Report:
    """What one harness did."""

    harness: str
    engine: str = ""
    seconds: float = 0.0
    executions: int = 0
    corpus: int = 0
    new_corpus: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.executions / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Limits:
    seconds: float | None
    runs: int | None
    seed: int


class Runner:
    """One harness: its commands, and the loop that restarts it after a finding."""

    def __init__(self, harness: Harness, cc: str) -> None:
        self.harness = harness
        self.corpus = CORPUS / harness.name
        self.work = WORK / harness.name
        built = ROOT / "build" / f"fuzz-{Path(cc).name}" / harness.name
        self.program = str(HERE / harness.script if harness.script else built)
        self.report = Report(harness.name)

    def _files(self) -> list[Path]:
        """The corpus in the repository, without known findings that are not wanted."""
        skipped = known_files(self.corpus) if SKIP_KNOWN else []
        files = self.corpus.iterdir() if self.corpus.is_dir() else []
        return sorted(path for path in files if path not in skipped)

    def _start_folder(self) -> Path:
        folder = WORK / f"{self.harness.name}-start"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in self._files():
            shutil.copy(path, folder)
        self.work.mkdir(exist_ok=True)
        self.report.corpus = len(list(folder.iterdir())) + len(list(self.work.iterdir()))
        return folder

    def _call(self, arguments: Sequence[str]) -> tuple[int, str]:
        prefix = f"-artifact_prefix={FINDINGS / self.harness.name}-"
        command = [self.program, *arguments, prefix, "-print_final_stats=1"]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            text=True,
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as child:
            RUNNING.add(child)
            output, _ = child.communicate()
            RUNNING.discard(child)
        self.report.executions += _number(output, "number_of_executed_units")
        if "INFO: Running with" in output:
            self.report.engine = "libFuzzer" if self.harness.in_c else "atheris"
        return 0 if STOP.is_set() else child.returncode, output

    def _found(self, output: str, fallback: str) -> None:
        """Keep the input, and what was said about it beside it."""
        name = clean_name(FINDINGS, self.harness.name, output) or fallback
        self.report.findings.append(name)
        (FINDINGS / f"{name}.log").write_text(output[-20_000:])

    def run_known(self) -> None:
        """Each once and alone, so that one says nothing of the next."""
        for path in [] if SKIP_KNOWN else known_files(self.corpus):
            status, output = self._call([*self.harness.options(), "-runs=0", str(path)])
            if status:
                self._found(output, path.name)

    def run(self, limits: Limits) -> Report:
        FINDINGS.mkdir(exist_ok=True)
        WORK.mkdir(parents=True, exist_ok=True)
        if STOP.is_set():
            return self.report
        self.report.engine = "driver.c" if self.harness.in_c else "no coverage"
        start = time.monotonic()
        self.run_known()
        folder = self._start_folder()
        if self.report.findings:  # of the corpus itself: nothing starts from there
            for path in known_files(folder):
                path.unlink()
        while self._once(folder, limits, start) and len(self.report.findings) < MOST_FINDINGS:
            pass
        self.report.seconds = time.monotonic() - start
        print(row(self.report), file=sys.stderr, flush=True)  # long runs are watched
        return self.report

    def _once(self, folder: Path, limits: Limits, start: float) -> bool:
        """Run until something is found or the time is over: whether to go on."""
        arguments = [*self.harness.options(), str(self.work), str(folder)]
        if limits.seconds is not None:
            left = limits.seconds - (time.monotonic() - start)
            arguments.append(f"-max_total_time={max(1, round(left))}")
        if limits.runs is not None:
            arguments.append(f"-runs={max(0, limits.runs - self.report.executions)}")
        if limits.seed:
            arguments.append(f"-seed={limits.seed + len(self.report.findings)}")
        status, output = self._call(arguments)
        self.report.new_corpus += _number(output, "new_units_added")
        if not status or STOP.is_set():
            return False
        self._found(output, f"{self.harness.name}-without-input")
        if self.report.findings[-1].endswith("-without-input"):
            return False  # it does not even start
        return limits.seconds is None or time.monotonic() - start < limits.seconds - 1


def _number(output: str, name: str) -> int:
    for line in output.splitlines():
        if line.startswith(f"stat::{name}:"):
            return int(line.split(":")[-1])
    return 0


def stop(signum: int, frame: FrameType | None) -> None:
    """The harnesses end, and say what they did."""
    STOP.set()
    for child in list(RUNNING):
        child.terminate()


def build(cc: str) -> None:
    subprocess.run(
        ["make", "-s", f"-j{min(2, os.cpu_count() or 1)}", "-C", str(HERE), f"CC={cc}"], check=True
    )


def git_commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def row(r: Report) -> str:
    return (
        f"| {r.harness} | {r.engine} | {r.seconds:,.0f} | {r.executions:,} | {r.rate:,.0f} | "
        f"{r.corpus:,} | {r.new_corpus:,} | {len(r.findings)} |"
    )


def table(reports: Sequence[Report]) -> str:
    lines = [
        "| harness | engine | seconds | executions | exec/s | corpus | new | findings |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    return "\n".join([*lines, *map(row, reports)])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/fuzz/run")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help="for each harness")
    length.add_argument("--seconds", type=float, help="for each harness (default: 60)")
    length.add_argument("--runs", type=int, help="executions of each harness")
    parser.add_argument("--jobs", type=int, default=2, help="harnesses at a time (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the mutators (default: the time)")
    parser.add_argument("--cc", default="clang" if shutil.which("clang") else "gcc")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    parser.add_argument(
        "--merge", action="store_true", help="minimise into the repository's corpus"
    )
    names = [harness.name for harness in HARNESSES]
    parser.add_argument("harness", nargs="*", choices=[*names, []], help="default: all")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    os.environ["PYTHON"] = sys.executable  # of tests/fuzz/read and load
    by_name = {harness.name: harness for harness in HARNESSES}
    chosen = [by_name[name] for name in options.harness or by_name]
    if any(harness.in_c for harness in chosen):
        build(options.cc)
    runners = [Runner(harness, options.cc) for harness in chosen]
    if options.merge:
        for runner in runners:
            print(merge(runner.harness.name, runner.program, runner.harness.options(), runner.work))
        return 0
    seconds = options.minutes * 60 if options.minutes else options.seconds
    if seconds is None and options.runs is None:
        seconds = 60.0
    limits = Limits(seconds, options.runs, options.seed)
    about = {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "compiler": options.cc,
        "jobs": options.jobs,
        "known_skipped": SKIP_KNOWN,
    }
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    with ThreadPoolExecutor(options.jobs) as pool:
        reports = list(pool.map(lambda runner: runner.run(limits), runners))
    about["interrupted"] = STOP.is_set()
    print(", ".join(f"{key}: {value}" for key, value in about.items()))
    print(table(reports))
    for report in reports:
        for name in report.findings:
            print(f"finding: {report.harness}: {FINDINGS.relative_to(ROOT) / name}")
    if options.json:
        data = {**about, "harnesses": [{**asdict(r), "rate": round(r.rate, 1)} for r in reports]}
        options.json.write_text(json.dumps(data, indent=1) + "\n")
    return 1 if any(report.findings for report in reports) else 130 * STOP.is_set()


if __name__ == "__main__":
    sys.exit(main())
