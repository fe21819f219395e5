"""The model of docs/model.md against this machine's kernel, page by page.

``pgste live check`` runs the same with a million page-operations.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from pgste.errors import ArgumentError, UnknownNameError
from pgste.live.check import (
    Divergence,
    Result,
    check,
    flags_allowed,
    random_sequence,
    run_sequence,
    shrink,
)
from pgste.live.pressure import SwapFile, swap_bytes
from pgste.live.sides import Kernel, Op

pytestmark = pytest.mark.usefixtures("machine")

OPS = 100_000


def agrees(result: Result) -> None:
    assert result.divergence is None, f"seed {result.seed}:\n{result.divergence}"
    assert result.page_ops >= OPS
    assert result.compared == result.steps * 128


@pytest.mark.usefixtures("no_swap")
@pytest.mark.parametrize("mechanism", ["madv_free", "madv_dontneed", "none"])
def test_kernel_does_what_the_model_says_without_swap(mechanism: str) -> None:
    result = check(OPS, swap=False, mechanism=mechanism)
    agrees(result)
    assert not any(outcome == "to swap" for _, outcome in result.choices)


@pytest.mark.parametrize("mechanism", ["madv_free", "madv_dontneed", "none"])
def test_kernel_does_what_the_model_says_with_swap(mechanism: str, swap_file: SwapFile) -> None:
    result = check(OPS, swap=True, mechanism=mechanism)
    agrees(result)
    ordinary = {out: nr for (state, out), nr in result.choices.items() if "ordinary" in state}
    assert ordinary["to swap"] > 9 * ordinary.get("kept", 0), "the kernel reclaims on request"


@pytest.mark.usefixtures("no_swap")
def test_the_interesting_things_happen() -> None:
    result = check(OPS, swap=False)
    seen = result.choices
    assert seen["page out: lazyfree, clean", "discarded"] > 1000
    assert seen["page out: ordinary", "kept"] > 1000
    if result.flags:
        assert seen["page out: lazyfree, dirty", "re-armed"] > 1000
        assert seen["free: present", "lazyfree"] > 1000


@pytest.mark.usefixtures("no_swap")
@pytest.mark.parametrize(
    ("kernel", "model", "steps"),
    [
        # Written, freed: dropped at once on one side, kept on the other.
        ("madv_free", "madv_dontneed", 2),
        ("madv_dontneed", "madv_free", 2),
        ("none", "madv_dontneed", 2),
        ("madv_dontneed", "none", 2),
    ],
)
def test_a_wrong_model_is_found_and_shrunk(kernel: str, model: str, steps: int) -> None:
    result = check(OPS, swap=False, mechanism=kernel, model_mechanism=model, seed=3)
    found = result.divergence
    assert found is not None
    assert len(found.sequence) == steps
    assert [len(op.gfns) for op in found.sequence] == [1] * steps
    assert found.sequence[-1].kind == "free"
    text = str(found)
    assert "model:" in text
    assert f"page {found.gfn}" in text


@pytest.mark.usefixtures("no_swap")
def test_a_wrong_model_of_laziness_is_found() -> None:
    """Freed but never discarded, against discarded under pressure: write, free, page out."""
    result = check(OPS, swap=False, mechanism="madv_free", model_mechanism="none", seed=4)
    assert result.divergence is not None
    kinds = [op.kind for op in result.divergence.sequence]
    assert "free" in kinds
    if not result.flags:  # the lazyfree bits would give it away before the discard does
        assert kinds[-2:] == ["free", "page_out"]


def run_of(ops: list[Op], *, flags: bool, model: str = "madv_free") -> Divergence | None:
    result = Result("madv_free", bool(swap_bytes()[0]), flags, 0)
    return run_sequence(ops, 4, model, "madv_free", result.swap, result)


@pytest.mark.usefixtures("no_swap")
def test_what_the_model_had_is_said_beside_the_rule() -> None:
    """Without kernel flags a wrong model shows when the kernel drops what the model has."""
    ops = [Op("write", (0,), 7), Op("free", (0,)), Op("page_out", (0,))]
    found = run_of(ops, flags=False, model="none")
    assert found is not None
    assert found.model.startswith("present, words 0x7 and 0xfffffff8 (an ordinary page")
    assert found.kernel == "none"
    assert "page 0: model: present, words" in str(found)
    assert str(found).endswith("; kernel: none")


@pytest.mark.usefixtures("flags", "swap_file")
def test_a_lazyfree_page_that_keeps_its_slot_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a kernel made up from this one: lazyfree pages show as being in the swap cache."""
    look = Kernel.look

    def keeps(self: Kernel) -> None:
        look(self)
        self.cached = self.cached | self.lazy

    ops = [Op("write", (0,), 7), Op("free", (0,))] + [Op("cold", (1, 2, 3))] * 3
    assert run_of(ops, flags=True) is None
    monkeypatch.setattr(Kernel, "look", keeps)
    # lazyfree at the latest when the CPU's queue is full
    many = [op for tag in range(1, 80) for op in (Op("write", (0,), tag), Op("free", (0,)))]
    found = run_of(many, flags=True)
    assert found is not None
    assert "present, lazyfree, in the swap cache" in found.kernel
    assert found.model.startswith("present, lazyfree, words")


