# SPDX-License-Identifier: MIT
"""The search must find what is wrong when something is: faults put into copies of the core."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-pthread", f"-I{ROOT / 'src_c'}"]

# file, what it says, what the faulty copy says, mechanism, questions that become "it happens"
FAULTS = {
    "ZERO stays when a page is mapped or swapped out": (
        "pte.c",
        "guest->state[gfn] &= (uint8_t)~PGSTE_STATE_ZERO;",
        "(void)guest, (void)gfn;",
        "cmma",
        {"lost_in_use", "stable_zero_lost"},
    ),
    "a zap leaves the swap entry it gave up": (
        "zap.c",
        "\tpte_zap(guest, gfn);",
        "\t(void)cold;",
        "cmma",
        {"entry_lost", "entry_freed_twice"},
    ),
    "the list is reset before it was processed": (
        "cbrl.c",
        "const uint32_t nr = vcpu->nr;",
        "const uint32_t nr = vcpu->nr ? vcpu->nr - 1 : 0;",
        "cmma",
        {"entry_lost"},
    ),
    "a swap entry's usage is not asked for": (
        "internal.h",
        "(state & PGSTE_STATE_USAGE) == PGSTE_USAGE_UNUSED || (state & PGSTE_STATE_ZERO));",
        "true);",
        "cmma",
        {"lost_in_use"},
    ),
    "reclaim does not see that a lazyfree page is dirty": (
        "reclaim.c",
        "bool dirty = f->dirty || (guest->pte[f->gfn] & PTE_DIRTY);",
        "bool dirty = false;",
        "madv_free",
        {"lost_in_use"},
    ),
    "MADV_DONTNEED spares pages on swap": (
        "madvise.c",
        "\t\tdrop_swap(guest, gfn);\n\t} else if (cold & PTE_PRESENT) {\n\t\tpte_unmap",
        "\t\t;\n\t} else if (cold & PTE_PRESENT) {\n\t\tpte_unmap",
        "madv_dontneed",
        {"free_not_zero", "stale"},
    ),
}


def cc(*arguments: str) -> None:
    subprocess.run(["cc", *FLAGS, *arguments], check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("objects")
    sources = [*(ROOT / "src_c").glob("*.c"), Path(__file__).with_name("search_main.c")]
    for source in sources:
        cc("-c", str(source), "-o", str(folder / f"{source.stem}.o"))
    return folder


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
    rebuilt = ["zap", "scan_portable"] if file == "internal.h" else [Path(file).stem]
    kept = [str(path) for path in objects.glob("*.o") if path.stem not in rebuilt]
    made = []
    for stem in rebuilt:
        made.append(str(tmp_path / f"{stem}.o"))
        cc(f"-I{core}", "-c", str(core / f"{stem}.c"), "-o", made[-1])
    binary = tmp_path / "faulty"
    cc(*kept, *made, "-o", str(binary))
    found, before = shown(binary, mechanism), shown(sound, mechanism)
    assert expected - before
    assert expected <= found
