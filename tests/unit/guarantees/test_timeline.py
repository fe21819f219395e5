# SPDX-License-Identifier: MIT
"""The picture of a witness: it says all of the run in words, inside its bars and itself."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from pgste.errors import ArgumentError, UnknownNameError
from pgste.guarantees import Cell, explain
from pgste.guarantees.timeline import draw_timeline
from pgste.guarantees.witness import Step

CELLS = [
    ("cmma", "lost-before-alloc"),
    ("cmma", "stable-zero"),
    ("cmma_7_0", "lost-after-alloc"),
    ("cmma_zvm", "touch-while-free"),
    ("cmma_zvm", "announce-reuse"),
    ("madv_free", "zapped-under-pressure"),
    ("madv_dontneed", "lost-racing"),
    ("reporting", "lost-before-alloc"),
]


def long_run() -> Cell:
    """More steps than go beside one another, with every action of the mechanism."""
    steps = [
        Step(action, gfn)
        for gfn in (0, 1)
        for action in ("write", "free", "swap_out", "alloc", "read", "zap", "free_raced", "take")
    ]
    steps += [Step("intercept", 0), Step("zap_scan", 0), Step("reset_cmma", 0), Step("migrate", 0)]
    return replace(explain("cmma", "stable-zero"), steps=tuple(steps))


def drawn(cell: Cell) -> tuple[Figure, list[Text]]:
    figure = draw_timeline(cell)
    figure.draw_without_rendering()
    return figure, [text for text in figure.axes[0].texts if text.get_text()]


def words(texts: list[Text]) -> str:
    return "\n".join(" ".join(text.get_text().replace("\u00a0", " ").split()) for text in texts)


def extent(text: Text) -> Bbox:
    return text.get_window_extent()


@pytest.mark.parametrize("about", [*CELLS, None], ids=str)
def test_nothing_is_cut_off_or_covered(about: tuple[str, str] | None) -> None:
    cell = explain(*about) if about else long_run()
    figure, texts = drawn(cell)
    for text in texts:
        box = extent(text)
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0
        assert box.y1 <= figure.bbox.y1, text
    for one, other in itertools.combinations(texts, 2):
        assert not extent(one).overlaps(extent(other)), (one, other)


@pytest.mark.parametrize("about", CELLS, ids=str)
def test_every_bar_has_its_word_inside(about: tuple[str, str]) -> None:
    figure, texts = drawn(explain(*about))
    bars = [p for p in figure.axes[0].patches if isinstance(p, Rectangle) and p.get_fill()]
    assert len(bars) >= 8
    for bar in bars:
        box = bar.get_window_extent()
        inside = [text for text in texts if box.x0 <= extent(text).x0 and extent(text).x1 <= box.x1]
        assert any(box.y0 <= extent(text).y0 and extent(text).y1 <= box.y1 for text in inside)


def test_a_lost_store_is_told_step_by_step() -> None:
    """The run of docs/guarantees.md; what the words of a row are comes from the model's rules."""
    _, texts = drawn(explain("cmma", "lost-before-alloc"))
    shown = words(texts)
    for step in ("1 frees page 0", "2 stores 1 to page 0", "3 reclaims page 0",
                 "4 allocates page 0; the host processes the list"):  # fmt: skip
        assert step in shown.splitlines()
    for row in ("the guest", "the host", "page 0 is", "last store to it", "PGSTE", "list (CBRL)",
                "host pte", "swap slot", "a load gives"):  # fmt: skip
        assert row in shown.splitlines()
    assert "unused, ZERO" in shown
    assert "\u2717 step 4: store 1, made between free and alloc, is lost" in shown


def test_rows_are_those_of_the_mechanism() -> None:
    shown = {about: words(drawn(explain(*about))[1]).splitlines() for about in CELLS}
    two = set(shown["cmma_7_0", "lost-after-alloc"])
    assert {"guest pte", "host pte", "present, UNUSED"} <= two
    assert "PGSTE" not in shown["madv_dontneed", "lost-racing"]
    assert "the host" not in shown["madv_dontneed", "lost-racing"]
    assert {"reporting", "page 1", "free, reported"} <= set(shown["reporting", "lost-before-alloc"])
    assert {"lazyfree", "lazyfree, pinned"} <= set(shown["madv_free", "zapped-under-pressure"])
    assert "addressing exception" in shown["cmma_zvm", "touch-while-free"]


def test_a_list_that_is_processed_is_told() -> None:
    """The full list is what takes the page of another entry (released.md, B)."""
    shown = words(drawn(explain("cmma_7_0_shifted", "lost-after-alloc"))[1]).splitlines()
    assert "4 frees page 1; the host processes the list" in shown


def test_good_and_bad_differ_by_a_mark() -> None:
    good, bad = explain("cmma", "zapped-ever"), explain("cmma", "stale")
    assert "\u2713 step 3: " in words(drawn(good)[1])
    assert "\u2717 step 2: " in words(drawn(bad)[1])


def test_a_store_that_is_refused_is_none() -> None:
    shown = words(drawn(explain("cmma_zvm", "touch-while-free"))[1])
    assert "store 1" not in shown.splitlines()


def test_a_long_run_goes_on_below() -> None:
    cell = long_run()
    figure, texts = drawn(cell)
    assert cell.steps is not None
    numbers = [line.split()[0] for line in words(texts).splitlines() if line[0].isdigit()]
    assert sorted(map(int, numbers)) == list(range(1, len(cell.steps) + 1))
    assert figure.get_figwidth() < 12


def test_refusals(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("x")
    with pytest.raises(UnknownNameError, match="'zap-harms' of 'none' has no witness"):
        explain("none", "zap-harms").plot(folder / "x.png")
    with pytest.raises(ArgumentError, match=r"must end in \.png, \.svg or \.pdf"):
        explain("none", "stale").plot(folder / "x.gif")
    assert list(folder.iterdir()) == []
