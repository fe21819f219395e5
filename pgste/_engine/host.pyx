# SPDX-License-Identifier: MIT
"""`Host`: frames and swap slots, watermarks and reclaim."""

cimport cython
cimport pgste._engine._numpy as cnp
from libc.stdint cimport UINT32_MAX, UINT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from pgste._engine._c cimport (
    PGSTE_E_ARG,
    PGSTE_E_GFN,
    PGSTE_LIST_ACTIVE,
    PGSTE_MAX_CLUSTER,
    PGSTE_MAX_DELAY,
    PGSTE_MAX_FRAMES,
    PGSTE_MAX_SWAPPINESS,
    pgste_folio,
    pgste_frame_info,
    pgste_frame_key,
    pgste_frame_list,
    pgste_generations,
    pgste_host_config,
    pgste_host_defaults,
    pgste_host_flush_stats,
    pgste_host_frame,
    pgste_host_ends,
    pgste_host_free,
    pgste_host_generation,
    pgste_host_generations,
    pgste_host_get_stats,
    pgste_host_list,
    pgste_host_new,
    pgste_host_reclaim,
    pgste_host_reset_stats,
    pgste_host_set_rearm,
    pgste_host_slot,
    pgste_host_stats,
    pgste_host_stats_name,
    pgste_min_free,
    pgste_rearm,
    pgste_reclaim,
    pgste_set_folio,
    pgste_set_frame_key,
    pgste_slot_info,
    pgste_swap_out,
    pgste_validate,
    pgste_watermarks,
    pgste_zone_watermarks,
)
from pgste._engine.arguments cimport (
    Gfns,
    boolean,
    choice,
    gfns_argument,
    integer,
    new_array,
    values_for,
)
from pgste._engine.member cimport Member
from pgste._engine.names cimport names_of, shown, strerror, with_names
from pgste._engine.unit cimport PyThreadState, Unit

from pgste._engine.names import FOLIOS, REARM_RULES, RECLAIM_MODELS
from pgste.errors import BY_CODE, ArgumentError, ArgumentTypeError, ValidationError

cdef tuple STATS = names_of(pgste_host_stats_name)
cdef tuple FRAME_LISTS = ("free", "active", "inactive", "lazyfree", "lazyfree_active")


def zone_watermarks(managed, min=None, scale=10):
    """Watermarks of a zone, as mm/page_alloc.c computes them.

    Parameters
    ----------
    managed : int
        Pages of the zone, 0 .. 2**32 - 2.
    min : int, optional
        The zone's share of ``vm.min_free_kbytes``, in pages.  Default: what the kernel computes
        for a machine of this one zone that has no huge pages.
    scale : int
        ``vm.watermark_scale_factor``, 1 .. 3000.

    Returns
    -------
    tuple of int
        Minimum, low, high.
    """
    cdef uint64_t pages = integer(managed, "managed", 0, PGSTE_MAX_FRAMES)
    cdef unsigned factor = integer(scale, "scale", 1, 3000)
    cdef uint64_t least = pgste_min_free(pages)
    cdef pgste_watermarks marks
    if min is not None:
        least = integer(min, "min", 0, PGSTE_MAX_FRAMES)
    pgste_zone_watermarks(pages, least, factor, &marks)
    return marks.min, marks.low, marks.high


