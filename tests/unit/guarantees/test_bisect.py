# SPDX-License-Identifier: MIT
"""The bisect of guarantees: the table of releases, and which commit changed which answer.

What changed is known from the kernel: set stable leaves ZERO in arch/s390/mm/pgtable.c and clears
it in arch/s390/kvm/dat.c; madvise_free_pte_range passes over what is locked or shared.
"""

from __future__ import annotations

import json
from itertools import groupby, pairwise

import pytest

import pgste
from pgste.cli import guarantees as verb
from pgste.cli import main
from pgste.guarantees import MECHANISMS, SPANS, Span, System, bisect, kernels
from pgste.guarantees.kernels import NO_RELEASE
from pgste.kernels.releases import Commit, release_number

SMALL = (System(1, 1, 1, 1), System(2, 1, 2, 2))  # enough for both changes, in a second


@pytest.fixture(scope="module")
def everything() -> pgste.Guarantees:
    columns = dict.fromkeys(span.column for span in SPANS if span.column)
    return pgste.guarantees(["none", *columns], systems=SMALL)


def test_spans_name_columns_and_follow_one_another() -> None:
    keys = {subject.key for subject in MECHANISMS}
    assert {span.column for span in SPANS if span.column} == keys - set(NO_RELEASE)
    places = [list(group) for _, group in groupby(SPANS, lambda span: span.where)]
    assert len({group[0].where for group in places}) == len(places)
    for group in places:
        assert group[-1].last is None
        for span, following in pairwise(group):
            assert span.last is not None
            assert release_number(span.first) <= release_number(span.last)
            assert release_number(span.last) < release_number(following.first)
            assert {commit.release for commit in following.commits} == {following.first}


def test_every_commit_says_where_it_was_seen() -> None:
    for commit in (commit for span in SPANS for commit in span.commits):
        assert int(commit.id, 16)
        assert len(commit.id) == 12
        assert commit.seen
        assert commit.title


def test_zero_under_a_stable_page(everything: pgste.Guarantees) -> None:
    found = bisect("stable-zero", SMALL, result=everything)
    (change,) = [answer for answer in found.changes if answer.span.where == "CMMA on KVM"]
    assert change.span.first == "v7.0"
    assert [commit.id for commit in change.by] == ["e38c884df921"]
    answers = [(a.span.first, a.text) for a in found.answers if a.span.where == "CMMA on KVM"]
    # free, swapped out when freed, alloc, zap: five steps in the old generation
    assert answers[0] == ("v4.13", "no [5]")
    assert answers[1] == ("v7.0", "n/a")


def test_the_cve_of_2026(everything: pgste.Guarantees) -> None:
    """CVE-2026-72412: Linux from 7.0 to before 7.1.5 loses a store, in five steps."""
    found = bisect("lost-after-alloc", SMALL, result=everything)
    answers = [answer for answer in found.answers if answer.span.where == "CMMA on KVM"]
    assert [(a.span.releases, a.text) for a in answers] == [
        ("v4.13 to v6.19", "no"),
        ("v7.0", "yes [5]"),
        ("v7.1 to v7.1.4", "yes [5]"),
        ("v7.1.5 on", "no"),
    ]
    assert [commit.id for commit in answers[1].by] == ["e38c884df921"]
    # v7.1 has other fixes, which leave it
    assert not answers[2].changed
    assert [c.id for c in answers[3].by] == ["fda07c8e4b54"]


def test_the_list_that_zaps_elsewhere(everything: pgste.Guarantees) -> None:
    """ca42c16638d5: guest addresses where the host's belong, with a slot that is shifted."""
    found = bisect("zap-harms", SMALL, result=everything)
    answers = {a.span.first: a for a in found.answers if a.span.where == "CMMA, shifted slot"}
    assert [answers[first].text[:3] for first in ("v4.13", "v7.0", "v7.1")] == ["no", "yes", "no"]
    assert "ca42c16638d5" in [commit.id for commit in answers["v7.1"].by]
    plain = [a for a in found.answers if a.span.where == "CMMA on KVM" and a.cell is not None]
    assert {answer.text for answer in plain} == {"no"}


def test_lazyfree_pages_under_pressure(everything: pgste.Guarantees) -> None:
    """What is locked or shared is passed over by both rules; the newer drops a page alone."""
    found = bisect("zapped-under-pressure", SMALL, result=everything, everywhere=True)
    texts: dict[str, list[str]] = {"MADV_FREE": [], "MADV_FREE, page alone": []}
    for answer in found.answers:
        if answer.span.where in texts:
            texts[answer.span.where].append(answer.text.split(" [")[0])
    assert texts["MADV_FREE"] == ["no", "no", "no"]
    assert texts["MADV_FREE, page alone"] == ["not modelled", "yes"]


