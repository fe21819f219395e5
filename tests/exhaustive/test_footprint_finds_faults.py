# SPDX-License-Identifier: MIT
"""The comparison of footprints with the reference must find what is wrong when something is.

Faults are put into copies of the core, one each (mutant.py).  The cases are those of
differential/test_footprint.py, drawn and expected once; each faulty core runs all of them in a
Python of its own, and has to differ, crash or hang in one.
"""

from __future__ import annotations

import os
import pickle
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from differential import test_footprint as alike
from reference import footprint as reference
from reference import placement

import pgste
from exhaustive import mutant
from exhaustive.mutant import Cores
from pgste._engine.footprint import PLACEMENTS, RULES

CASES = 60  # of each rule and each placement
SECONDS = 20  # all cases take one

pytestmark = [
    pytest.mark.skipif(not mutant.CORE.is_dir(), reason="no sources of the core beside the tests"),
    pytest.mark.skipif(shutil.which(mutant.CC[0]) is None, reason="no C compiler"),
    pytest.mark.skipif("PGSTE_SANITIZED" in os.environ, reason="a core of its own kind is needed"),
]

# name: file of src_c/footprint, what it says, what the faulty copy says
FAULTS = {
    # ---- memory behind the pages
    "a folio counts as one page": (
        "backing.c",
        "\t\tb->held += place->counted;\n",
        "\t\tb->held++;\n",
    ),
    "a page that is mapped faults again": (
        "backing.c",
        "\tif (b->pages[page] & (FP_MAPPED | FP_PART) ||",
        "\tif (b->pages[page] & FP_PART ||",
    ),
    "a page of a split folio faults": (
        "backing.c",
        "b->pages[page] & (FP_MAPPED | FP_PART)",
        "b->pages[page] & FP_MAPPED",
    ),
    "a folio goes with its first page": (
        "backing.c",
        "if (!--place->mapped)",
        "if (--place->mapped)",
    ),
    "a split folio's place takes a folio again": (
        "backing.c",
        "folio_goes(b, place, PLACE_TABLE)",
        "folio_goes(b, place, PLACE_EMPTY)",
    ),
    "a part of a folio discards all of it": (
        "backing.c",
        "if (next - page == size) {",
        "if (true) {",
    ),
    "a page that is taken stays held": (
        "backing.c",
        "\t\tb->held--;\n\t\tb->result->given++;\n",
        "\t\tb->result->given++;\n",
    ),
    "pages that do not count are held with their folio": (
        "run.c",
        "\t\tif (f->pages[page] & FP_COUNTED)\n\t\t\tbacking_counts",
        "\t\tif (true)\n\t\t\tbacking_counts",
    ),
    # ---- blocks
    "a block goes with a page in use": (
        "blocks.c",
        "!f->config->period_ns && b->nr_free[block] == b->size)",
        "!f->config->period_ns && b->nr_free[block] + 1 >= b->size)",
    ),
    "a block goes twice": (
        "blocks.c",
        "b->nr_free[block] == b->size && !block_is_out(b, block) &&",
        "b->nr_free[block] == b->size &&",
    ),
    "blocks go below the reserve": (
        "blocks.c",
        "b->left - b->size >= reserve)",
        "b->left >= reserve)",
    ),
    "blocks go from the lowest": (
        "blocks.c",
        "for (uint64_t block = b->nr; block--;)",
        "for (uint64_t block = 0; block < b->nr; block++)",
    ),
    "a block that comes back is not asked for": (
        "blocks.c",
        "\tif (f->config->asks) {",
        "\tif (false) {",
    ),
    "a block that is populated faults": (
        "blocks.c",
        "\tf->result->faults = faults;\n",
        "\t(void)faults;\n",
    ),
    "neighbours are discarded one by one": (
        "blocks.c",
        "if (run->nr && block == run->first + run->nr) {",
        "if (false) {",
    ),
    "the next look is a period from now": (
        "blocks.c",
        "b->next = (f->now / period + 1) * period;",
        "b->next = f->now + period;",
    ),
    # ---- the balloon
    "a message has one page more": (
        "balloon.c",
        "#define BALLOON_MESSAGE 256u",
        "#define BALLOON_MESSAGE 257u",
    ),
    "the balloon gets the page that was freed first": (
        "balloon.c",
        "\t\tconst uint32_t place = b->top;\n",
        "\t\tuint32_t place = b->top;\n\n\t\twhile (b->below[place] != NIL)\n"
        "\t\t\tplace = b->below[place];\n",
    ),
    "a page in the balloon is not another one": (
        "balloon.c",
        "\tb->place[other] = wanted;\n\tb->name[wanted] = other;\n",
        "\tb->name[wanted] = other;\n",
    ),
    "nobody deflates": (
        "balloon.c",
        "\tif (b->nr_free > reserve)\n\t\tballoon_inflate(f, b, b->nr_free - reserve);\n\telse\n",
        "\tif (b->nr_free > reserve)\n\t\tballoon_inflate(f, b, b->nr_free - reserve);\n"
        "\telse if (false)\n",
    ),
    "touches are of the page, not of its place": (
        "balloon.c",
        "backing_touch(&f->backing, b->place[page])",
        "(void)b, backing_touch(&f->backing, page)",
    ),
    # ---- reporting
    "reports come late": (
        "reported.c",
        "\tguest->now_ns = f->now;\n\tguest->mech->tick(guest);\n",
        "\tguest->mech->tick(guest);\n",
    ),
    "calls of the start are counted": (
        "reported.c",
        "\tr->guest->mm.stats.hints = 0;\n",
        "\tr->guest->mm.stats.hints = 1;\n",
    ),
    "an alloc is not heard of": (
        "reported.c",
        "\tguest->mech->alloc(guest, &guest->vcpus[0], first, nr, order);\n",
        "\t(void)first;\n\t(void)nr;\n\t(void)order;\n",
    ),
    # ---- age
    "a touch leaves a page as old as it was": (
        "age.c",
        "\ta->last[page] = now;\n",
        "\ta->last[page] = a->newest == page ? now : a->last[page];\n",
    ),
    "the newest page goes": (
        "age.c",
        "\t\tconst uint32_t page = a->oldest;\n",
        "\t\tconst uint32_t page = a->newest;\n",
    ),
    "free pages are written as pages in use": (
        "age.c",
        "f->result->swap_outs_used += !fp_is_free(f, page);",
        "f->result->swap_outs_used++;",
    ),
    "a page is read from swap again and again": (
        "age.c",
        "\tf->pages[page] &= (uint8_t)~FP_OUT;\n",
        "",
    ),
    # ---- time
    "a sample sees its own moment": (
        "run.c",
        "READ_ONCE(config->samples_ns[f->next_sample]) < time;",
        "READ_ONCE(config->samples_ns[f->next_sample]) <= time;",
    ),
    "what is due now waits": (
        "run.c",
        "if (due == NOT_DUE || due > time)",
        "if (due == NOT_DUE || due >= time)",
    ),
    "what is due goes after the time until then": (
        "run.c",
        "\t\tfp_pass(f, due > f->now ? due : f->now);\n\t\tf->rule->tick(f);\n",
        "\t\tf->rule->tick(f);\n\t\tfp_pass(f, due > f->now ? due : f->now);\n",
    ),
    "an alloc of pages in use frees nothing": (
        "run.c",
        "\tfp_free_used(f, block, true);\n",
        "",
    ),
    # ---- places
    "the second lowest block is taken": (
        "places.c",
        "\t\tnode += p->best[node] < order + 1;\n",
        "\t\tnode += p->best[node ^ 1] >= order + 1;\n",
    ),
    "buddies do not merge in the tree": (
        "places.c",
        "if (one == order + 1 && other == order + 1)",
        "if (false)",
    ),
    "the buddy takes from the largest": (
        "places.c",
        "for (unsigned o = order; o <= buddy->max_order; o++) {",
        "for (unsigned o = buddy->max_order; o + 1 > order; o--) {",
    ),
    "a block that moved is freed in one piece": (
        "place.c",
        "\t\tif (p->at[block->first + i] != first + i)\n\t\t\treturn false;\n",
        "\t\tif (!p->at[block->first + i])\n\t\t\treturn false;\n",
    ),
}


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory) -> Cores:
    return Cores(tmp_path_factory.mktemp("cores"), "-O0")  # a core takes longer to make than to run


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Arguments and expected results, drawn and worked out by the reference."""
    drawn: list[tuple[str, Any, Any]] = []
    for rule in RULES:
        rng = random.Random(rule)
        for _ in range(CASES):
            case = alike.a_case(rng, rule)
            drawn.append(("rule", case, reference.footprint(*case)))
    for case in alike.balloons():
        drawn.append(("rule", case, reference.footprint(*case)))
    for name in PLACEMENTS:
        rng = random.Random(name)
        for _ in range(CASES // 2):
            events, base, pages, places = alike.a_placement(rng)
            expected = placement.place(events, name, places)
            drawn.append(("place", (events, name, base, pages, places), expected))
    file = tmp_path_factory.mktemp("cases") / "cases"
    file.write_bytes(pickle.dumps(drawn))
    return file


def verdict(library: Path, cases: Path) -> str:
    where = os.pathsep.join(
        filter(None, [str(mutant.ROOT), str(mutant.ROOT / "tests"), os.environ.get("PYTHONPATH")])
    )
    environ = {**os.environ, "LD_LIBRARY_PATH": str(library), "PYTHONPATH": where}
    command = [sys.executable, __file__, str(cases), str(library / "libpgste.so")]
    try:
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "hangs"
    if done.returncode < 0:
        return "crashes"
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_sound_core_passes(cores: Cores, cases: Path) -> None:
    assert verdict(cores.sound, cases) == "alike"


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str, cores: Cores, cases: Path) -> None:
    file, right, wrong = FAULTS[name]
    folder = name.replace(" ", "-").replace(",", "")
    library = cores.faulty(folder, f"footprint/{file}", right, wrong)
    assert verdict(library, cases) != "alike"
    shutil.rmtree(library)


def _main() -> None:
    drawn = pickle.loads(Path(sys.argv[1]).read_bytes())
    pgste.Host(1, 1)
    assert mutant.loaded() == sys.argv[2], "the core was not replaced"
    for kind, case, expected in drawn:
        try:
            if kind == "rule":
                alike.compare(alike.engine(*case), expected, str(case[2]))
            else:
                events, name, base, pages, places = case
                alike.check_placement(events, name, base, pages, places, expected)
        except (AssertionError, pgste.PgsteError) as error:
            print(f"{type(error).__name__}: {kind}")
            return
    print("alike")


if __name__ == "__main__":
    _main()
