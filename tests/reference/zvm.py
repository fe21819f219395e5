# SPDX-License-Identifier: MIT
"""z/VM with the whole of guest page hinting: docs/model.md section 10.

Written as the pairs of the 2006-2009 patches name them: a guest state S, U, V, P and a host
state r (resident), p (preserved), z (logically zero); Sr Sp Sz Ur Uz Vr Vz Pr exist.
"""

from __future__ import annotations

from reference.words import POT_VOLATILE, STABLE, UNUSED, VOLATILE

LETTER = {STABLE: "S", UNUSED: "U", POT_VOLATILE: "P", VOLATILE: "V"}
USAGE = {letter: value for value, letter in LETTER.items()}
LEGAL = ("Sr", "Sp", "Sz", "Ur", "Uz", "Vr", "Vz", "Pr")
CONTENT = {"r": 0, "p": 2, "z": 3}

# What each request makes of each legal state; "-" is a request that fails or asks only.
REQUESTS = {
    #     Sr   Sp   Sz   Ur   Uz   Vr   Vz   Pr
    0: "  -    -    -    -    -    -    -    -  ",
    1: "  Sr   Sp   Sz   Sr   Sz   Sr   Sz   Sr ",
    2: "  Ur   Uz   Uz   Ur   Uz   Ur   Uz   Ur ",
    3: "  Vr   Vz   Vz   Vr   Vz   Vr   Vz   Vr ",
    4: "  Pr   Vz   Vz   Pr   Vz   Pr   Vz   Pr ",
    5: "  Sr   Sp   Sz   Sr   Sz   Sr   Sz   Sr ",
    6: "  Sr   Sp   Sz   Sr   Sz   Sr   -    Sr ",
    7: "  Sr   Sp   Sz   Sr   Sz   Sr   Sz   Sr ",
}
# Eviction: of Pr, the first if the guest did not change it, else the second.
EVICTED = {"Sr": "Sp", "Ur": "Uz", "Vr": "Vz"}
EVICTED_CLEAN, EVICTED_CHANGED = "Vz", "Sp"
# Loads and stores: program interruption code.
FAULTS = {"Ur": 0x05, "Uz": 0x05, "Vz": 0x1A}


def request(orc: int, state: str) -> str:
    """The state after a request."""
    new = REQUESTS[orc].split()[LEGAL.index(state)]
    return state if new == "-" else new


def evicted(state: str, changed: bool) -> str:
    """The state after the host took the frame."""
    if state == "Pr":
        return EVICTED_CHANGED if changed else EVICTED_CLEAN
    return EVICTED[state]
