# SPDX-License-Identifier: MIT
"""The exhaustive search of src_c/search/ as one function; pgste.guarantees is for users."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from pgste._engine._c cimport (
    PGSTE_NR_QUESTIONS,
    PGSTE_SEARCH_STEPS,
    bool_t,
    pgste_action_name,
    pgste_action_words,
    pgste_advice,
    pgste_generation,
    pgste_poison,
    pgste_question,
    pgste_question_info,
    pgste_rearm,
    pgste_revision,
    pgste_search,
    pgste_search_config,
    pgste_search_result,
    pgste_seen,
)
from pgste._engine.names cimport names_of, strerror
from pgste._engine.watch cimport (
    Progress,
    PyThreadState,
    watch_begin,
    watch_end,
    watch_goes_on,
    watch_raise,
)

from pgste._engine.names import (
    ADVICES,
    GENERATIONS,
    POISONS,
    REARM_RULES,
    REVISIONS,
    REWRITES,
)
from pgste.errors import BY_CODE, ModelMemoryError

ACTIONS = names_of(pgste_action_name)
#: Words for a step of a run, with places in braces for what it did.
ACTION_WORDS = dict(zip(ACTIONS, names_of(pgste_action_words)))


def _questions():
    cdef const pgste_question_info *info
    cdef unsigned i = 0
    cdef list rows = []
    info = pgste_question(i)
    while info != NULL:
        fields = info.name, info.text, info.found, info.good, info.stem
        rows.append(tuple([field.decode() for field in fields]))
        i += 1
        info = pgste_question(i)
    return tuple(rows)


#: Name, text, answer if it is found, answer that is good, stem: rows of the core's table.
QUESTION_ROWS = _questions()
QUESTIONS = tuple([row[0] for row in QUESTION_ROWS])


cdef list _seen(const pgste_seen *seen):
    """The state bytes whose bits are set."""
    cdef unsigned state
    return [state for state in range(256) if seen.bits[state // 64] >> (state % 64) & 1]


# What the core's question needs to know.
cdef struct Asked:
    uint64_t *searched
    uint64_t *found
    const pgste_search_result *result
    uint64_t until  # questions that are asked, a bit each; 0: all, and every state
    uint32_t below  # runs that are longer are of no use
    bint enough


# Runs are found by length: those that are still to come are as long as the farthest state.
cdef bool_t goes_on_for(Asked *asked) noexcept nogil:
    cdef int q
    if not asked.until:
        return True
    if asked.result.depth >= asked.below:
        return False
    for q in range(PGSTE_NR_QUESTIONS):
        if asked.until >> q & 1 and not asked.result.answers[q].nr_steps:
            return True
    return False


cdef bool_t go_on(void *data, uint64_t states) noexcept nogil:
    cdef Asked *asked = <Asked *>data
    asked.searched[0] = states
    asked.found[0] = asked.result.states
    if not goes_on_for(asked):
        asked.enough = True
        return False
    return watch_goes_on()


def search(
    str mechanism not None, str generation not None, str revision not None,
    str rearm not None, str poison not None, tuple notifiers not None, bint shifted,
    str advice not None, bint busy,
    int pages, int frames, int swap_slots, int cbrl_entries, int vcpus, bint obedient,
    max_states, Progress progress=None, bint plain=False,
    tuple until=(), uint32_t below=PGSTE_SEARCH_STEPS, uint32_t threads=1,
    bint memfd=False, bint pinned=False, bint mlock=False, bint validated=False,
):
    """Search one system; arguments as in `struct pgste_search_config`, unchecked by this layer.

    `notifiers` are names of REWRITES.

    `progress` is kept up to date while the search runs.  With names of questions in `until`, it
    ends soon after each of them has its run, or when runs become as long as `below`.  What it
    finds does not depend on `threads`.

    Returns
    -------
    dict
        ``states``, ``transitions``, ``depth``, ``state_bytes`` (memory for the states, with room
        for more), ``seen`` (state bytes that some page had),
        ``met_unused``, ``met_stable`` (those that these ESSA requests met), ``all`` (whether every
        state was searched), and ``answers``: for each question's name the
        premises counted and the steps, (action, gfn) each, of the shortest run, None if no
        state answers it with yes.
    """
    cdef pgste_search_config config
    cdef pgste_search_result *result
    cdef Asked asked
    cdef PyThreadState *ts
    cdef int error
    cdef uint32_t i, q
    if progress is None:
        progress = Progress()
    encoded = mechanism.encode()
    config.mechanism = encoded
    config.generation = <pgste_generation><int>GENERATIONS.index(generation)
    config.revision = <pgste_revision><int>REVISIONS.index(revision)
    config.rearm = <pgste_rearm><int>REARM_RULES.index(rearm)
    config.poison = <pgste_poison><int>POISONS.index(poison)
    config.notifiers = 0
    for rewrite in notifiers:
        config.notifiers |= 1u << <int>REWRITES.index(rewrite)
    config.shifted = shifted
    config.advice = <pgste_advice><int>ADVICES.index(advice)
    config.busy = busy
    config.memfd = memfd
    config.mlock = mlock
    config.pinned = pinned
    config.validated = validated
    config.nr_pages = pages
    config.nr_frames = frames
    config.nr_swap_slots = swap_slots
    config.cbrl_entries = cbrl_entries
    config.nr_vcpus = vcpus
    config.obedient = obedient
    config.plain = plain
    config.max_states = max_states
    config.threads = threads
    result = <pgste_search_result *>calloc(1, sizeof(pgste_search_result))
    if result == NULL:
        raise ModelMemoryError("no memory for the result of a search")
    asked.searched = &progress.searched
    asked.found = &progress.found
    asked.result = result
    asked.until = 0
    for name in until:
        asked.until |= <uint64_t>1 << <int>QUESTIONS.index(name)
    asked.below = below
    asked.enough = False
    config.go_on = go_on
    config.data = &asked
    try:
        ts = watch_begin(NULL)
        error = pgste_search(&config, result)
        if watch_end(ts):
            watch_raise()
        progress.searched = progress.found = result.states
        if error < 0 and not asked.enough:
            raise BY_CODE[error](
                f"search of {mechanism} ({generation}), {pages} pages: "
                + strerror(error)
            )
        answers = {}
        for q in range(len(QUESTIONS)):
            nr = result.answers[q].nr_steps
            if nr > PGSTE_SEARCH_STEPS:
                raise ModelMemoryError(f"the shortest run for {QUESTIONS[q]} has {nr} steps")
            steps = [
                (ACTIONS[result.answers[q].steps[i].action], result.answers[q].steps[i].gfn)
                for i in range(nr)
            ]
            answers[QUESTIONS[q]] = (result.answers[q].premises, steps or None)
        return {
            "states": result.states,
            "transitions": result.transitions,
            "depth": result.depth,
            "state_bytes": result.state_bytes,
            "seen": _seen(&result.seen),
            "met_unused": _seen(&result.met_unused),
            "met_stable": _seen(&result.met_stable),
            "all": not asked.enough,
            "answers": answers,
        }
    finally:
        free(result)
