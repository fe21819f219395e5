# SPDX-License-Identifier: MIT
"""Variants of the core's scan kernels, each for the CPUs that can run it."""

from pgste._engine._c cimport bool_t, pgste_isa_list, pgste_isa_name, pgste_isa_select
from pgste._engine.names cimport shown

import os

from pgste.errors import ArgumentTypeError, UnknownNameError


def isa_name() -> str:
    """Name of the CPU variant of the scan kernels that is in force."""
    return pgste_isa_name().decode()


def isa_variants() -> list:
    """The CPU variants that are compiled in, best first, and whether this CPU runs them.

    Returns
    -------
    list of (str, bool)
    """
    cdef bool_t supported = False
    cdef unsigned i = 0
    cdef list variants = []
    while pgste_isa_list(i, &supported) != NULL:
        variants.append((pgste_isa_list(i, &supported).decode(), bool(supported)))
        i += 1
    return variants


def isa_select(name):
    """Put a CPU variant of the scan kernels in force.

    Results do not depend on the variant, only speed does.  Not for use while other threads
    are inside a call of this package.

    Parameters
    ----------
    name : str
        One of `isa_variants`, or ``""`` for what the environment variable ``PGSTE_ISA``
        says, or for the best one if that is not set.

    Raises
    ------
    UnknownNameError
        Unknown here, or this CPU cannot run it; the variant in force stays.
    """
    if not isinstance(name, str):
        raise ArgumentTypeError(f"name: {shown(name)} is not a str")
    name = str.__str__(name)
    if pgste_isa_select(name.encode("utf-8", "replace")) < 0:
        raise UnknownNameError(f"name: {isa_refusal(name)}")


cdef str isa_refusal(str name):
    """Why a CPU variant is refused."""
    cdef list variants = isa_variants()
    choices = ", ".join([repr(known) for known, supported in variants if supported])
    if name in dict(variants):
        return f"this CPU cannot run the variant {shown(name)}; it can run {choices}"
    return f"no CPU variant {shown(name)}; this CPU can run {choices}"


if pgste_isa_select(NULL) < 0:
    raise ImportError(
        f"environment variable PGSTE_ISA: {isa_refusal(os.environ.get('PGSTE_ISA', ''))}"
    )