@pytest.mark.usefixtures("flags", "swap_file")
def test_a_free_that_passes_over_a_page_in_the_swap_cache_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a kernel made up from this one, whose MADV_FREE leaves pages in the swap cache alone."""
    apply = Kernel.apply

    def passes_over(self: Kernel, op: Op, gfns: np.typing.NDArray[np.int64]) -> None:
        time.sleep(0.05)  # for writing to end
        self.look()
        if op.kind == "free":
            gfns = gfns[~self.cached[gfns]]
        apply(self, op, gfns)

    ops = [Op("write", (0,), 7), Op("page_out", (0,)), Op("read", (0,)), Op("free", (0,))]
    assert run_of(ops, flags=True) is None
    monkeypatch.setattr(Kernel, "apply", passes_over)
    found = run_of(ops, flags=True)
    assert found is not None, "in the swap cache after it was read"
    assert found.sequence[-1].kind == "free"
    assert "present, in the swap cache, words" in found.kernel
    assert found.model.endswith("(MADV_FREE gives a slot back unless it is just being written to)")


@pytest.mark.usefixtures("flags")
def test_frees_of_pages_with_slots_and_under_writeback_happen(swap_file: SwapFile) -> None:
    result = check(OPS, swap=True)
    agrees(result)
    seen = result.choices
    in_cache = [nr for (state, _), nr in seen.items() if state == "free: in the swap cache"]
    assert sum(in_cache) > 300
    assert seen["free: just paged out and in", "lazyfree, without a slot"] > 100
    if not seen["free: just paged out and in", "passed over, its slot kept"]:
        pytest.skip("what goes to swap here is written before it can be freed")


@pytest.mark.usefixtures("no_swap")
def test_without_swap_no_free_is_of_a_slot() -> None:
    assert not any("slot" in outcome for _, outcome in check(OPS // 4, swap=False).choices)


def test_out_in_free_is_of_ordinary_pages_alone() -> None:
    """A lazyfree page would come back as a zero page, or not be there: more than one thing."""
    ops = [
        Op("write", (0, 1), 7),
        Op("free", (0,)),
        Op("read", (2,)),
        Op("out_in_free", (0, 1, 2, 3)),
    ]
    assert run_of([*ops, Op("store", (1,), 9)], flags=flags_allowed()) is None


def test_sequences_depend_on_the_seed_alone() -> None:
    def made(seed: int) -> list[Op]:
        return random_sequence(np.random.default_rng([seed, 0]), 64, 50)

    assert made(1) == made(1)
    assert made(1) != made(2)
    for op in made(1):
        assert len(set(op.gfns)) == len(op.gfns)
        assert set(op.gfns) <= set(range(64))


def test_shrinking_finds_what_it_takes() -> None:
    """On a made-up fault: a store of page 5 after a free of page 5 after a write of page 9."""

    def fails(ops: Sequence[Op]) -> Divergence | None:
        stage = 0
        for i, op in enumerate(ops):
            wants = [("write", 9), ("free", 5), ("store", 5)][stage]
            if op.kind == wants[0] and wants[1] in op.gfns:
                stage += 1
            if stage == 3:
                return Divergence(tuple(ops[: i + 1]), 5, "a", "b")
        return None

    rng = np.random.default_rng(8)
    sequence = random_sequence(rng, 32, 400)
    found = fails(sequence)
    assert found is not None
    shortest = shrink(found, fails)
    assert [(op.kind, op.gfns) for op in shortest.sequence] == [
        ("write", (9,)), ("free", (5,)), ("store", (5,))
    ]  # fmt: skip


def test_a_sequence_of_ones_own() -> None:
    result = Result("madv_free", bool(swap_bytes()[0]), flags_allowed(), 0)
    ops = [Op("write", (0, 1), 7), Op("free", (0, 1)), Op("store", (1,), 9), Op("page_out", (0, 1))]
    assert run_sequence(ops, 2, "madv_free", "madv_free", result.swap, result) is None
    assert result.page_ops == 2 + 2 + 1 + 2 + 2, "and the read of all pages at the end"


def test_a_step_prints_as_a_line() -> None:
    assert str(Op("free", (3, 4, 5, 9))) == "free 3 .. 5, 9"
    assert str(Op("write", (3,), 255)) == "write 3, tags from 0xff"


def test_bad_arguments() -> None:
    swap = bool(swap_bytes()[0])
    with pytest.raises(ArgumentError, match="swap"):
        check(10, swap=not swap)
    with pytest.raises(ArgumentError, match="ops"):
        check(0, swap=swap)
    with pytest.raises(ArgumentError, match="pages"):
        check(1, swap=swap, pages=0)
    with pytest.raises(UnknownNameError, match="cmma"):
        check(1, swap=swap, mechanism="cmma")
