# SPDX-License-Identifier: MIT
"""The search must find what is wrong when something is: faults put into copies of the core."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-pthread"]

# file, what it says, what the faulty copy says, mechanism, questions that become "it happens"
FAULTS = {
    "ZERO stays when a page is mapped or swapped out": (
        "memory/pte.c",
        "mm->state[gfn] &= (uint8_t)~PGSTE_STATE_ZERO;",
        "(void)mm, (void)gfn;",
        "cmma",
        {"lost-after-alloc", "stable-zero"},
    ),
    "a zap leaves the swap entry it gave up": (
        "memory/pte.c",
        "\tpte_clear(mm, gfn);\n\treturn entry_put(mm, cold);",
        "\treturn entry_put(mm, cold);",
        "cmma",
        {"entry-lost", "entry-twice"},
    ),
    "the list is reset before it was processed": (
        "guest/cbrl.c",
        "const uint32_t nr = vcpu->nr;",
        "const uint32_t nr = vcpu->nr ? vcpu->nr - 1 : 0;",
        "cmma",
        {"entry-lost"},
    ),
    "a swap entry's usage is not asked for": (
        "scan/scan.h",
        "(state & PGSTE_STATE_USAGE) == PGSTE_USAGE_UNUSED || (state & PGSTE_STATE_ZERO));",
        "true);",
        "cmma",
        {"lost-after-alloc"},
    ),
    "reclaim does not see that a lazyfree page is dirty": (
        "memory/reclaim.c",
        "bool dirty = f->dirty || (mm->pte[f->gfn] & PTE_DIRTY);",
        "bool dirty = false;",
        "madv_free",
        {"lost-after-alloc"},
    ),
    "MADV_DONTNEED spares pages on swap": (
        "memory/madvise.c",
        "\t\tdrop_swap(mm, gfn);\n\t} else if (cold & PTE_PRESENT) {\n\t\tpte_unmap",
        "\t\t;\n\t} else if (cold & PTE_PRESENT) {\n\t\tpte_unmap",
        "madv_dontneed",
        {"zero-after-free", "stale"},
    ),
}


def cc(*arguments: str, include: Path = ROOT / "src_c") -> None:
    command = ["cc", *FLAGS, f"-I{include}", *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("objects")
    main = Path(__file__).with_name("search_main.c")
    for source in [*(ROOT / "src_c").glob("*/*.c"), main]:
        name = "main" if source is main else object_name(source.relative_to(ROOT / "src_c"))
        cc("-c", str(source), "-o", str(folder / f"{name}.o"))
    return folder


def object_name(source: Path) -> str:
    """Of src_c/room/file.c: two rooms may have files of the same name."""
    return "-".join(source.with_suffix("").parts)


def shown(binary: Path, mechanism: str) -> set[str]:
    output = subprocess.run(
        [binary, mechanism, "0"], check=True, capture_output=True, text=True, timeout=120
    ).stdout
    return {line.split()[0] for line in output.splitlines()}


@pytest.fixture(scope="module")
def sound(objects: Path) -> Path:
    binary = objects / "sound"
    cc(*map(str, objects.glob("*.o")), "-o", str(binary))
    return binary


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str, objects: Path, sound: Path, tmp_path: Path) -> None:
    file, right, wrong, mechanism, expected = FAULTS[name]
    core = tmp_path / "src_c"
    shutil.copytree(ROOT / "src_c", core)
    text = (core / file).read_text(encoding="utf-8")
    assert text.count(right) == 1
    (core / file).write_text(text.replace(right, wrong), encoding="utf-8")
    rebuilt = ["guest/zap.c", "scan/portable.c"] if file == "scan/scan.h" else [file]
    names = {object_name(Path(path)): path for path in rebuilt}
    kept = [str(path) for path in objects.glob("*.o") if path.stem not in names]
    made = []
    for stem, path in names.items():
        made.append(str(tmp_path / f"{stem}.o"))
        cc("-c", str(core / path), "-o", made[-1], include=core)
    binary = tmp_path / "faulty"
    cc(*kept, *made, "-o", str(binary))
    found, before = shown(binary, mechanism), shown(sound, mechanism)
    assert expected - before
    assert expected <= found