cdef class Host(Unit):
    """Frames and swap slots that guests share (mm/vmscan.c, mm/swapfile.c, simplified).

    Parameters
    ----------
    frames : int
        Frames of 4 KiB, 1 .. 2**32 - 2.
    swap_slots : int
        Swap slots of 4 KiB, 0 .. 2**32 - 2.
    low, high : int, optional
        Watermarks in frames: reclaim runs when at most `low` frames are free, until `high`
        are; ``low < high <= frames``.  Defaults: 0, and ``low + batch`` (at most `frames`).
    batch : int, optional
        Pages that reclaim moves from the active list at a time, 1 .. 2**32 - 1.  Default:
        ``min(32, max(1, frames // 64))``.
    rearm : {"referenced", "dirty", "discard"}
        What reclaim does with a clean lazyfree page that is pinned (`pin`): with
        "referenced" (v5.18 to v6.14) it becomes an ordinary page again, with "dirty" (v6.15
        on) it stays lazyfree, with "discard" (v4.12 to v5.17) it is dropped.
    reclaim : {"simple", "lru", "mglru"}
        How frames are taken from guests.  "simple": one page at a time (docs/model.md).  "lru":
        as Linux 6.18 without MGLRU does it (docs/reclaim.md); with `low` 0 the host is a memory
        cgroup, else a machine.  "mglru": as Linux 6.12 with MGLRU does it, which was not measured
        (docs/reclaim.md).  The defaults of `batch` and `high` are then 32.  `reclaim_model` tells
        it later.  The others are for these two alone:
    swappiness : int
        vm.swappiness, 0 .. 200.
    page_cluster : int
        vm.page-cluster: up to ``2**page_cluster`` pages are read at once, 0 .. 5.
    rotational : bool
        Readahead takes neighbours on the swap device, as on one that rotates; else neighbours in
        the guest.
    write_delay : int
        Steps that a write to swap takes, 0 .. 4096; a step is a page that reclaim looks at, or a
        frame that is asked for.  Until then the page keeps its frame.  0: it is done at once.
    fresh_stats : bool
        Reclaim sees how long its lists are.  False: how long they were at the last
        `flush_stats`, as the kernel, which flushes every 2 seconds.  "mglru" always sees it.
    mm_walk : bool
        "mglru" alone: aging walks page tables (bit 0x0002 of /sys/kernel/mm/lru_gen/enabled).
        False: as where that is off, or the architecture has none, as s390.

    Raises
    ------
    ArgumentError, ArgumentTypeError
    ModelMemoryError
    """

    @cython.embedsignature.format("c")  # into the text of the class
    def __init__(
        self, frames, swap_slots, low=None, high=None, batch=None, *, rearm="referenced",
        reclaim="simple", swappiness=60, page_cluster=3, rotational=True, write_delay=200,
        fresh_stats=True, mm_walk=True
    ):
        cdef pgste_host_config config
        cdef int error, rule
        if self.c != NULL:
            raise ArgumentError("frames: this host exists already, it cannot be made again")
        memset(&config, 0, sizeof(config))
        config.nr_frames = integer(frames, "frames", 1, PGSTE_MAX_FRAMES)
        config.nr_swap_slots = integer(swap_slots, "swap_slots", 0, PGSTE_MAX_FRAMES)
        config.reclaim = <pgste_reclaim>choice(reclaim, "reclaim", RECLAIM_MODELS)
        pgste_host_defaults(&config)
        config.swappiness = integer(swappiness, "swappiness", 0, PGSTE_MAX_SWAPPINESS)
        config.page_cluster = integer(page_cluster, "page_cluster", 0, PGSTE_MAX_CLUSTER)
        config.write_delay = integer(write_delay, "write_delay", 0, PGSTE_MAX_DELAY)
        config.rotational = boolean(rotational, "rotational")
        config.stale_stats = not boolean(fresh_stats, "fresh_stats")
        config.no_mm_walk = not boolean(mm_walk, "mm_walk")
        if batch is not None:
            config.batch = integer(batch, "batch", 1, UINT32_MAX)
        if low is not None:
            config.low = integer(low, "low", 0, config.nr_frames - 1)
        config.high = min(config.low + config.batch, config.nr_frames)
        if high is not None:
            config.high = integer(high, "high", config.low + 1, config.nr_frames)
        rule = choice(rearm, "rearm", REARM_RULES)
        error = pgste_host_new(&config, &self.c)
        if error < 0:
            raise BY_CODE[error](
                f"frames: {frames}, swap_slots: {swap_slots}: {strerror(error)}"
            )
        pgste_host_set_rearm(self.c, <pgste_rearm>rule)
        self.config = config
        self.rearm = rearm
        self.reclaim_model = reclaim

    def __repr__(self):
        state = "" if self.c != NULL else ", closed"
        return f"<pgste.Host: {self.frames} frames, {self.swap_slots} swap slots{state}>"

    @property
    def frames(self):
        """Number of frames."""
        return self.config.nr_frames

    @property
    def swap_slots(self):
        """Number of swap slots."""
        return self.config.nr_swap_slots

    @property
    def low(self):
        """Low watermark in frames."""
        return self.config.low

    @property
    def high(self):
        """High watermark in frames."""
        return self.config.high

    @property
    def batch(self):
        """Pages that reclaim moves from the active list at a time."""
        return self.config.batch

    def close(self):
        """Close the guests that are left, then the host; a second call does nothing."""
        if self.c == NULL:
            return
        self.lock()
        pgste_host_ends(self.c)
        self.sweep()
        while self.nodes != NULL:
            (<Member>self.nodes.owner).detach()
        pgste_host_free(self.c)
        self.c = NULL
        self.unlock()

    def reclaim(self, n):
        """Free frames until `n` more are free, or nothing is left to take (`shrink_folio_list`).

        Returns
        -------
        int
            Frames freed; with "lru" it may be more than `n`, which is then rounded up to batches.
        """
        cdef uint64_t goal = integer(n, "n", 0, UINT64_MAX)
        cdef PyThreadState *ts
        cdef int64_t freed
        goal = min(goal, self.config.nr_frames)
        ts = self.begin_resting(goal)
        freed = pgste_host_reclaim(self.c, goal)
        self.end(ts)
        if freed < 0:
            raise BY_CODE[freed](f"n: {n}: {strerror(<int>freed)}")
        return freed

    def swap_out(self, guest, gfns):
        """Reclaim exactly these pages now (`MADV_PAGEOUT`, mm/madvise.c).

        Unused pages are dropped, clean lazyfree pages discarded, others written to swap.
        Pages without a frame are skipped.

        Parameters
        ----------
        guest : Guest
            A guest of this host.
        gfns : int, range, slice or array of int
            Pages, taken in order; a repeated one is skipped.

        Returns
        -------
        int
            Pages that lost their frame.

        Raises
        ------
        OutOfSwapError, ForeignPteError, GfnError
            Nothing has changed.
        """
        cdef Member member = self.guest_argument(guest)
        cdef Gfns pages = gfns_argument(gfns, member.nr_pages)
        cdef PyThreadState *ts = member.begin(pages.c.nr)
        cdef int64_t out = pgste_swap_out(member.c, &pages.c)
        member.end(ts)
        member.check(out, pages)
        return out

    def pin(self, guest, gfns, on=True):
        """Hold, or let go of, a reference beside the mapping (`get_user_pages`).

        Reclaim leaves pinned pages alone; what it does with lazyfree ones is `rearm`.  The
        reference ends when the page loses its frame.

        Parameters
        ----------
        guest : Guest
            A guest of this host.
        gfns : int, range, slice or array of int
            Pages; those without a frame are skipped.
        on : bool

        Returns
        -------
        int
            Pages that it changed.
        """
        return self.set_folio(guest, gfns, "pinned", on)

    def set_folio(self, guest, gfns, what, on=True):
        """What the folios of pages are in beside their mapping, on or off.

        Reclaim and MADV_FREE look at it (mm/vmscan.c, madvise_free_pte_range).  It ends when
        the page loses its frame.

        Parameters
        ----------
        guest : Guest
            A guest of this host.
        gfns : int, range, slice or array of int
            Pages; those without a frame are skipped.
        what : {"pinned", "locked", "writeback", "shared"}
            "pinned": as `pin`.  "locked": somebody has the folio lock, so reclaim leaves the
            page alone.  "writeback": the page is being written to its swap slot (others are
            skipped), so reclaim makes it active.  "shared": a forked child maps it too, so the
            PTE is write-protected and a store takes a copy (generation pgtable only; the child
            itself is not modelled).  With any of the last three, MADV_FREE passes the page over
            if it is dirty or in the swap cache.
        on : bool

        Returns
        -------
        int
            Pages that it changed.

        Raises
        ------
        UnknownNameError
            No such `what`.
        ArgumentError
            The guest's generation does not have it.
        """
        cdef int which = choice(what, "what", FOLIOS)
        cdef bint value = boolean(on, "on")
        cdef Member member = self.guest_argument(guest)
        cdef Gfns pages = gfns_argument(gfns, member.nr_pages)
        cdef PyThreadState *ts = member.begin(pages.c.nr)
        cdef int64_t changed = pgste_set_folio(member.c, &pages.c, <pgste_folio>which, value)
        member.end(ts)
        if changed == PGSTE_E_ARG:
            raise ArgumentError(f"what: {what!r} is not for guests of this generation")
        member.check(changed, pages)
        return changed

    def set_frame_key(self, frames, keys):
        """Set the real storage keys of frames.

        Parameters
        ----------
        frames : int, range, slice or array of int
            Frames.
        keys : int or array of int
            0 .. 255, one for each frame or one for all: ACC 0xf0, F 0x08, R 0x04, C 0x02.
        """
        cdef Gfns which = gfns_argument(frames, self.config.nr_frames, True, "frames")
        cdef unsigned step = 0
        array = values_for(keys, "keys", which.c.nr, cnp.NPY_UINT8, &step)
        cdef uint8_t *data = <uint8_t *>cnp.array_data(array)
        cdef PyThreadState *ts = self.begin(which.c.nr)
        cdef int error = pgste_set_frame_key(self.c, &which.c, data, step)
        self.end(ts)
        self.frames_check(error, which)

    def frame_key(self, frames):
        """The real storage keys of frames, which guests that use keys set and read.

        Returns
        -------
        ndarray of uint8
        """
        cdef Gfns which = gfns_argument(frames, self.config.nr_frames, True, "frames")
        keys = new_array(which.c.nr, cnp.NPY_UINT8)
        cdef uint8_t *data = <uint8_t *>cnp.array_data(keys)
        cdef PyThreadState *ts = self.begin(which.c.nr)
        cdef int error = pgste_frame_key(self.c, &which.c, data)
        self.end(ts)
        self.frames_check(error, which)
        return keys

    cdef int frames_check(self, int error, Gfns which) except -1:
        if error == PGSTE_E_GFN:
            raise BY_CODE[error](which.outside(self.config.nr_frames, 0, "frames"))
        if error < 0:
            raise BY_CODE[error](f"frames: of {which.c.nr}: {strerror(error)}")
        return 0

    cdef Member guest_argument(self, object guest):
        """A guest of this host."""
        if not isinstance(guest, Member):
            raise ArgumentTypeError(f"guest: {shown(guest)} is not a Guest")
        if (<Member>guest).host is not self:
            raise ArgumentError(f"guest: {shown(guest)} is not a guest of {self!r}")
        return guest

    def stats(self):
        """Sizes of the lists now, and counts of events since the last `reset_stats`.

        Returns
        -------
        dict of str to int
            Pages, frames or slots; the names are those of `struct pgste_host_stats`.
        """
        cdef pgste_host_stats stats
        self.begin(0)
        pgste_host_get_stats(self.c, &stats)
        self.end(NULL)
        return with_names(STATS, &stats)

    def reset_stats(self):
        """Zero the event counts of the host (not those of its guests); peaks restart at now."""
        self.begin(0)
        pgste_host_reset_stats(self.c)
        self.end(NULL)

    def flush_stats(self):
        """Let reclaim see how long its lists are now; see `fresh_stats`."""
        self.begin(0)
        pgste_host_flush_stats(self.c)
        self.end(NULL)

    def frame_info(self, frame):
        """What one frame holds.

        Parameters
        ----------
        frame : int
            Frame, 0 .. frames - 1.

        Returns
        -------
        dict
            ``list`` ("free", "active", "inactive", "lazyfree", "lazyfree_active"), ``guest``
            (`Guest.number`) and ``gfn`` of its page (None when it is free, or was read ahead and
            not used yet), ``tag`` (content), ``slot`` (swap slot
            of the swap cache, None when not in it), ``referenced``, ``dirty``, and what its folio
            is in (`set_folio`): ``pinned``, ``locked``, ``writeback``, ``shared``.  With "mglru"
            ``generation`` (0 .. 3, as in `generations`) and ``tier``, else None.
        """
        cdef pgste_frame_info info
        cdef uint64_t i = integer(frame, "frame", 0, self.config.nr_frames - 1)
        cdef int error
        self.begin(0)
        error = pgste_host_frame(self.c, i, &info)
        self.end(NULL)
        if error < 0:
            raise BY_CODE[error](f"frame: {frame}: {strerror(error)}")
        used = info.mapped
        return {
            "list": FRAME_LISTS[<int>info.list],
            "guest": info.guest if used else None,
            "gfn": info.gfn if used else None,
            "tag": info.tag,
            "slot": info.slot if info.slot != UINT32_MAX else None,
            "referenced": bool(info.referenced),
            "dirty": bool(info.dirty),
            "pinned": bool(info.pinned),
            "locked": bool(info.locked),
            "writeback": bool(info.writeback),
            "shared": bool(info.shared),
            "generation": info.generation if info.generation != UINT32_MAX else None,
            "tier": info.tier if info.generation != UINT32_MAX else None,
        }

    def slot_info(self, slot):
        """What one swap slot holds.

        Parameters
        ----------
        slot : int
            Swap slot, 0 .. swap_slots - 1.

        Returns
        -------
        dict
            ``count`` (uses by PTEs), ``frame`` (cached frame, None without), ``tag``.
        """
        cdef pgste_slot_info info
        cdef uint64_t i
        cdef int error
        if self.config.nr_swap_slots == 0:
            raise ArgumentError(f"slot: {shown(slot)}: the host has no swap slots")
        i = integer(slot, "slot", 0, self.config.nr_swap_slots - 1)
        self.begin(0)
        error = pgste_host_slot(self.c, i, &info)
        self.end(NULL)
        if error < 0:
            raise BY_CODE[error](f"slot: {slot}: {strerror(error)}")
        frame = info.frame if info.frame != UINT32_MAX else None
        return {"count": info.count, "frame": frame, "tag": info.tag}

    def frame_list(self, name):
        """Frames of a list that reclaim looks at, head (newest) first.

        Parameters
        ----------
        name : {"active", "inactive", "lazyfree", "lazyfree_active"}

        Returns
        -------
        ndarray of uint32
        """
        cdef pgste_frame_list which = <pgste_frame_list>(
            PGSTE_LIST_ACTIVE + choice(name, "name", FRAME_LISTS[PGSTE_LIST_ACTIVE:])
        )
        cdef uint64_t room = 0
        cdef int64_t length
        cdef uint32_t *data = NULL
        cdef PyThreadState *ts
        frames = new_array(0, cnp.NPY_UINT32)
        while True:  # the list may have grown while the array was made
            data = <uint32_t *>cnp.array_data(frames)
            ts = self.begin(room)
            length = pgste_host_list(self.c, which, data, room)
            self.end(ts)
            if length < 0:
                raise BY_CODE[length](f"name: {shown(name)}: {strerror(<int>length)}")
            if <uint64_t>length <= room:
                return frames[:length]
            room = length
            frames = new_array(room, cnp.NPY_UINT32)

    def generations(self):
        """Generations of a host of "mglru" (struct lru_gen_folio; docs/reclaim.md).

        Returns
        -------
        dict
            ``max_seq`` and ``min_seq`` (of anonymous and of lazyfree pages): sequence numbers of
            the youngest and oldest generations; a generation's number is that modulo 4.
            ``anon``, ``file``: for each number an array of the frames on its list, newest first;
            a page that was found young stays on its list until eviction comes by.  ``pages``: for
            both kinds how many pages have each number.  ``refaulted``, ``evicted``,
            ``protected``, ``avg_refaulted``, ``avg_total``: for both kinds, by tier.

        Raises
        ------
        ArgumentError
            The host has another model of reclaim.
        """
        cdef pgste_generations all
        cdef int error
        cdef PyThreadState *ts = self.begin(0)
        error = pgste_host_generations(self.c, &all)
        self.end(ts)
        if error < 0:
            raise ArgumentError(f"reclaim: {self.reclaim_model!r} has no generations")
        return {
            "max_seq": all.max_seq,
            "min_seq": (all.min_seq[0], all.min_seq[1]),
            "anon": tuple(self.generation(gen, False) for gen in range(4)),
            "file": tuple(self.generation(gen, True) for gen in range(4)),
            "pages": all.pages,
            "refaulted": all.refaulted,
            "evicted": all.evicted,
            "protected": all.protected_pages,
            "avg_refaulted": all.avg_refaulted,
            "avg_total": all.avg_total,
        }

    cdef object generation(self, unsigned gen, bint lazyfree):
        """Frames on the list of a generation."""
        cdef uint64_t room = 0
        cdef int64_t length
        cdef PyThreadState *ts
        frames = new_array(0, cnp.NPY_UINT32)
        while True:  # as in frame_list
            ts = self.begin(room)
            length = pgste_host_generation(
                self.c, gen, lazyfree, <uint32_t *>cnp.array_data(frames), room
            )
            self.end(ts)
            if <uint64_t>length <= room:
                return frames[:length]
            room = length
            frames = new_array(room, cnp.NPY_UINT32)

    def validate(self):
        """Check every invariant of the host and its guests.  Slow: for tests.

        Raises
        ------
        ValidationError
            With a sentence on the first invariant that does not hold.
        """
        cdef const char *broken
        cdef PyThreadState *ts = self.begin(UINT64_MAX)
        broken = pgste_validate(self.c)
        self.end(ts)
        if broken != NULL:
            raise ValidationError(broken.decode())