def test_what_no_column_has_changes_nothing(everything: pgste.Guarantees) -> None:
    found = bisect("stale", SMALL, result=everything, everywhere=True)
    texts = {a.text for a in found.answers if a.span.column is None}
    assert texts == {"not modelled"}
    assert found.changes == ()


def test_without_a_question_only_what_changed(everything: pgste.Guarantees) -> None:
    found = bisect(systems=SMALL, result=everything)
    shown = {(answer.question.key, answer.span.where) for answer in found.answers}
    assert shown == {(answer.question.key, answer.span.where) for answer in found.changes}
    assert ("stable-zero", "CMMA on KVM") in shown


def test_places_with_one_rule_are_left_out_unless_asked_for(everything: pgste.Guarantees) -> None:
    some = {answer.span.where for answer in bisect("stale", SMALL, result=everything).answers}
    assert some == {"CMMA on KVM", "CMMA, shifted slot", "MADV_FREE"}
    found = bisect("stale", SMALL, result=everything, everywhere=True)
    assert {answer.span.where for answer in found.answers} == {span.where for span in SPANS}


def test_what_is_lacking_is_searched() -> None:
    part = pgste.guarantees(["cmma"], systems=SMALL[:1])
    keys: list[str] = []
    bisect("stale", SMALL[:1], lambda key, done, total: keys.append(key), 1, result=part)
    assert "cmma" not in keys
    assert keys


def test_unknown_questions_are_named() -> None:
    with pytest.raises(pgste.UnknownNameError, match="question: 'zapp'"):
        bisect("zapp")
    with pytest.raises(pgste.ArgumentTypeError, match="result: 7"):
        bisect("stale", result=7)  # type: ignore[arg-type]


def test_markdown_and_json(everything: pgste.Guarantees) -> None:
    found = bisect("stable-zero", SMALL, result=everything)
    lines = found.to_markdown().splitlines()
    assert lines[0] == "| question | where | releases | answer | changed by |"
    assert any("| n/a | e38c884df921" in line for line in lines)
    data = json.loads(json.dumps(found.to_dict()))["stable-zero"]
    first, then = [each for each in data["answers"] if each["where"] == "CMMA on KVM"][:2]
    assert (first["first"], first["last"], first["answer"], first["steps"]) == (
        "v4.13",
        "v6.19",
        "no",
        5,
    )
    assert (first["changed"], first["changed_by"]) == (False, [])
    assert (then["changed"], then["answer"], then["steps"]) == (True, "n/a", None)
    assert [commit["id"] for commit in then["changed_by"]] == ["e38c884df921"]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(verb, "SYSTEMS", SMALL)
    assert main(["guarantees", "--kernels"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= columns
    words = " ".join(shown.split())
    assert "stable with ZERO set survives?" in words
    assert "e38c884df921" in words
    assert "v4.13 to v6.19" in words


def test_the_command_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb, "SYSTEMS", SMALL[:1])
    assert main(["guarantees", "--kernels", "stale", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == ["stale"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kernels", "zapp"], "question: 'zapp'"),
        (["--kernels", "--mechanisms", "none"], "one of them"),
        (["--kernels", "stale", "--explain", "none", "stale"], "one of them"),
    ],
)
def test_refusals(capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    assert main(["guarantees", *options]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("columns", "by"),
    [
        # an answer that changed and changed back: a commit each
        (("cmma", "none", "cmma"), ["", "2", "3"]),
        (("cmma", "cmma", "none"), ["", "", "3"]),
        # a release that could not be tried: its commit or the next one's
        (("cmma", None, "none"), ["", "", "23"]),
        (("cmma", None, "cmma", "none"), ["", "", "", "4"]),
        ((None, "cmma", None, None, "none"), ["", "", "", "", "345"]),
    ],
)
def test_each_answer_is_compared_with_the_last_that_is_known(
    monkeypatch: pytest.MonkeyPatch,
    everything: pgste.Guarantees,
    columns: tuple[str | None, ...],
    by: list[str],
) -> None:
    spans = [
        Span("somewhere", column, f"v{n}.0", f"v{n}.9", (Commit(str(n), "", f"v{n}.0"),))
        for n, column in enumerate(columns, 1)
    ]
    monkeypatch.setattr(kernels, "SPANS", tuple(spans))
    found = bisect("stable-zero", SMALL, result=everything, everywhere=True)
    assert ["".join(commit.id for commit in answer.by) for answer in found.answers] == by
    assert [answer.changed for answer in found.answers] == [bool(each) for each in by]
