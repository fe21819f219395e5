# SPDX-License-Identifier: MIT
"""Words and states of a guest's pages: to look at, to load, to count and to search."""

cimport cython
cimport pgste._engine._numpy as cnp
from libc.stdint cimport UINT64_MAX, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from pgste._engine._c cimport (
    PGSTE_E_NOMEM,
    PGSTE_GFN_RANGE,
    pgste_count_states,
    pgste_count_zappable,
    pgste_find,
    pgste_get_free,
    pgste_get_host_ptes,
    pgste_get_states,
    pgste_get_words,
    pgste_gfns,
    pgste_hold_host_locks,
    pgste_host_pte_get_stats,
    pgste_host_pte_stats,
    pgste_host_pte_stats_name,
    pgste_notifier_unmap,
    pgste_rewrite,
    pgste_set_contention,
    pgste_set_host_ptes,
    pgste_set_words,
    pgste_state_counts,
)
from pgste._engine.arguments cimport (
    Gfns,
    boolean,
    choice,
    gfns_argument,
    integer,
    new_array,
    quick_uint64,
    threads_argument,
    values_for,
)
from pgste._engine.member cimport Member
from pgste._engine.names cimport names_of, shown, with_names
from pgste._engine.unit cimport PyThreadState

from pgste._engine.names import REWRITES
from pgste.errors import ArgumentError, ArgumentTypeError

cdef tuple HOST_PTE_STATS = names_of(pgste_host_pte_stats_name)
cdef tuple USAGES = ("stable", "unused", "pot_volatile", "volatile")
cdef tuple CONTENTS = ("resident", "preserved", "zero")


