# SPDX-License-Identifier: MIT
"""What the model says of a run on real memory: the same events, in the frames that were held.

The kernel brings the statistics by which it reclaims up to date every 2 seconds (docs/reclaim.md),
and a run may begin at any moment between two of these.  So the model has a replay for each of some
moments; they differ where the kernel's own runs do.
"""

from __future__ import annotations

import numpy as np

from pgste._engine import Guest, Host, Replay
from pgste.errors import OutOfFramesError
from pgste.live.scaled import Scaled
from pgste.live.worker import Run

__all__ = ["flush_moments", "predict", "replay_once"]

_PERIOD = 2.0
"""Seconds between two flushes of a memory cgroup's statistics (FLUSH_TIME in mm/memcontrol.c)."""
_PHASES = 8


def flush_moments(seconds: float) -> list[tuple[float, ...]]:
    """When statistics are flushed in a run of so many seconds, as shares of it: for each phase."""
    first = [_PERIOD * (phase + 0.5) / _PHASES for phase in range(_PHASES)]
    return [
        tuple((np.arange(begin, seconds, _PERIOD) / seconds).tolist()) if seconds else ()
        for begin in first
    ]


def predict(
    scaled: Scaled, mechanism: str, frames: int, swap_slots: int, samples: int, seconds: float
) -> tuple[Run, ...]:
    """A run of the model for each phase of the timer, without those that run out of memory.

    Args:
        scaled: what the kernel replayed.
        frames, swap_slots: what the group held, and its swap.
        samples: how often residency is sampled.
        seconds: how long the kernel took.  The events are taken to be evenly spread over it.
    """
    ways = flush_moments(seconds)
    once = {
        way: replay_once(scaled, mechanism, frames, swap_slots, samples, way)
        for way in dict.fromkeys(ways)
    }
    return tuple(run for way in ways if (run := once[way]) is not None)


def replay_once(
    scaled: Scaled,
    mechanism: str,
    frames: int,
    swap_slots: int,
    samples: int,
    flushes: tuple[float, ...],
    reclaim: str = "lru",
) -> Run | None:
    """The model's run with flushes at these shares of the events; None if memory runs out."""
    # No watermarks: a memory cgroup reclaims when it is at its limit, not before.
    host = Host(frames, swap_slots, reclaim=reclaim, fresh_stats=False)
    guest = Guest(scaled.pages, host=host, mechanism=mechanism)
    events = len(scaled.events)
    steps = np.linspace(0, events, samples + 1).astype(np.int64)
    moments = {int(share * events) for share in flushes}
    at_step: dict[int, tuple[int, int]] = {}
    try:
        replay = Replay(
            [guest], scaled.events, scaled.times, accesses=scaled.accesses, places=scaled.places
        )
        done = 0
        for step in sorted(moments | set(steps.tolist())):
            replay.run(step - done)
            done = step
            stats = host.stats()
            at_step[step] = (
                stats["frames"] - stats["frames_free"],
                stats["swap_slots"] - stats["swap_slots_free"],
            )
            if step in moments:
                host.flush_stats()
        counts = np.array([at_step[step] for step in steps.tolist()], dtype=np.int64)
        values = _values(guest, replay, host)
    except OutOfFramesError:
        return None
    finally:
        host.close()
    values["resident_peak"] = int(counts[:, 0].max())
    values["resident_mean"] = float(counts[:, 0].mean())
    values["swapped_peak"] = int(counts[:, 1].max())
    return Run(mechanism, steps / max(events, 1), counts[:, 0], counts[:, 1], values, {})


def _values(guest: Guest, replay: Replay, host: Host) -> dict[str, float]:
    guest_stats, replay_stats, host_stats = guest.stats(), replay.stats(), host.stats()
    ahead, hits = host_stats.get("readaheads", 0), host_stats.get("readahead_hits", 0)
    disk_faults = host_stats["swap_ins"] - ahead
    return {
        **guest_stats,
        **{name: value for name, value in replay_stats.items() if name != "seconds"},
        "pages_read": host_stats["swap_ins"],
        "readahead_pages": ahead,
        "readahead_hits": hits,
        "disk_faults": disk_faults,
        "swap_ins": disk_faults + hits,
        "faults": guest_stats["zero_fills"] + disk_faults + hits,
    }
