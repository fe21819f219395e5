# SPDX-License-Identifier: MIT
"""Several threads, hosts and guests, random calls, and objects that are closed meanwhile.

Nothing may crash or hang, only exceptions of the package come out, and at the end every host
passes `Host.validate` and its counts agree with what its guests hold.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SECONDS = float(os.environ.get("PGSTE_STRESS_SECONDS", "4"))
TIMEOUT = 60 + 5 * SECONDS

SCRIPT = """
import collections
import faulthandler
import io
import random
import sys
import threading
import time

import numpy as np

import pgste
from pgste import Guest, Host, Replay, migration

seed, seconds = int(sys.argv[1]), float(sys.argv[2])
faulthandler.enable()
faulthandler.dump_traceback_later(seconds + 40, exit=True)
sys.setswitchinterval(1e-5)
PAGES = 2048
MECHANISMS = ("none", "cmma", "cmma", "madv_free", "madv_dontneed", "reporting")
hosts = [Host(600, 8000, low=4, high=40), Host(3000, 3000), Host(100, 0)]
guests = []
lock = threading.Lock()
calls, errors, faults = collections.Counter(), collections.Counter(), []


def new_guest(rng):
    kind = rng.choice(MECHANISMS)
    guest = Guest(PAGES, rng.choice(hosts), kind, vcpus=rng.choice((1, 3)),
                  strict=rng.random() < 0.2, generation=rng.choice(("pgtable", "dat")))
    with lock:
        guests.append(guest)
    return guest


def some_gfns(rng):
    start = rng.randrange(PAGES)
    if rng.random() < 0.5:
        return range(start, min(PAGES, start + rng.choice((1, 10, 500))))
    return np.random.default_rng(start).integers(0, PAGES, rng.choice((1, 30, 900)))


def one(rng, guest):
    vcpu = rng.randrange(guest.vcpus)
    gfns = some_gfns(rng)
    host = guest.host
    name = rng.choice(tuple(CALLS))
    calls[name] += 1
    CALLS[name](rng, guest, host, gfns, vcpu)