@cython.no_gc_clear
cdef class PageTable(Member):
    """The part of `Guest` that is about PGSTEs and PTEs, and the states that they make."""

    def pgste(self, gfns=None):
        """PGSTEs in the kernel's format (`PgsteBits`); None is every page.

        Returns
        -------
        ndarray of uint64
        """
        return self.words(gfns, False)

    def pte(self, gfns=None):
        """PTEs in the kernel's format (`PteBits`); None is every page.

        Returns
        -------
        ndarray of uint64
        """
        return self.words(gfns, True)

    cdef object words(self, object gfns, bint pte):
        cdef pgste_gfns one  # a Gfns costs as much as the rest of the call
        cdef Gfns pages
        one.type = PGSTE_GFN_RANGE
        one.first = 0
        one.nr = 1
        if quick_uint64(gfns, &one.first) and one.first < self.nr_pages:
            return self.words_of(&one, None, pte)
        pages = gfns_argument(slice(None) if gfns is None else gfns, self.nr_pages)
        return self.words_of(&pages.c, pages, pte)

    cdef object words_of(self, const pgste_gfns *gfns, Gfns pages, bint pte):
        cdef PyThreadState *ts
        cdef int error
        words = new_array(gfns.nr, cnp.NPY_UINT64)
        cdef uint64_t *data = <uint64_t *>cnp.array_data(words)
        ts = self.begin(gfns.nr)
        error = pgste_get_words(self.c, gfns, NULL if pte else data, data if pte else NULL)
        self.end(ts)
        self.check(error, pages)
        return words

    def set_words(self, gfns, pgste=None, pte=None):
        """Load words in the kernel's format; see "Foreign PTEs" in docs/model.md.

        What a PTE that changes held is given back to the host.

        Parameters
        ----------
        gfns : int, range, slice or array of int
            Pages.
        pgste, pte : int or array of int, optional
            A word for each gfn, or one for all, 0 .. 2**64 - 1; None leaves them as they
            are.  PCL in a PGSTE is dropped.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef unsigned pgste_step = 0, pte_step = 0
        cdef uint64_t *pgste_data = NULL
        cdef uint64_t *pte_data = NULL
        cdef PyThreadState *ts
        cdef int error
        if pgste is not None:
            pgste = values_for(pgste, "pgste", pages.c.nr, cnp.NPY_UINT64, &pgste_step)
            pgste_data = <uint64_t *>cnp.array_data(pgste)
        if pte is not None:
            pte = values_for(pte, "pte", pages.c.nr, cnp.NPY_UINT64, &pte_step)
            pte_data = <uint64_t *>cnp.array_data(pte)
        ts = self.begin(pages.c.nr)
        error = pgste_set_words(
            self.c, &pages.c, pgste_data, pgste_step, pte_data, pte_step
        )
        self.end(ts)
        self.check(error, pages)

    # ---- the host's own PTEs (generation "dat")

    cdef int two_tables(self) except -1:
        if not self.dat:
            raise ArgumentError(
                f"generation: {self.generation!r} has one table, which host and guest share"
            )
        return 0

    def host_ptes(self, gfns=None):
        """The host's own PTEs in the kernel's format; None is every page.

        KVM of Linux v7.0 on keeps the guest's PTEs beside the host's (docs/dat.md).  In the
        other generations this is what `pte` gives.

        Returns
        -------
        ndarray of uint64
        """
        cdef Gfns pages = gfns_argument(slice(None) if gfns is None else gfns, self.nr_pages)
        cdef PyThreadState *ts
        cdef int error
        words = new_array(pages.c.nr, cnp.NPY_UINT64)
        cdef uint64_t *data = <uint64_t *>cnp.array_data(words)
        ts = self.begin(pages.c.nr)
        error = pgste_get_host_ptes(self.c, &pages.c, data)
        self.end(ts)
        self.check(error, pages)
        return words

    def set_host_ptes(self, gfns, words):
        """Change the host's own PTEs, as some part of the host would; generation "dat" only.

        A present word of the frame that is there changes its other bits and leaves the
        guest's PTE.  With any other change goes an MMU notifier: the guest's PTE becomes
        empty, and the word means what it means in `set_words`.

        Parameters
        ----------
        gfns : int, range, slice or array of int
            Pages.
        words : int or array of int
            A word for each gfn, or one for all, 0 .. 2**64 - 1.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef unsigned step = 0
        cdef uint64_t *data
        cdef PyThreadState *ts
        cdef int error
        self.two_tables()
        words = values_for(words, "words", pages.c.nr, cnp.NPY_UINT64, &step)
        data = <uint64_t *>cnp.array_data(words)
        ts = self.begin(pages.c.nr)
        error = pgste_set_host_ptes(self.c, &pages.c, data, step)
        self.end(ts)
        self.check(error, pages)

    def notifier_unmap(self, gfns, rewrite="none"):
        """The MMU notifier of an operation of the host on these pages (`gmap_unmap_gfn_range`).

        The guest's PTE becomes empty.  If it was present and the page is unused, the host's own
        PTE gets UNUSED, unless its lock is held.  Generation "dat" only.

        Parameters
        ----------
        gfns : int, range, slice or array of int
            Pages.
        rewrite : {"none", "xchg", "set"}
            What the operation then does to a host PTE that is present: nothing; it is written
            by ``ptep_xchg_*`` or ``ptep_modify_prot_commit`` (mprotect, NUMA balancing, KSM),
            which left UNUSED in v7.0; or by ``set_ptes`` (a page that was moved).

        Returns
        -------
        int
            Pages whose guest PTE was present.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef pgste_rewrite how = <pgste_rewrite><int>choice(rewrite, "rewrite", REWRITES)
        cdef PyThreadState *ts
        cdef int64_t unmapped
        self.two_tables()
        ts = self.begin(pages.c.nr)
        unmapped = pgste_notifier_unmap(self.c, &pages.c, how)
        self.end(ts)
        self.check(unmapped, pages)
        return unmapped

    def hold_host_locks(self, gfns, on=True):
        """Hold the locks of the host's page tables (256 PTEs each) that have these pages, or not.

        Who only tries such a lock goes without it: UNUSED is not set, and (7.1 on) an entry of
        a CBRL is not zapped.  Generation "dat" only.
        """
        cdef Gfns pages = gfns_argument(gfns, self.nr_pages)
        cdef bint held = boolean(on, "on")
        cdef PyThreadState *ts
        cdef int error
        self.two_tables()
        ts = self.begin(pages.c.nr)
        error = pgste_hold_host_locks(self.c, &pages.c, held)
        self.end(ts)
        self.check(error, pages)

    def set_contention(self, rate):
        """Let a share of the tries of locks that nobody holds fail; generation "dat" only.

        Parameters
        ----------
        rate : float
            0 (a new guest's) to 1.  Failures are spread evenly: of 0.25 every fourth try.
        """
        cdef double share
        cdef int error
        if isinstance(rate, bool) or not hasattr(type(rate), "__float__"):
            raise ArgumentTypeError(f"rate: {shown(rate)} is not a number")
        try:
            share = rate
        except OverflowError:
            share = -1
        except (TypeError, ValueError) as error_of_rate:
            raise ArgumentTypeError(f"rate: {shown(rate)} is not a number") from error_of_rate
        if not 0 <= share <= 1:
            raise ArgumentError(f"rate: {shown(rate)} is not in 0 .. 1")
        self.two_tables()
        self.begin(0)
        error = pgste_set_contention(self.c, <uint64_t>(share * 4294967296.0 + 0.5))
        self.end(NULL)
        self.check(error)

    def host_pte_stats(self):
        """Counters of what happens between the two tables, since `reset_stats`; else all 0.

        Returns
        -------
        dict of str to int
            "notifier_unmaps", "lock_tries", "lock_failures", "unused_swap_outs" (unused pages
            that reclaim wrote to swap all the same) and "used_discards" (pages in use that it
            dropped, because of an UNUSED that lingered).
        """
        cdef pgste_host_pte_stats stats
        self.begin(0)
        pgste_host_pte_get_stats(self.c, &stats)
        self.end(NULL)
        return with_names(HOST_PTE_STATS, &stats)

    # ---- states

    def states(self, gfns=None):
        """Packed state bytes (`State`); None is every page.

        Returns
        -------
        ndarray of uint8
        """
        cdef Gfns pages = gfns_argument(slice(None) if gfns is None else gfns, self.nr_pages)
        cdef PyThreadState *ts
        cdef int error
        states = new_array(pages.c.nr, cnp.NPY_UINT8)
        cdef uint8_t *data = <uint8_t *>cnp.array_data(states)
        ts = self.begin(pages.c.nr)
        error = pgste_get_states(self.c, &pages.c, data)
        self.end(ts)
        self.check(error, pages)
        return states

    def is_free(self, gfns=None):
        """Whether the guest's allocator has each page free; None is every page.

        Returns
        -------
        ndarray of bool
        """
        cdef Gfns pages = gfns_argument(slice(None) if gfns is None else gfns, self.nr_pages)
        cdef PyThreadState *ts
        cdef int error
        is_free = new_array(pages.c.nr, cnp.NPY_BOOL)
        cdef uint8_t *data = <uint8_t *>cnp.array_data(is_free)
        ts = self.begin(pages.c.nr)
        error = pgste_get_free(self.c, &pages.c, data)
        self.end(ts)
        self.check(error, pages)
        return is_free

    def count_zappable(self, threads=1):
        """Pages that `zap_scan` would zap now; `threads` as there."""
        cdef unsigned nr_threads = threads_argument(threads)
        cdef uint64_t zappable
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        zappable = pgste_count_zappable(self.c, nr_threads)
        self.end(ts)
        return zappable

    def count_states(self, threads=1):
        """Pages in each state.

        Parameters
        ----------
        threads : int
            How many threads may count, 1 .. 64; the result is the same.

        Returns
        -------
        dict
            For each usage ("stable", "unused", "pot_volatile", "volatile") a dict of
            "resident", "preserved" and "zero", the content as ESSA tells it; these add up to
            all pages.  And over all of them: "nodat", "dirty" (attribute-dirty), "swap" (the
            PTE is a swap entry), "zappable".
        """
        cdef unsigned nr_threads = threads_argument(threads)
        cdef pgste_state_counts counts
        cdef PyThreadState *ts = self.begin(self.nr_pages)
        pgste_count_states(self.c, nr_threads, &counts)
        self.end(ts)
        states = {
            usage: {content: counts.pages[i][j] for j, content in enumerate(CONTENTS)}
            for i, usage in enumerate(USAGES)
        }
        return {
            **states,
            "nodat": counts.nodat,
            "dirty": counts.dirty,
            "swap": counts.swap,
            "zappable": counts.zappable,
        }

    def find(self, mask, value, start=0, limit=None, threads=1):
        """Pages whose packed state byte has the bits `value` under `mask`.

        Parameters
        ----------
        mask, value : int
            Bits of `State`; `value` has none outside `mask`.
        start : int
            First gfn to look at, 0 .. pages.
        limit : int, optional
            How many at most; default all.
        threads : int
            How many threads may search, 1 .. 64; the result is the same.

        Returns
        -------
        ndarray of uint64
            gfns, ascending.
        """
        cdef uint8_t bits = <uint8_t>integer(mask, "mask", 0, 255)
        cdef uint8_t wanted = <uint8_t>integer(value, "value", 0, 255)
        cdef uint64_t at = integer(start, "start", 0, self.nr_pages)
        cdef unsigned nr_threads = threads_argument(threads)
        cdef uint64_t most = self.nr_pages
        cdef uint64_t nr = 0, room = 0
        cdef uint64_t *found = NULL
        cdef uint64_t *larger
        cdef int64_t more = 0
        cdef PyThreadState *ts
        if wanted & ~bits:
            raise ArgumentError(f"value: {wanted:#x} has bits outside the mask {bits:#x}")
        if limit is not None:
            most = min(most, integer(limit, "limit", 0, UINT64_MAX))
        try:
            ts = self.begin(self.nr_pages)
            # No array is made in here: a finalizer that ran then could want this host.
            while nr < most and at < self.nr_pages:
                # threads search the whole table at once, and need room for all of it
                room = most if nr_threads > 1 else min(most, max(room * 4, <uint64_t>4096))
                larger = <uint64_t *>realloc(found, room * sizeof(uint64_t))
                if larger == NULL:
                    more = PGSTE_E_NOMEM
                    break
                found = larger
                more = pgste_find(
                    self.c, nr_threads, at, bits, wanted, found + nr, room - nr
                )
                if more < 0:
                    break
                nr += more
                if nr < room:
                    break
                at = found[nr - 1] + 1
            self.end(ts)
            self.check(more, None, "mask")
            gfns = new_array(nr, cnp.NPY_UINT64)
            if nr:
                memcpy(cnp.array_data(gfns), found, nr * sizeof(uint64_t))
            return gfns
        finally:
            free(found)
