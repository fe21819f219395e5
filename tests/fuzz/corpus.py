# SPDX-License-Identifier: MIT
"""The corpora in the repository: files that are there for a reason, and minimising the rest."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
ROOT = Path(__file__).parents[2]
MOST_BYTES = {"api": 150_000, "text": 80_000, "dat": 120_000, "pgt": 50_000}
MOST_BYTES_OTHERS = 20_000
MOST_FILES = 250


def known_files(folder: Path) -> list[Path]:
    """Inputs that are known to have broken a promise once: fuzz/known.py, and findings."""
    return sorted(folder.glob("known-*")) if folder.is_dir() else []


def clean_name(findings: Path, harness: str, output: str) -> str | None:
    """The file in which a harness left the input that it stopped at."""
    names = re.findall(rf"{re.escape(str(findings))}/({harness}-\S+)", output)
    for name in reversed(names):
        if (findings / name).is_file():
            return str(name)
    current = findings / f"{harness}-current"  # of driver.c
    if current.is_file():
        digest = hashlib.sha1(current.read_bytes()).hexdigest()
        return current.rename(findings / f"{harness}-crash-{digest}").name
    return None


def _merged(
    program: str, options: Sequence[str], sources: Path, to: Path, counters: bool
) -> list[Path]:
    """The fewest files that reach all that the sources reach, smallest first."""
    to.mkdir()
    flags = ["-set_cover_merge=1", f"-use_counters={int(counters)}"]
    command = [program, *options, *flags, str(to), str(sources)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return sorted(to.iterdir(), key=lambda path: path.stat().st_size)


def merge(name: str, program: str, options: Sequence[str], work: Path) -> str:
    """Put the fewest files that reach all lines of code, of the repository's corpus and of new
    ones, into the repository; then, as far as there is room, those that reach lines as often as
    no other does.  Files with names (known ones, findings) stay."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    named = [path for path in folder.iterdir() if not re.fullmatch(r"[0-9a-f]{16}", path.name)]
    with tempfile.TemporaryDirectory() as temporary:
        sources = Path(temporary) / "sources"
        sources.mkdir()
        for source in (folder, work):
            for path in source.iterdir() if source.is_dir() else ():
                if not path.name.startswith("known-"):
                    shutil.copy(path, sources)
        needed = _merged(program, options, sources, Path(temporary) / "needed", False)
        if not needed and any(sources.iterdir()):
            return f"{name}: not merged, which needs libFuzzer or atheris"
        useful = _merged(program, options, sources, Path(temporary) / "useful", True)
        for path in set(folder.iterdir()).difference(named):
            path.unlink()
        kept: set[str] = set()
        room = MOST_BYTES.get(name, MOST_BYTES_OTHERS)
        for path in [*needed, *useful]:
            data = path.read_bytes()
            digest = hashlib.sha1(data).hexdigest()[:16]
            if digest in kept or len(kept) == MOST_FILES or len(data) > room:
                continue
            room -= len(data)
            (folder / digest).write_bytes(data)
            kept.add(digest)
    return f"{name}: {len(kept)} files, {len(needed)} of them needed, and {len(named)} named ones"
