# SPDX-License-Identifier: MIT
"""Names, numbers and sentences that the C core tells, and its variants for CPUs."""

from libc.stdint cimport uint64_t

from pgste._engine._c cimport (
    PGSTE_E_LAST,
    PGSTE_VERSION,
    bool_t,
    pgste_generation,
    pgste_generation_flavour,
    pgste_generation_meaning,
    pgste_generation_name,
    pgste_isa_list,
    pgste_isa_name,
    pgste_isa_select,
    pgste_mechanism_allowed,
    pgste_mechanism_name,
    pgste_revision_name,
    pgste_rewrite_name,
    pgste_strerror,
)

import os

from pgste.errors import ArgumentError, ArgumentTypeError, UnknownNameError

VERSION = PGSTE_VERSION.decode()
ERROR_LAST = <int>PGSTE_E_LAST

# In the order of enum pgste_rearm, enum pgste_reclaim, enum pgste_poison and enum pgste_advice.
REARM_RULES = ("referenced", "dirty", "discard")
RECLAIM_MODELS = ("simple", "lru", "mglru")
POISONS = ("none", "init_on_free", "page_poison")
ADVICES = ("madv_dontneed", "madv_free")
#: Migratetypes of pageblocks, in the order of enum pgste_migratetype.
MIGRATETYPES = ("unmovable", "movable", "reclaimable", "highatomic", "cma", "isolate")
#: What a folio may be in, in the order of enum pgste_folio.
FOLIOS = ("pinned", "locked", "writeback", "shared")


cpdef str shown(object value):
    """A value as messages show it: of any length, with any __repr__."""
    try:
        text = repr(value)
    except Exception:  # deep nesting, an int of too many digits, a __repr__ that fails
        return f"<{type(value).__name__}>"
    return text if len(text) <= 200 else f"{text[:150]} ... ({len(text)} characters)"


cdef tuple names_of(name_function name):
    """Every name that a C name function tells, in order."""
    cdef unsigned i = 0
    cdef list names = []
    while name(i) != NULL:
        names.append(name(i).decode())
        i += 1
    return tuple(names)


cdef dict with_names(tuple names, const void *values):
    """A C struct of uint64_t as a dict."""
    cdef const uint64_t *value = <const uint64_t *>values
    cdef Py_ssize_t i
    return {names[i]: value[i] for i in range(len(names))}


cdef tuple MECHANISMS = names_of(pgste_mechanism_name)


cpdef str strerror(int error):
    """The core's fixed sentence for an error code."""
    return pgste_strerror(error).decode()


# ---- generations

GENERATIONS = names_of(pgste_generation_name)
REVISIONS = names_of(pgste_revision_name)  # of "dat"
REWRITES = names_of(pgste_rewrite_name)
cdef tuple FLAVOUR_OF = names_of(pgste_generation_flavour)
cdef tuple MEANINGS = names_of(pgste_generation_meaning)


cdef str known(object value, str name, tuple choices):
    """An argument that is one of a few names."""
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name}: {shown(value)} is not a str")
    value = str.__str__(value)  # what a subclass holds, whatever its methods say
    if value not in choices:
        listed = ", ".join([repr(choice) for choice in choices])
        raise UnknownNameError(f"{name}: {shown(value)} is not one of {listed}")
    return value


def generations() -> dict:
    """What each generation models, by name, in the core's order."""
    return dict(zip(GENERATIONS, MEANINGS))


def flavour_of(generation) -> str:
    """The hypervisor of a generation: "kvm" or "zvm"."""
    generation = known(generation, "generation", GENERATIONS)
    return FLAVOUR_OF[GENERATIONS.index(generation)]


def generation_of(generation, flavour=None) -> str:
    """The generation that the two arguments of `Guest` name; None: the flavour is not given.

    A flavour that has one generation only may stand for it, beside the default "pgtable".
    """
    generation = known(generation, "generation", GENERATIONS)
    if flavour is None:
        return generation
    flavour = known(flavour, "flavour", tuple(dict.fromkeys(FLAVOUR_OF)))
    those = [name for name in GENERATIONS if flavour_of(name) == flavour]
    if generation in those:
        return generation
    if generation == GENERATIONS[0] and len(those) == 1:
        return those[0]
    raise ArgumentError(f"generation: {generation!r} is not one of flavour {flavour!r}")


def mechanisms(generation=None) -> tuple:
    """Names of the free-page mechanisms that `Guest` takes, in the core's order.

    With a generation: those that its guests may have.
    """
    if generation is None:
        return MECHANISMS
    generation = known(generation, "generation", GENERATIONS)
    cdef pgste_generation number = <pgste_generation><int>GENERATIONS.index(generation)
    return tuple([n for n in MECHANISMS if pgste_mechanism_allowed(number, n.encode())])


# ---- variants of the scan kernels, each for the CPUs that can run it


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
