# SPDX-License-Identifier: MIT
"""The tables of kernels and of what went wrong, held against what the orders do in the engine.

Expected releases are those of the commits' own `Fixes:` lines and of the stable queues: the mails
"[PATCH 5.3 077/112]" of 16 Oct 2019 and "[PATCH 5.11 284/306]" of 15 Mar 2021.
"""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

import pgste
from pgste.cli import main
from pgste.freepath import BUGS, KERNELS, ORDERS, Bug
from pgste.freepath.judge import judge
from pgste.freepath.kernels import reproduce
from pgste.freepath.run import Outcome
from pgste.kernels.releases import Commit, release_number, span_text

#: Orders that have each bug; all others are free of it.
AFFECTED = {
    "poison-unused": ["v4.6", "v5.3"],
    "init-unused": ["v5.3"],
    "tags-unmapped": ["v5.11"],
    "poison-dropped": list(ORDERS),
}


def test_every_order_has_its_releases() -> None:
    assert [kernel.first for kernel in KERNELS] == list(ORDERS)
    assert KERNELS[-1].last is None
    for kernel, following in pairwise(KERNELS):
        assert kernel.last is not None
        major, minor, _ = release_number(kernel.last)
        assert release_number(following.first) == (major, minor + 1, 0)
        assert kernel.commit.release == kernel.first


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.key)
def test_each_bug_is_where_the_table_has_it(bug: Bug) -> None:
    assert [name for name in ORDERS if bug.affects(name)] == AFFECTED[bug.key]
    for name in ORDERS:
        act = reproduce(bug, name)
        if act is None:  # the release has no such option
            assert not bug.affects(name)
            continue
        assert act.outcome == (bug.outcome if bug.affects(name) else Outcome.FINE), name
        if bug.affects(name):
            alarms = [line.step for line in act.lines if line.alarm]
            assert alarms == [bug.step], name


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.key)
def test_the_judge_finds_each_bug_and_no_other(bug: Bug) -> None:
    for name, order in ORDERS.items():
        found = bug.step in [finding.step for finding in judge(order)]
        if bug.key == "poison-dropped":
            # where poison itself is written too late, the judge says that and no more
            assert found == (name not in AFFECTED["poison-unused"]), name
        else:
            assert found == bug.affects(name), name


def test_no_finding_is_left_out_of_the_table() -> None:
    known = {(bug.step, name) for bug in BUGS for name in AFFECTED[bug.key]}
    found = {(finding.step, name) for name, order in ORDERS.items() for finding in judge(order)}
    assert found <= known


@pytest.mark.parametrize(
    ("key", "release", "affected"),
    [
        ("init-unused", "v5.2", False),
        ("init-unused", "v5.3.6", True),
        ("init-unused", "v5.3.7", False),
        ("init-unused", "v5.4", False),
        ("poison-unused", "v4.19.300", True),
        ("poison-unused", "v4.5", False),
        ("tags-unmapped", "v5.11.6", True),
        ("tags-unmapped", "v5.11.7", False),
        ("tags-unmapped", "v5.10.24", False),
        ("poison-dropped", "v7.1.5", True),
    ],
)
def test_affected_and_fixed_releases(key: str, release: str, affected: bool) -> None:
    (bug,) = (bug for bug in BUGS if bug.key == key)
    assert bug.affects(release) is affected


def test_fixes_come_after_what_they_fix() -> None:
    for bug in BUGS:
        assert bug.introduced.release == bug.first
        if bug.fixed is None:
            assert bug.last is None
            continue
        assert bug.last is not None
        assert release_number(bug.last) < release_number(bug.fixed.release)
        for stable in bug.fixed.stable:
            assert release_number(stable)[:2] == release_number(bug.last)[:2]


def test_every_commit_says_where_it_was_seen() -> None:
    commits = [kernel.commit for kernel in KERNELS]
    commits += [c for bug in BUGS for c in (bug.introduced, bug.fixed) if c is not None]
    for commit in commits:
        assert len(commit.id) == 12
        assert int(commit.id, 16)
        assert commit.seen


def test_releases_as_numbers() -> None:
    assert release_number("v7.1.5") == (7, 1, 5)
    assert release_number("6.19") == (6, 19, 0)
    assert span_text("v4.13", "v6.19") == "v4.13 to v6.19"
    assert span_text("v5.3", "v5.3") == "v5.3"
    assert span_text("v7.0", None) == "v7.0 on"
    assert str(Commit("a" * 12, "title", "v1.0")) == f"{'a' * 12} title"
    for bad in ("v7", "7.1.5.2", "x" * 100, "v6.19-rc1", "v\u0661.\u0662"):
        with pytest.raises(pgste.ArgumentError, match="release: "):
            release_number(bad)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_command_shows_all_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["scenario", "--kernels"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= columns
    words = " ".join(shown.split())
    for kernel in KERNELS:
        assert kernel.commit.id in words
        assert span_text(kernel.first, kernel.last) in words
    for bug in BUGS:
        assert bug.title in words
        assert bug.releases in words


def test_the_command_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", "--kernels", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [kernel["first"] for kernel in data["kernels"]] == list(ORDERS)
    runs = {bug["key"]: bug["runs"] for bug in data["bugs"]}
    assert runs["init-unused"]["v5.3"] == Outcome.PANIC
    assert runs["tags-unmapped"]["v5.4"] is None
    assert data["bugs"][0]["fixed"]["id"] == "234fdce892f9"


def test_one_thing_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", "--kernels", "--list"]) == 1
    assert "one of NAME" in capsys.readouterr().err
