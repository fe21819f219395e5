# SPDX-License-Identifier: MIT
"""An engine and a reference model that get the same calls and must stay equal.

Every method makes one call on both sides.  What the calls return or refuse is compared at
once; `check` compares the whole state and asks the engine for its own invariants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import reference
from reference.guest import snapshot as model_snapshot

import pgste

REFUSALS: dict[type[Exception], str] = {
    pgste.GfnError: "gfn",
    reference.GfnError: "gfn",
    pgste.StateError: "state",
    reference.StateError: "state",
    pgste.OutOfFramesError: "frames",
    reference.OutOfFrames: "frames",
    pgste.OutOfSwapError: "swap",
    reference.OutOfSwap: "swap",
    pgste.ForeignPteError: "foreign",
    reference.ForeignPage: "foreign",
}


def outcome(call: Callable[[], object]) -> object:
    """What a call gives as plain data: its value, or how it was refused."""
    try:
        value = call()
    except (pgste.ProgramInterruption, reference.ProgramInterruption) as refusal:
        return ("program interruption", refusal.code, refusal.address)
    except tuple(REFUSALS) as refusal:
        return ("refused", next(REFUSALS[kind] for kind in REFUSALS if isinstance(refusal, kind)))
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value


def engine_snapshot(host: pgste.Host, guests: Sequence[pgste.Guest]) -> dict[str, object]:
    """The same plain data as `reference.guest.snapshot`."""
    stats = host.stats()
    return {
        "guests": [_guest_snapshot(guest) for guest in guests],
        "frames": [_frame(host.frame_info(i)) for i in range(stats["frames"])],
        "lists": {
            "active": host.frame_list("active").tolist(),
            "inactive": host.frame_list("inactive").tolist(),
            "lazyfree": host.frame_list("lazyfree").tolist(),
            "lazyfree_active": host.frame_list("lazyfree_active").tolist(),
        },
        "slots": [_slot(host.slot_info(i)) for i in range(stats["swap_slots"])],
        "keys": host.frame_key(range(stats["frames"])).tolist(),
        "host": stats,
    }


def _frame(info: Mapping[str, object]) -> tuple[object, ...] | None:
    names = (
        *("list", "guest", "gfn", "tag", "slot", "referenced", "dirty"),
        *("pinned", "locked", "writeback", "shared"),
    )
    return None if info["list"] == "free" else tuple(info[name] for name in names)


def _slot(info: Mapping[str, object]) -> tuple[object, ...] | None:
    free = info["count"] == 0 and info["frame"] is None
    return None if free else (info["count"], info["frame"], info["tag"])


def _guest_snapshot(guest: pgste.Guest) -> dict[str, object]:
    return {
        "pgste": guest.pgste().tolist(),
        "pte": guest.pte().tolist(),
        "dirty": (guest.states() & pgste.State.DIRTY != 0).tolist(),
        "free": guest.is_free().tolist(),
        "content": guest.peek(range(guest.pages)).tolist(),
        "cbrl": [guest.cbrl(vcpu).tolist() for vcpu in range(guest.vcpus)],
        "migration": guest.migration_mode,
        "stats": guest.stats(),
    }


class Pair:
    """One host of the engine and one of the reference, with their guests."""

    def __init__(self, frames: int, swap_slots: int, **config: Any) -> None:
        self.host = pgste.Host(frames, swap_slots, **config)
        self.model: reference.Host
        if config.get("reclaim") == "lru":
            self.model = reference.LruHost(frames, swap_slots, **config)
        elif config.get("reclaim") == "mglru":
            self.model = reference.MglruHost(frames, swap_slots, **config)
        else:
            self.model = reference.Host(frames, swap_slots, **config)
        self.guests: list[tuple[pgste.Guest, reference.Guest]] = []

    def check(self) -> None:
        self.host.validate()
        engine = engine_snapshot(self.host, [guest for guest, _ in self.guests])
        model = model_snapshot(self.model, [guest for _, guest in self.guests])
        assert engine == model
        if isinstance(self.model, reference.MglruHost):
            self._check_generations(self.model)

    def _check_generations(self, model: reference.MglruHost) -> None:
        found: dict[str, Any] = {**self.host.generations()}
        for kind in ("anon", "file"):
            found[kind] = [frames.tolist() for frames in found[kind]]
        for counts in found["protected"]:
            assert counts.pop(0) == 0  # of tier 0
        assert found == model.generations()
        for index, frame in enumerate(model.frames):
            info = self.host.frame_info(index)
            tier = None if frame.gen is None else int(frame.workingset)
            assert (info["generation"], info["tier"]) == (frame.gen, tier)

    def both(self, engine: Callable[[], object], model: Callable[[], object]) -> object:
        expected = outcome(model)
        assert outcome(engine) == expected
        return expected

    # ---- host --------------------------------------------------------------------------

    def create(self, pages: int, **config: Any) -> None:
        engine = pgste.Guest(pages, host=self.host, **config)
        self.guests.append((engine, reference.Guest(pages, self.model, **config)))

    def drop(self, i: int) -> None:
        """The last reference to the engine's guest goes, and with it what it holds."""
        _, model = self.guests.pop(i)
        model.drop()

    def reclaim(self, n: int) -> None:
        self.both(lambda: self.host.reclaim(n), lambda: self.model.reclaim(n))

    def reset_stats(self) -> None:
        self.host.reset_stats()
        self.model.reset_stats()

    # ---- guests ------------------------------------------------------------------------

    def essa(self, i: int, orc: int, gfns: Any, vcpu: int) -> None:
        engine, model = self.guests[i]
        self.both(
            lambda: engine.essa(orc, gfns, vcpu=vcpu),
            lambda: model.essa(orc, plain(gfns), vcpu),
        )

    def free(self, i: int, gfns: Any, order: int, vcpu: int) -> None:
        engine, model = self.guests[i]
        self.both(
            lambda: engine.free(gfns, order=order, vcpu=vcpu),
            lambda: model.free(plain(gfns), order, vcpu),
        )

    def alloc(self, i: int, gfns: Any, order: int, vcpu: int) -> None:
        engine, model = self.guests[i]
        self.both(
            lambda: engine.alloc(gfns, order=order, vcpu=vcpu),
            lambda: model.alloc(plain(gfns), order, vcpu),
        )

    def free_page(self, i: int, gfn: int) -> None:
        engine, model = self.guests[i]
        self.both(lambda: engine.free_page(gfn), lambda: model.free([gfn]))

    def alloc_page(self, i: int, gfn: int) -> None:
        engine, model = self.guests[i]
        self.both(lambda: engine.alloc_page(gfn), lambda: model.alloc([gfn]))

    def write(self, i: int, gfns: Any, tags: Any) -> None:
        """tags: one for each gfn, or an int for all."""
        engine, model = self.guests[i]
        each = [tags] * len(plain(gfns)) if isinstance(tags, int) else list(tags)
        engine_tags = tags if isinstance(tags, int) else np.array(tags, np.uint32)
        self.both(
            lambda: engine.write(gfns, engine_tags),
            lambda: model.write(plain(gfns), each),
        )

    def read(self, i: int, gfns: Any) -> None:
        engine, model = self.guests[i]
        self.both(lambda: engine.read(gfns), lambda: model.read(plain(gfns)))

    def swap_out(self, i: int, gfns: Any) -> None:
        engine, model = self.guests[i]
        self.both(
            lambda: self.host.swap_out(engine, gfns),
            lambda: model.swap_out(plain(gfns)),
        )

    def set_words(
        self, i: int, gfns: Sequence[int], pgste: Sequence[int] | None, pte: Sequence[int] | None
    ) -> None:
        engine, model = self.guests[i]
        engine.set_words(np.array(gfns, np.int64), pgste=_words(pgste), pte=_words(pte))
        for at, gfn in enumerate(gfns):
            model.set_words(
                gfn, None if pgste is None else pgste[at], None if pte is None else pte[at]
            )

    def intercept(self, i: int, vcpu: int) -> None:
        engine, model = self.guests[i]
        self.both(lambda: engine.intercept(vcpu), lambda: model.intercept(vcpu))

    def pin(self, i: int, gfns: Any, on: bool) -> None:
        engine, model = self.guests[i]
        self.both(
            lambda: self.host.pin(engine, gfns, on),
            lambda: sum(model.pin(gfn, on) for gfn in plain(gfns)),
        )

    def set_folio(self, i: int, gfns: Any, what: Any, on: bool) -> None:
        engine, model = self.guests[i]
        self.both(
            lambda: self.host.set_folio(engine, gfns, what, on),
            lambda: sum(model.set_folio(gfn, what, on) for gfn in plain(gfns)),
        )

    def set_changed(self, i: int, gfn: int, on: bool) -> None:
        engine, model = self.guests[i]
        self.both(lambda: engine.set_changed(gfn, on), lambda: model.set_changed(gfn, on))

    def zap(self, i: int, gfn: int) -> None:
        engine, model = self.guests[i]
        self.both(lambda: engine.zap(gfn), lambda: model.zap(gfn))

    def zap_scan(self, i: int) -> None:
        engine, model = self.guests[i]
        self.both(lambda: engine.zap_scan(), lambda: model.zap_scan())

    def reset_cmma(self, i: int) -> None:
        engine, model = self.guests[i]
        self.both(lambda: engine.reset_cmma(), lambda: model.reset_cmma())

    def set_migration(self, i: int, on: bool) -> None:
        engine, model = self.guests[i]
        engine.migration_mode = on
        model.set_migration(on)

    def set_problem_state(self, i: int, vcpu: int, on: bool) -> None:
        engine, model = self.guests[i]
        engine.set_problem_state(vcpu, on)
        model.problem_state[vcpu] = on

    def reset_guest_stats(self, i: int) -> None:
        engine, model = self.guests[i]
        engine.reset_stats()
        model.reset_stats()


def plain(gfns: Any) -> list[int]:
    """A gfns argument of the engine as the list that the reference takes."""
    if isinstance(gfns, int):
        return [gfns]
    return [int(gfn) for gfn in gfns]


def _words(words: Sequence[int] | None) -> Any:
    return None if words is None else np.array(words, np.uint64)
