# SPDX-License-Identifier: MIT
"""The tests of many virtual CPUs must find what is wrong when something is.

Faults of the kind that only threads meet are put into copies of the core.  `test_linear` looks
for an order of small runs that explains every answer, `test_vcpus` counts after large ones; both
pass with the core as it is (`make -C tests/c check`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-pthread"]
# Two threads must meet within some nanoseconds.  Most faults are seen at the first try; beside
# other programs, which keep threads from running at once, 120 have missed one: so it is alone.
TRIES = 120

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core only"),
]

# file, what it says, what the faulty copy says, which test sees it
FAULTS = {
    "ESSA stores what it made of an old state": (
        "guest/essa_list.h",
        "\tdo {\n\t\tentry = row[old];\n\t} while (!__atomic_compare_exchange_n("
        "state, &old, ESSA_NEW(entry), true,\n"
        "\t\t\t\t\t      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));\n",
        "\tentry = row[old];\n\t__atomic_store_n(state, ESSA_NEW(entry), __ATOMIC_RELAXED);\n",
        "test_linear",
    ),
    "pages are marked free without an atomic operation": (
        "guest/alloc.c",
        "\tuint64_t old;\n\n\t/* in this form",
        "\tuint64_t old;\n\n\tshared = false; /* in this form",
        "test_linear",
    ),
    "an entry of a list is left out": (
        "guest/cbrl.c",
        "const uint32_t nr = vcpu->nr;",
        "const uint32_t nr = vcpu->nr ? vcpu->nr - 1 : 0;",
        "test_linear",
    ),
    "two vcpus zap one page": (
        "guest/zap.c",
        "\tif (!guest->shared) {\n\t\t*slots_freed += pte_zap(",
        "\tif (true) {\n\t\t*slots_freed += pte_zap(",
        "test_vcpus",
    ),
    "a page is zapped although its state has changed": (
        "guest/zap.c",
        "\t} while (may && !pte_claim(&guest->mm, gfn, &state));\n",
        "\t} while (false);\n\twhile (may && !pte_claim(&guest->mm, gfn, &state))\n\t\t;\n",
        "test_vcpus",
    ),
    "slots are given up without their lock": (
        "memory/pte_load.c",
        "\tpthread_mutex_lock(&mm->host->lock);\n\tfreed",
        "\tfreed",
        "test_vcpus",
    ),
    "dirty pages are counted without an atomic operation": (
        "guest/essa.c",
        "__atomic_fetch_add(&guest->nr_dirty, 1, __ATOMIC_RELAXED)",
        "guest->nr_dirty++",
        "test_vcpus",
    ),
    "a call that rests keeps its list to itself": (
        "guest/essa.c",
        "\tvcpu->nr = list.nr;\n\tvcpu->essa += at - from;",
        "\tif (at == gfns->nr)\n\t\tvcpu->nr = list.nr;\n\tvcpu->essa += at - from;",
        "test_vcpus",
    ),
    "eight pages of a range are stored whatever became of them": (
        "guest/essa_shared.c",
        "if (new[i] == old[i] ||\n",
        "__atomic_store_n(&words[i], new[i], __ATOMIC_RELAXED);\n\t\tif (true ||\n",
        "test_linear",
    ),
    "pages of a range that are done again are listed twice": (
        "guest/essa_shared.c",
        "\t\tlist_forget(list, before, gfn + i * WORD);\n",
        "",
        "test_vcpus",
    ),
    "a key operation takes no lock": (
        "guest/skey_ops.h",
        "page.rest = shared ? pgste_lock(mm, gfn) : mm->rest[gfn];",
        "page.rest = mm->rest[gfn];",
        "test_linear",
    ),
    "C of a key is set without an atomic operation": (
        "guest/skey_ops.h",
        "__atomic_fetch_or(state, PGSTE_STATE_GC, __ATOMIC_RELAXED);",
        "*state |= PGSTE_STATE_GC;",
        "test_vcpus",
    ),
    "a key is let go of before all of it is there": (
        "guest/skey_ops.h",
        "{\n\tuint8_t *state = &page->mm->state[page->gfn];",
        "{\n\tif (page->shared)\n\t\tpgste_unlock(page->mm, page->gfn, page->rest);\n"
        "\tuint8_t *state = &page->mm->state[page->gfn];",
        "test_vcpus",
    ),
    "a key is looked at without the lock": (
        "guest/skey.c",
        "\tconst struct held page = page_hold(mm, gfn, true);",
        "\tconst struct held page = page_hold(mm, gfn, false);",
        "test_vcpus",
    ),
    "R of a frame is reset without an atomic operation": (
        "host/host.h",
        "\tif (shared)\n\t\treturn __atomic_fetch_and(&host->keys",
        "\tif (false)\n\t\treturn __atomic_fetch_and(&host->keys",
        "test_vcpus",
    ),
    "a zap does not wait for the key": (
        "guest/zap.c",
        "const bool keys = guest->mm.extra & MM_SKEYS;",
        "const bool keys = false;",
        "test_vcpus",
    ),
}

# A faulty header: who is compiled with it.
USERS = {
    "guest/essa_list.h": ("guest/essa.c", "guest/essa_shared.c"),
    "guest/skey_ops.h": ("guest/skey.c", "guest/skey_dat.c", "guest/skey_pgtable.c"),
    "host/host.h": ("guest/skey_dat.c", "guest/skey_pgtable.c"),
}


def cc(*arguments: str) -> None:
    subprocess.run(["cc", *FLAGS, *arguments], check=True, capture_output=True, text=True)


def object_name(file: str) -> str:
    return file.replace("/", "-") + ".o"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("objects")
    core = ROOT / "src_c"
    for source in core.glob("*/*.c"):
        name = object_name(str(source.relative_to(core)))
        cc(f"-I{core}", "-c", str(source), "-o", str(folder / name))
    for test in ("test_linear", "test_vcpus"):
        source = ROOT / "tests" / "c" / f"{test}.c"
        cc(f"-I{core}", "-c", str(source), "-o", str(folder / f"{test}.test.o"))
    return folder


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str, objects: Path, tmp_path: Path) -> None:
    file, right, wrong, test = FAULTS[name]
    text = (ROOT / "src_c" / file).read_text(encoding="utf-8")
    assert text.count(right) == 1
    copy = tmp_path / file
    copy.parent.mkdir()
    copy.write_text(text.replace(right, wrong), encoding="utf-8")
    users = USERS.get(file, (file,))
    for user in users:
        source = str(copy if user == file else ROOT / "src_c" / user)
        folders = (f"-I{tmp_path}", f"-I{ROOT / 'src_c'}")
        cc("-Wno-unused", *folders, "-c", source, "-o", str(tmp_path / object_name(user)))
    core = [
        str(each)
        for each in objects.glob("*.o")
        if each.name not in map(object_name, users) and not each.name.endswith(".test.o")
    ]
    binary = tmp_path / test
    faulty = [str(each) for each in tmp_path.glob("*.o")]
    cc(str(objects / f"{test}.test.o"), *faulty, *core, "-o", str(binary))
    assert any(fails(binary, seed) for seed in range(TRIES))


def fails(binary: Path, seed: int) -> bool:
    """Whether a run ended with 1 or a signal; a run that hangs in a circle of slots has failed."""
    try:
        done = subprocess.run(
            [binary, "8000", str(1 + 100_000 * seed)],
            capture_output=True,
            text=True,
            timeout=40,  # a run takes one second
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0
