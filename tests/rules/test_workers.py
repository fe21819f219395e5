# SPDX-License-Identifier: MIT
"""The workers of a run: when there are any, and that `alone` is alone (tests/workers.py)."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import workers


def test_what_it_names_is_there() -> None:
    assert all((workers.TESTS.parent / name).is_file() for name in workers.SPREAD)
    assert all((workers.TESTS / room).is_dir() for room in workers.LONG)


def config(*args: str, **options: Any) -> Any:
    """As pytest gives it after the command line was read, with what it has by default."""
    usual: dict[str, Any] = {"numprocesses": None, "dist": "no", "capture": "fd", "maxfail": 0}
    usual |= {"keyword": "", "markexpr": "", "usepdb": False, "collectonly": False, "lf": False}
    params = SimpleNamespace(dir=workers.TESTS.parent)
    option = SimpleNamespace(**(usual | options))
    return SimpleNamespace(args=args, option=option, invocation_params=params)


@pytest.mark.parametrize(
    ("args", "options", "parallel"),
    [
        (("tests",), {}, True),
        (("tests/rules", "tests/cli/"), {}, True),
        ((str(workers.TESTS),), {}, True),
        (("tests/cli/test_cli.py",), {}, False),
        (("tests/cli/test_cli.py::test_x",), {}, False),
        (("benchmarks",), {}, False),
        (("tests", "benchmarks"), {}, False),
        (("tests",), {"keyword": "word"}, False),
        (("tests",), {"maxfail": 1}, False),
        (("tests",), {"usepdb": True}, False),
        (("tests",), {"capture": "no"}, False),
        (("tests",), {"collectonly": True}, False),
        (("tests",), {"lf": True}, False),
        (("tests",), {"dist": "loadfile"}, False),
    ],
)
def test_when_there_are_workers(
    args: tuple[str, ...], options: dict[str, Any], parallel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    given = config(*args, **options)
    workers.choose(given)
    assert (given.option.numprocesses is not None) == parallel


@pytest.mark.parametrize("number", [0, 3])
def test_a_number_that_was_given_stays(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    given = config("tests", numprocesses=number)
    workers.choose(given)
    assert given.option.numprocesses == number


def test_no_workers_of_workers_and_none_without_xdist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    given = config("tests")
    workers.choose(given)
    assert given.option.numprocesses is None
    monkeypatch.delenv("PYTEST_XDIST_WORKER")
    del given.option.numprocesses
    workers.choose(given)
    assert not hasattr(given.option, "numprocesses")


def item(alone: bool, nodeid: str = "tests/cli/test_cli.py::test") -> Any:
    path = workers.TESTS.parent / nodeid.split("::")[0]
    return SimpleNamespace(
        get_closest_marker=lambda name: "mark" if alone else None, nodeid=nodeid, path=path
    )


def test_alone_goes_first_and_what_stays_together_keeps_its_order() -> None:
    items = [
        item(False, "tests/cli/test_cli.py::test_1"),
        item(False, "tests/exhaustive/test_zvm.py::test_2"),
        item(False, "tests/live/test_check.py::test_3"),
        item(False, "tests/unit/test_units.py::test_4"),
        item(True, "tests/unit/test_units.py::test_5"),
        item(True, "tests/live/test_record.py::test_6"),
    ]
    workers.sort(items)
    assert [each.nodeid[-1] for each in items] == ["3", "6", "4", "5", "2", "1"]


def test_alone_is_alone(tmp_path: Path) -> None:
    """Three workers, of which each other test is alone: it never meets another, others meet."""
    running: list[bool] = []
    met: list[list[bool]] = []

    def work(number: int) -> None:
        turns = workers.Turns(tmp_path)
        for n in range(40):
            alone = (n + number) % 4 == 0
            with turns.turn(item(alone), item((n + number + 1) % 4 == 0)):
                running.append(alone)
                time.sleep(0.001)
                met.append(running.copy())
                running.remove(alone)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert len(met) == 120
    assert all(len(each) == 1 for each in met if True in each)
    assert max(map(len, met)) > 1


def test_the_machine_is_kept_for_the_next_that_is_alone(tmp_path: Path) -> None:
    first, other = workers.Turns(tmp_path), workers.Turns(tmp_path)
    order: list[str] = []

    def work() -> None:
        with other.turn(item(False), None):
            order.append("other")

    thread = threading.Thread(target=work)
    with first.turn(item(True), item(True)):
        thread.start()
        order.append("first")
    time.sleep(0.1)
    with first.turn(item(True), item(False)):
        order.append("second")
    thread.join(60)
    assert order == ["first", "second", "other"]
