# SPDX-License-Identifier: MIT
"""Random tables through every operation that has CPU variants; one line of JSON a table.

Run by test_cpu_variants.py in a process of its own for each variant, which the environment
variable PGSTE_ISA forces.  With `check` it works out the answers from the words as well.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any, Literal

import numpy as np

import pgste

SIZES = (*range(1, 70), 127, 128, 129, 191, 255, 256, 257, 511, 513, 1000, 4095, 4097, 70_001)
CONTENT = ("resident", "preserved", "zero")
USAGES = ("stable", "unused", "pot_volatile", "volatile")


def table(
    random: np.random.Generator, pages: int, generation: Literal["pgtable", "dat"]
) -> pgste.Guest:
    """A guest whose pages are in random states; in every second one most are alike."""
    guest = pgste.Guest(pages, host=pgste.Host(1, 1), generation=generation, nodat=True)
    state = random.integers(0, 256, pages, dtype=np.uint64)
    if random.random() < 0.5:
        state[random.random(pages) < 0.97] = state[0]
    pgste_words = (state & 3) << 24 | (state >> 2 & 1) << 31 | (state >> 3 & 1) << 30
    pgste_words |= (state >> 4 & 1) << 49 | (state >> 5 & 1) << 15
    pte_words = (~state >> 6 & 1) << 10 | (state >> 7 & 1) << 9
    guest.set_words(range(pages), pgste=pgste_words, pte=pte_words)
    return guest


def digest(array: np.ndarray[Any, Any]) -> str:
    return f"{len(array)} {hashlib.sha256(array.tobytes()).hexdigest()[:16]}"


def expected_counts(guest: pgste.Guest) -> dict[str, Any]:
    """count_states worked out from the words, one page after another."""
    counts: dict[str, Any] = {usage: dict.fromkeys(CONTENT, 0) for usage in USAGES}
    counts |= {"nodat": 0, "dirty": 0, "swap": 0, "zappable": 0}
    dat = guest.generation == "dat"
    for word, pte in zip(guest.pgste().tolist(), guest.pte().tolist(), strict=True):
        usage, zero = word >> 24 & 3, word >> 31 & 1
        swap = bool(pte & 0x200) and not pte & 1
        counts[USAGES[usage]][CONTENT[0 if not pte & 0x400 else 1 + zero]] += 1
        counts["nodat"] += word >> 30 & 1
        counts["dirty"] += dat and word >> 15 & 1
        counts["swap"] += swap
        counts["zappable"] += swap and (usage == 1 or bool(zero))
    return counts


def check(guest: pgste.Guest, found: list[int], query: tuple[int, int, int, int | None]) -> None:
    mask, value, start, limit = query
    assert guest.count_states() == expected_counts(guest)
    assert guest.count_zappable() == guest.count_states()["zappable"]
    states = guest.states().tolist()
    every = [gfn for gfn in range(start, guest.pages) if states[gfn] & mask == value]
    assert found == every[:limit]


def work(seed: int, pages: int, checked: bool) -> list[Any]:
    random = np.random.default_rng([seed, pages])
    guest = table(random, pages, "dat" if seed % 2 else "pgtable")
    answers: list[Any] = [guest.count_states(), guest.count_zappable()]
    for _ in range(3):
        mask = int(random.integers(0, 256))
        value = int(random.integers(0, 256)) & mask
        start = int(random.integers(0, pages + 1))
        limit = None if random.random() < 0.5 else int(random.integers(0, pages + 2))
        found = guest.find(mask, value, start=start, limit=limit)
        answers.append(digest(found))
        if checked:
            check(guest, found.tolist(), (mask, value, start, limit))
    for _ in range(4):
        first, end = sorted(random.integers(0, pages + 1, 2).tolist())
        orc = int(random.integers(0, 8))
        answers.append(digest(guest.essa(orc, range(first, end))))
        answers.append(digest(guest.states()))
        answers.append(digest(guest.cbrl()))
    zappable = guest.count_zappable()
    answers += [zappable, guest.zap_scan(), digest(guest.pte()), digest(guest.pgste())]
    answers += [guest.count_zappable(), guest.stats()]
    if checked:
        assert answers[-6] == answers[-5]
        assert answers[-2] == 0
    return answers


def main(checked: bool) -> None:
    print(json.dumps(pgste.isa_name()))
    for pages in SIZES:
        for seed in range(4 if pages < 10_000 else 2):
            print(json.dumps([pages, seed, *work(seed, pages, checked)]))


if __name__ == "__main__":
    main(sys.argv[1:] == ["check"])
