# SPDX-License-Identifier: MIT
"""Many replays at once: `run_all`."""

from __future__ import annotations

from collections.abc import Sequence

from pgste._checks import count_of, items_of
from pgste._engine import Replay
from pgste._engine.names import shown
from pgste._threads import MAX_THREADS, run_each
from pgste.errors import ArgumentError, ArgumentTypeError, CancelledError, PgsteError


def run_all(replays: Sequence[Replay], *, threads: int = 1) -> list[int]:
    """Run each replay to its end, those of different hosts on several threads.

    Replays of one host meet in its memory, so they run one after another in the order given;
    results are those of one thread, whatever their number.

    Parameters
    ----------
    replays: as `Replay` makes them; one that is at its end already has nothing to do.
    threads: how many run at once, 1 .. 64.

    Returns
    -------
    list of int
        Events that each of them replayed.

    Raises
    ------
    ArgumentError, ArgumentTypeError
        Nothing has run.
    OutOfFramesError
        Of the first replay in the list that failed; the others have run as far as they go.
    KeyboardInterrupt
        Each has run as far as its `Replay.position`, from where it goes on.
    """
    replays = _checked(replays)
    threads = count_of("threads", threads, MAX_THREADS)
    by_host: dict[int, list[int]] = {}
    for i, replay in enumerate(replays):
        by_host.setdefault(id(replay.host), []).append(i)
    outcomes: list[int | PgsteError] = [0] * len(replays)

    def run(which: list[int]) -> None:
        for i in which:
            try:
                outcomes[i] = replays[i].run()
            except CancelledError:
                raise
            except PgsteError as error:
                outcomes[i] = error

    run_each(run, by_host.values(), threads)
    done = []
    for outcome in outcomes:
        if isinstance(outcome, PgsteError):
            raise outcome
        done.append(outcome)
    return done


def _checked(replays: Sequence[Replay]) -> tuple[Replay, ...]:
    if isinstance(replays, (str, Replay)) or not isinstance(replays, Sequence):
        raise ArgumentTypeError(f"replays: {shown(replays)} is not a sequence of replays")
    replays = items_of("replays", replays, Replay, "replays")
    for i, replay in enumerate(replays):
        if any(replay is other for other in replays[:i]):
            raise ArgumentError(f"replays[{i}]: {shown(replay)} is given twice")
    return replays