CALLS = {
    "essa": lambda rng, guest, host, gfns, vcpu: guest.essa(rng.randrange(7), gfns, vcpu),
    "essa_page": lambda rng, guest, host, gfns, vcpu: guest.essa_page(1, int(gfns[0]), vcpu),
    "free": lambda rng, guest, host, gfns, vcpu: guest.free(gfns, vcpu=vcpu),
    "alloc": lambda rng, guest, host, gfns, vcpu: guest.alloc(gfns, vcpu=vcpu),
    "blocks": lambda rng, guest, host, gfns, vcpu: guest.free(range(0, 64, 8), 3, vcpu),
    "free_page": lambda rng, guest, host, gfns, vcpu: guest.free_page(int(gfns[0])),
    "alloc_page": lambda rng, guest, host, gfns, vcpu: guest.alloc_page(int(gfns[0])),
    "write": lambda rng, guest, host, gfns, vcpu: guest.write(gfns, rng.randrange(99)),
    "read": lambda rng, guest, host, gfns, vcpu: guest.read(gfns),
    "peek": lambda rng, guest, host, gfns, vcpu: guest.peek(gfns),
    "words": lambda rng, guest, host, gfns, vcpu: guest.set_words(gfns, guest.pgste(gfns)),
    "states": lambda rng, guest, host, gfns, vcpu: guest.states(),
    "zap": lambda rng, guest, host, gfns, vcpu: guest.zap(int(gfns[0])),
    "zap_scan": lambda rng, guest, host, gfns, vcpu: guest.zap_scan(rng.choice((1, 4))),
    "find": lambda rng, guest, host, gfns, vcpu: guest.find(3, 1, threads=rng.choice((1, 4))),
    "count": lambda rng, guest, host, gfns, vcpu: guest.count_states(),
    "cbrl": lambda rng, guest, host, gfns, vcpu: guest.cbrl(vcpu),
    "set key": lambda rng, guest, host, gfns, vcpu: guest.set_storage_key(
        gfns, rng.randrange(256), vcpu=rng.choice((vcpu, None))),
    "key": lambda rng, guest, host, gfns, vcpu: guest.get_storage_key(gfns),
    "cond key": lambda rng, guest, host, gfns, vcpu: guest.cond_set_storage_key(
        gfns, rng.randrange(256), rng.random() < 0.5, rng.random() < 0.5, vcpu=vcpu),
    "reset reference": lambda rng, guest, host, gfns, vcpu: guest.reset_reference(
        gfns, vcpu=vcpu),
    "intercept": lambda rng, guest, host, gfns, vcpu: guest.intercept(vcpu),
    "reset": lambda rng, guest, host, gfns, vcpu: guest.reset_cmma(),
    "migration": lambda rng, guest, host, gfns, vcpu: setattr(
        guest, "migration_mode", rng.random() < 0.5),
    "advance": lambda rng, guest, host, gfns, vcpu: guest.advance(10**9),
    "stats": lambda rng, guest, host, gfns, vcpu: (guest.stats(), host.stats()),
    "swap_out": lambda rng, guest, host, gfns, vcpu: host.swap_out(guest, gfns),
    "pin": lambda rng, guest, host, gfns, vcpu: host.pin(guest, gfns, rng.random() < 0.3),
    "reclaim": lambda rng, guest, host, gfns, vcpu: host.reclaim(rng.randrange(200)),
    "lists": lambda rng, guest, host, gfns, vcpu: host.frame_list("active"),
    "validate": lambda rng, guest, host, gfns, vcpu: host.validate(),
    "replay": lambda rng, guest, host, gfns, vcpu: Replay(
        guest, np.asarray(gfns, np.uint64) << np.uint64(8)).run(),
    "reset keys": lambda rng, guest, host, gfns, vcpu: guest.reset_storage_keys(),
    "frame keys": lambda rng, guest, host, gfns, vcpu: host.set_frame_key(range(50), 6),
    "xchg_pte": lambda rng, guest, host, gfns, vcpu: guest.xchg_pte(gfns, 0x400),
    "age": lambda rng, guest, host, gfns, vcpu: guest.age(gfns),
    "dirty": lambda rng, guest, host, gfns, vcpu: guest.test_and_clear_dirty(gfns),
    "notify": lambda rng, guest, host, gfns, vcpu: guest.set_notify(
        gfns, pgste.PgsteBits.IN if guest.generation == "pgtable" else pgste.PgsteBits.DAT_VSIE),
    "notifications": lambda rng, guest, host, gfns, vcpu: guest.notifications(),
    "unmap": lambda rng, guest, host, gfns, vcpu: guest.notifier_unmap(gfns, "set"),
    "host_ptes": lambda rng, guest, host, gfns, vcpu: guest.set_host_ptes(gfns, 0x400),
    "add_slot": lambda rng, guest, host, gfns, vcpu: guest.add_slot(
        rng.randrange(PAGES), 64, None, True),
    "move_slot": lambda rng, guest, host, gfns, vcpu: guest.move_slot(
        rng.choice([*guest.slots, 7]), rng.randrange(PAGES)),
    "delete_slot": lambda rng, guest, host, gfns, vcpu: guest.delete_slot(
        rng.choice([*guest.slots, 7])),
    "split": lambda rng, guest, host, gfns, vcpu: (
        guest.delete_slot(0), guest.add_slot(0, PAGES // 2, None, True),
        guest.add_slot(PAGES // 2 + 9, 900, None, True)),
    "get_cmma_bits": lambda rng, guest, host, gfns, vcpu: guest.get_cmma_bits(
        int(gfns[0]), 200, peek=rng.random() < 0.5),
    "set_cmma_bits": lambda rng, guest, host, gfns, vcpu: guest.set_cmma_bits(
        int(gfns[0]), bytes(range(64)), 2**64 - 1),
    "save": lambda rng, guest, host, gfns, vcpu: migration.save(guest, io.BytesIO(), iterations=2),
    "close": lambda rng, guest, host, gfns, vcpu: rng.random() < 0.2 and guest.close(),
}


def body(number):
    rng = random.Random(seed * 100 + number)
    while time.monotonic() < deadline:
        with lock:
            guest = rng.choice(guests) if guests else None
        try:
            if guest is None or rng.random() < 0.01:
                guest = new_guest(rng)
            one(rng, guest)
        except pgste.ValidationError as error:
            faults.append(error)
        except pgste.PgsteError as error:
            errors[type(error).__name__] += 1
            if isinstance(error, pgste.GuestClosedError):
                with lock:
                    if guest in guests:
                        guests.remove(guest)
                if rng.random() < 0.02:  # a host goes as well, with all its guests
                    at = rng.randrange(len(hosts))
                    old, hosts[at] = hosts[at], Host(600, 2000)
                    old.close()
        except BaseException as error:
            faults.append(error)


for _ in range(6):
    new_guest(random.Random(seed))
deadline = time.monotonic() + seconds
threads = [threading.Thread(target=body, args=(number,)) for number in range(5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not faults, faults[:3]
for host in {guest.host for guest in guests} | set(hosts):
    try:
        host.validate()
        stats = host.stats()
        used = stats["frames"] - stats["frames_free"]
        lists = sum(len(host.frame_list(name)) for name in ("active", "inactive", "lazyfree"))
        assert used == lists, (used, lists)
        host.close()
    except pgste.GuestClosedError:
        pass
print(sum(calls.values()), "calls of", len(calls), "kinds,", sum(errors.values()), "refused:",
      dict(errors))
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_stress(seed: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(seed), str(SECONDS)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
