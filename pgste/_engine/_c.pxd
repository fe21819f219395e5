# SPDX-License-Identifier: MIT
"""Declarations of src_c/pgste.h for Cython: the same names, types and widths, and nothing else.

Structs that the header builds from a list of statistics are declared without those fields:
they are arrays of uint64_t, whose names pgste_*_name() tells.
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "stdbool.h":
    ctypedef bint bool_t "bool"


cdef extern from "pgste.h" nogil:
    const char *PGSTE_VERSION

    cdef enum pgste_error:
        PGSTE_OK
        PGSTE_E_NOMEM
        PGSTE_E_ARG
        PGSTE_E_GFN
        PGSTE_E_STATE
        PGSTE_E_NO_FRAME
        PGSTE_E_NO_SWAP
        PGSTE_E_FOREIGN
        PGSTE_E_BUSY
        PGSTE_E_NAME
        PGSTE_E_FORMAT
        PGSTE_E_PGM_OPERATION
        PGSTE_E_PGM_PRIVILEGED
        PGSTE_E_PGM_ADDRESSING
        PGSTE_E_PGM_SPECIFICATION
        PGSTE_E_PGM_DISCARD
        PGSTE_E_CHANGED
        PGSTE_E_CANCELLED
        PGSTE_E_KVM_NXIO
        PGSTE_E_KVM_INVAL
        PGSTE_E_KVM_FAULT
        PGSTE_E_KVM_BUSY
        PGSTE_E_KVM_EXIST
        PGSTE_E_LAST

    cdef struct pgste_watch:
        bool_t (*go_on)(void *data) noexcept
        void *data
        bool_t (*rest)(void *data) noexcept

    const pgste_watch *pgste_set_watch(const pgste_watch *watch)
    const char *pgste_strerror(int error)
    unsigned pgste_pgm_code(int error)
    int pgste_kvm_errno(int error)

    const uint64_t PGSTE_ACC, PGSTE_FP, PGSTE_PCL, PGSTE_HR, PGSTE_HC, PGSTE_GR, PGSTE_GC
    const uint64_t PGSTE_UC, PGSTE_IN, PGSTE_VSIE, PGSTE_ZERO, PGSTE_NODAT, PGSTE_USAGE
    const uint64_t PGSTE_CMMA_D, PGSTE_DAT_PREFIX, PGSTE_DAT_VSIE, PGSTE_DAT_VSIE_GMEM
    const int PGSTE_USAGE_SHIFT
    const uint64_t PTE_PFRA, PTE_LARGE, PTE_INVALID, PTE_PROTECT, PTE_NOEXEC, PTE_UNUSED
    const uint64_t PTE_SPECIAL, PTE_WRITE, PTE_READ, PTE_DIRTY, PTE_YOUNG, PTE_SOFT_DIRTY
    const uint64_t PTE_PRESENT, PTE_NONE, PTE_SWAP, PTE_SWAP_TYPE
    const int PTE_PFRA_SHIFT

    cdef enum pgste_usage:
        PGSTE_USAGE_STABLE
        PGSTE_USAGE_UNUSED
        PGSTE_USAGE_POT_VOLATILE
        PGSTE_USAGE_VOLATILE

    cdef enum pgste_orc:
        PGSTE_ORC_GET_STATE
        PGSTE_ORC_SET_STABLE
        PGSTE_ORC_SET_UNUSED
        PGSTE_ORC_SET_VOLATILE
        PGSTE_ORC_SET_POT_VOLATILE
        PGSTE_ORC_SET_STABLE_RESIDENT
        PGSTE_ORC_SET_STABLE_IF_RESIDENT
        PGSTE_ORC_SET_STABLE_NODAT
        PGSTE_NR_ORC

    const int PGSTE_RESULT_NODAT, PGSTE_RESULT_EXCEPTION

    cdef enum pgste_content:
        PGSTE_CONTENT_RESIDENT
        PGSTE_CONTENT_PRESERVED
        PGSTE_CONTENT_ZERO

    const int PGSTE_STATE_USAGE, PGSTE_STATE_ZERO, PGSTE_STATE_NODAT, PGSTE_STATE_GC
    const int PGSTE_STATE_DIRTY, PGSTE_STATE_VALID, PGSTE_STATE_SWAP

    int pgste_isa_select(const char *name)
    const char *pgste_isa_name()
    const char *pgste_isa_list(unsigned i, bool_t *supported)

    cdef enum pgste_gfn_type:
        PGSTE_GFN_RANGE
        PGSTE_GFN_U8
        PGSTE_GFN_U16
        PGSTE_GFN_U32
        PGSTE_GFN_U64
        PGSTE_GFN_I8
        PGSTE_GFN_I16
        PGSTE_GFN_I32
        PGSTE_GFN_I64

    cdef struct pgste_gfns:
        pgste_gfn_type type
        const void *data
        uint64_t first
        uint64_t nr

    cdef struct pgste_host:
        pass

    cdef struct pgste_guest:
        pass

    const uint64_t PGSTE_MAX_PAGES, PGSTE_MAX_FRAMES
    const uint32_t PGSTE_MAX_GUESTS

    cdef enum pgste_reclaim:
        PGSTE_RECLAIM_SIMPLE
        PGSTE_RECLAIM_LRU
        PGSTE_RECLAIM_MGLRU

    const uint32_t PGSTE_MAX_SWAPPINESS, PGSTE_MAX_CLUSTER, PGSTE_MAX_DELAY

    cdef struct pgste_host_config:
        pgste_reclaim reclaim
        uint64_t nr_frames
        uint64_t nr_swap_slots
        uint64_t low
        uint64_t high
        uint32_t batch
        uint8_t swappiness
        uint8_t page_cluster
        uint16_t write_delay
        bool_t rotational
        bool_t stale_stats
        bool_t no_mm_walk

    cdef struct pgste_host_stats:
        pass

    cdef struct pgste_slot_info:
        uint32_t count
        uint32_t frame
        uint32_t tag

    cdef enum pgste_frame_list:
        PGSTE_LIST_FREE
        PGSTE_LIST_ACTIVE
        PGSTE_LIST_INACTIVE
        PGSTE_LIST_LAZYFREE
        PGSTE_LIST_LAZYFREE_ACTIVE

    cdef struct pgste_frame_info:
        pgste_frame_list list
        uint32_t guest
        uint64_t gfn
        uint32_t tag
        uint32_t slot
        bool_t referenced
        bool_t dirty
        bool_t pinned
        bool_t locked
        bool_t writeback
        bool_t shared
        bool_t mapped
        uint32_t generation
        uint32_t tier

    cdef struct pgste_watermarks:
        uint64_t min
        uint64_t low
        uint64_t high

    void pgste_zone_watermarks(uint64_t managed, uint64_t min, unsigned scale,
        pgste_watermarks *marks)
    uint64_t pgste_min_free(uint64_t pages)
    void pgste_host_flush_stats(pgste_host *host)
    void pgste_host_defaults(pgste_host_config *config)
    int pgste_host_new(const pgste_host_config *config, pgste_host **host)
    void pgste_host_ends(pgste_host *host)
    int pgste_host_free(pgste_host *host)
    int64_t pgste_host_reclaim(pgste_host *host, uint64_t n)
    int64_t pgste_swap_out(pgste_guest *guest, const pgste_gfns *gfns)
    void pgste_host_get_stats(const pgste_host *host, pgste_host_stats *stats)
    void pgste_host_reset_stats(pgste_host *host)
    const char *pgste_host_stats_name(unsigned i)
    int pgste_host_slot(const pgste_host *host, uint64_t slot, pgste_slot_info *info)
    cdef enum pgste_rearm:
        PGSTE_REARM_REFERENCED
        PGSTE_REARM_DIRTY

    int pgste_host_set_rearm(pgste_host *host, pgste_rearm rearm)
    cdef enum pgste_folio:
        PGSTE_FOLIO_PINNED
        PGSTE_FOLIO_LOCKED
        PGSTE_FOLIO_WRITEBACK
        PGSTE_FOLIO_SHARED

    int64_t pgste_set_folio(pgste_guest *guest, const pgste_gfns *gfns, pgste_folio what,
        bool_t on)
    int pgste_host_frame(const pgste_host *host, uint64_t frame, pgste_frame_info *info)
    int64_t pgste_host_list(const pgste_host *host, pgste_frame_list list, uint32_t *frames,
        uint64_t max)

    cdef struct pgste_generations:
        uint64_t max_seq
        uint64_t min_seq[2]
        uint64_t pages[2][4]
        uint64_t refaulted[2][4]
        uint64_t evicted[2][4]
        uint64_t protected_pages[2][4]
        uint64_t avg_refaulted[2][4]
        uint64_t avg_total[2][4]

    int pgste_host_generations(const pgste_host *host, pgste_generations *all)
    int64_t pgste_host_generation(const pgste_host *host, unsigned gen, bool_t lazyfree,
        uint32_t *frames, uint64_t max)

    cdef enum pgste_generation:
        PGSTE_GEN_PGTABLE
        PGSTE_GEN_DAT
        PGSTE_GEN_ZVM
        PGSTE_NR_GENERATIONS

    const char *pgste_generation_name(unsigned i)
    const char *pgste_generation_flavour(unsigned i)
    const char *pgste_generation_meaning(unsigned i)
    bool_t pgste_mechanism_allowed(pgste_generation generation, const char *mechanism)

    const uint32_t PGSTE_MAX_SLOTS
    const uint64_t PGSTE_MAX_HOST_PAGE, PGSTE_NO_HOST_PAGE

    cdef struct pgste_slot:
        uint64_t base
        uint64_t pages
        uint64_t host
        uint32_t id
        bool_t log_dirty

    bool_t pgste_slots_cover(const pgste_guest *guest, const pgste_gfns *gfns, uint64_t nr,
        uint64_t *bad)
    uint32_t pgste_slots(const pgste_guest *guest, pgste_slot *slots, uint32_t max)
    int pgste_slot_add(pgste_guest *guest, pgste_slot *slot)
    int pgste_slot_move(pgste_guest *guest, uint32_t id, uint64_t base)
    int pgste_slot_delete(pgste_guest *guest, uint32_t id)
    int pgste_slot_log(pgste_guest *guest, uint32_t id, bool_t on)
    int pgste_host_gfns(const pgste_guest *guest, const pgste_gfns *gfns, uint64_t *hosts)

    cdef enum pgste_log_revision:
        PGSTE_LOG_PGTABLE
        PGSTE_LOG_DAT
        PGSTE_LOG_DAT_NEW
        PGSTE_NR_LOG_REVISIONS

    const char *pgste_log_revision_name(unsigned i)
    int pgste_enable_cmma(pgste_guest *guest)
    int pgste_clear_cmma(pgste_guest *guest)
    bool_t pgste_cmma_enabled(const pgste_guest *guest)
    bool_t pgste_uses_cmm(const pgste_guest *guest)
    void pgste_create_vcpus(pgste_guest *guest)
    bool_t pgste_vcpus_created(const pgste_guest *guest)
    int pgste_start_migration(pgste_guest *guest)
    int pgste_stop_migration(pgste_guest *guest)

    const unsigned PGSTE_CMMA_PEEK
    const uint32_t PGSTE_CMMA_MAX

    cdef struct pgste_cmma_log:
        uint64_t start_gfn
        uint64_t remaining
        uint32_t count
        uint32_t flags

    int pgste_get_cmma_bits(pgste_guest *guest, pgste_cmma_log *log, uint8_t *values)
    int pgste_set_cmma_bits(pgste_guest *guest, uint64_t start_gfn, uint32_t count,
        uint32_t flags, uint64_t mask, const uint8_t *values)
    int pgste_set_cmma_log(pgste_guest *guest, const pgste_gfns *gfns)
    int pgste_mark_cmma_dirty(pgste_guest *guest, const pgste_gfns *gfns)
    uint64_t pgste_cmma_dirty_count(const pgste_guest *guest)

    const uint32_t PGSTE_CBRL_MAX, PGSTE_MAX_VCPUS

    cdef enum pgste_revision:
        PGSTE_NR_REVISIONS

    cdef enum pgste_rewrite:
        PGSTE_NR_REWRITES

    cdef struct pgste_host_pte_stats:
        pass

    const char *pgste_revision_name(unsigned i)
    const char *pgste_rewrite_name(unsigned i)
    const char *pgste_host_pte_stats_name(unsigned i)
    int pgste_get_host_ptes(const pgste_guest *guest, const pgste_gfns *gfns, uint64_t *words)
    int pgste_set_host_ptes(pgste_guest *guest, const pgste_gfns *gfns, const uint64_t *words,
        unsigned step)
    int64_t pgste_notifier_unmap(pgste_guest *guest, const pgste_gfns *gfns,
        pgste_rewrite rewrite)
    int pgste_hold_host_locks(pgste_guest *guest, const pgste_gfns *gfns, bool_t on)
    int pgste_set_contention(pgste_guest *guest, uint64_t rate)
    void pgste_host_pte_get_stats(const pgste_guest *guest, pgste_host_pte_stats *stats)

    cdef struct pgste_guest_config:
        uint64_t nr_pages
        pgste_generation generation
        const char *mechanism
        uint32_t nr_vcpus
        uint32_t cbrl_entries
        bool_t nodat
        bool_t strict
        pgste_revision revision
        bool_t cmma_later
        bool_t interpretation
        pgste_log_revision log_revision
        const pgste_slot *slots
        uint32_t nr_slots
        bool_t own_memory
        bool_t storage_keys
        bool_t allow_cow_sharing
        bool_t memfd
        bool_t mlock

    cdef struct pgste_state_counts:
        uint64_t pages[4][3]
        uint64_t nodat
        uint64_t dirty
        uint64_t swap
        uint64_t zappable

    cdef struct pgste_guest_stats:
        pass

    const char *pgste_mechanism_name(unsigned i)
    uint64_t pgste_fault_gfn(const pgste_guest *guest)
    int pgste_check_supervisor(const pgste_guest *guest, uint32_t vcpu)
    int pgste_set_storage_key(pgste_guest *guest, const pgste_gfns *gfns, const uint8_t *keys,
        unsigned key_step, bool_t nq)
    int pgste_get_storage_key(pgste_guest *guest, const pgste_gfns *gfns, uint8_t *keys)
    int pgste_insert_storage_key(pgste_guest *guest, const pgste_gfns *gfns, uint8_t *keys)
    int pgste_cond_set_storage_key(pgste_guest *guest, const pgste_gfns *gfns,
        const uint8_t *keys, unsigned key_step, bool_t mr, bool_t mc, bool_t nq, uint8_t *rcs,
        uint8_t *old)
    int pgste_reset_reference(pgste_guest *guest, const pgste_gfns *gfns, uint8_t *ccs)
    int pgste_reset_storage_keys(pgste_guest *guest)
    int pgste_enable_storage_keys(pgste_guest *guest)
    bool_t pgste_uses_storage_keys(const pgste_guest *guest)
    bool_t pgste_allows_cow_sharing(const pgste_guest *guest)
    int pgste_set_frame_key(pgste_host *host, const pgste_gfns *frames, const uint8_t *keys,
        unsigned key_step)
    int pgste_frame_key(const pgste_host *host, const pgste_gfns *frames, uint8_t *keys)

    cdef enum pgste_prot:
        PGSTE_PROT_NONE
        PGSTE_PROT_READ
        PGSTE_PROT_WRITE

    int pgste_set_pte_at(pgste_guest *guest, const pgste_gfns *gfns, const uint64_t *words,
        unsigned step)
    int pgste_xchg_pte(pgste_guest *guest, const pgste_gfns *gfns, const uint64_t *words,
        unsigned step, bool_t lazy, uint64_t *old)
    int pgste_age(pgste_guest *guest, const pgste_gfns *gfns, uint8_t *young, uint64_t *before)
    int pgste_map_pte(pgste_guest *guest, const pgste_gfns *gfns, const uint64_t *words,
        unsigned step)
    int pgste_unmap_pte(pgste_guest *guest, const pgste_gfns *gfns, uint64_t *host)
    int pgste_modify_prot_start(pgste_guest *guest, const pgste_gfns *gfns, uint64_t *old)
    int pgste_modify_prot_commit(pgste_guest *guest, const pgste_gfns *gfns,
        const uint64_t *words, unsigned step)
    int pgste_test_and_clear_dirty(pgste_guest *guest, const pgste_gfns *gfns, uint8_t *dirty)
    int pgste_soft_dirty(const pgste_guest *guest, const pgste_gfns *gfns, uint8_t *dirty)
    int pgste_clear_soft_dirty(pgste_guest *guest, const pgste_gfns *gfns)
    int pgste_zap_key(pgste_guest *guest, const pgste_gfns *gfns)
    int pgste_set_pgste_bits(pgste_guest *guest, const pgste_gfns *gfns, uint64_t mask,
        uint64_t value)
    int pgste_force_prot(pgste_guest *guest, const pgste_gfns *gfns, pgste_prot prot,
        uint64_t bit, int8_t *results)
    int pgste_set_notify(pgste_guest *guest, const pgste_gfns *gfns, uint64_t bits)
    int64_t pgste_notifications(pgste_guest *guest, uint64_t *gfns, uint64_t *bits,
        uint64_t room)
    int pgste_shadow_pte(pgste_guest *parent, const pgste_gfns *sources, pgste_guest *shadow,
        const pgste_gfns *targets, const uint64_t *words, unsigned step, int8_t *results)
    int pgste_unshadow_pte(pgste_guest *shadow, const pgste_gfns *gfns)

    cdef struct pgste_entry:
        uint64_t offset
        uint32_t type
        uint32_t unused

    cdef struct pgste_entries:
        pgste_entry *at
        uint64_t room, nr

    int64_t pgste_intercept_entries(pgste_guest *guest, uint32_t vcpu, pgste_entries *entries)
    int64_t pgste_zap_entries(pgste_guest *guest, uint64_t gfn, pgste_entries *entries)
    int64_t pgste_zap_scan_entries(pgste_guest *guest, unsigned threads, pgste_entries *entries)

    int pgste_set_changed(pgste_guest *guest, const pgste_gfns *gfns, bool_t on)
    int pgste_guest_new(pgste_host *host, const pgste_guest_config *config, pgste_guest **guest)
    void pgste_guest_free(pgste_guest *guest)
    uint64_t pgste_guest_pages(const pgste_guest *guest)
    uint32_t pgste_guest_number(const pgste_guest *guest)
    uint64_t pgste_guest_page_bits(const pgste_guest *guest)
    int pgste_essa(pgste_guest *guest, uint32_t vcpu, unsigned orc, const pgste_gfns *gfns,
        uint8_t *results)
    int pgste_essa_page(pgste_guest *guest, uint32_t vcpu, unsigned orc, uint64_t gfn)
    int pgste_free(pgste_guest *guest, uint32_t vcpu, const pgste_gfns *gfns, unsigned order)
    int pgste_alloc(pgste_guest *guest, uint32_t vcpu, const pgste_gfns *gfns, unsigned order)
    int pgste_free_page(pgste_guest *guest, uint32_t vcpu, uint64_t gfn)
    int pgste_alloc_page(pgste_guest *guest, uint32_t vcpu, uint64_t gfn)
    int pgste_write(pgste_guest *guest, const pgste_gfns *gfns, const uint32_t *tags,
        unsigned tag_step)
    int pgste_read(pgste_guest *guest, const pgste_gfns *gfns, uint32_t *tags)
    int pgste_peek(const pgste_guest *guest, const pgste_gfns *gfns, uint32_t *tags)
    int64_t pgste_poke(
        pgste_guest *guest, const pgste_gfns *gfns, const uint32_t *tags, unsigned tag_step
    )
    int pgste_get_words(const pgste_guest *guest, const pgste_gfns *gfns, uint64_t *pgste,
        uint64_t *pte)
    int pgste_set_words(pgste_guest *guest, const pgste_gfns *gfns, const uint64_t *pgste,
        unsigned pgste_step, const uint64_t *pte, unsigned pte_step)
    int pgste_get_states(const pgste_guest *guest, const pgste_gfns *gfns, uint8_t *states)
    int pgste_get_free(const pgste_guest *guest, const pgste_gfns *gfns, uint8_t *free)

    const uint64_t PGSTE_MAX_NS
    const uint32_t PGSTE_REPORTING_CAPACITY
    uint64_t pgste_now(const pgste_guest *guest)
    int pgste_advance(pgste_guest *guest, uint64_t ns)

    cdef enum pgste_poison:
        PGSTE_POISON_NONE
        PGSTE_POISON_INIT_ON_FREE
        PGSTE_POISON_PAGE_POISON

    cdef enum pgste_advice:
        PGSTE_ADVICE_MADV_DONTNEED
        PGSTE_ADVICE_MADV_FREE

    cdef enum pgste_migratetype:
        PGSTE_MIGRATE_UNMOVABLE

    cdef struct pgste_reporting_zone:
        uint64_t first
        uint64_t min
        uint64_t low
        uint64_t spare

    cdef enum:
        PGSTE_REPORTING_ZONES

    const uint32_t PGSTE_MIGRATETYPES
    const uint32_t PGSTE_PAGEBLOCK_ORDER_MIN

    cdef struct pgste_reporting_config:
        uint32_t order
        uint32_t max_order
        uint32_t parked_order
        uint32_t capacity
        uint64_t parked_high
        uint32_t parked_batch
        uint64_t delay_ns
        uint64_t ack_ns
        uint32_t nr_zones
        pgste_reporting_zone zones[PGSTE_REPORTING_ZONES]
        const uint8_t *types
        uint64_t nr_types
        uint32_t pageblock_order
        pgste_poison poison
        bool_t negotiated
        bool_t inhibited
        pgste_advice advice

    cdef enum pgste_reporting_status:
        PGSTE_REPORTING_OFF
        PGSTE_REPORTING_IDLE
        PGSTE_REPORTING_REQUESTED
        PGSTE_REPORTING_ACTIVE

    cdef struct pgste_reporting_state:
        pgste_reporting_config config
        pgste_reporting_status status
        uint64_t due_ns
        uint64_t pages_free
        uint64_t pages_parked
        uint64_t pages_isolated
        uint64_t blocks_isolated
        uint64_t passes
        uint64_t passes_skipped
        uint64_t blocks_reported

    cdef struct pgste_block:
        uint64_t gfn
        uint32_t order
        bool_t reported

    void pgste_reporting_defaults(const pgste_guest *guest, pgste_reporting_config *config)
    void pgste_reporting_watermarks(const pgste_guest *guest, pgste_reporting_config *config)
    int pgste_reporting_type(const pgste_guest *guest, uint64_t gfn)
    int pgste_reporting_configure(pgste_guest *guest, const pgste_reporting_config *config)
    int pgste_reporting_get_state(const pgste_guest *guest, pgste_reporting_state *state)
    int64_t pgste_reporting_free_list(const pgste_guest *guest, uint32_t zone,
        pgste_migratetype type, unsigned order, pgste_block *blocks, uint64_t max)
    int64_t pgste_reporting_parked(const pgste_guest *guest, uint32_t vcpu, pgste_block *blocks,
        uint64_t max)
    int64_t pgste_reporting_isolated(const pgste_guest *guest, pgste_block *blocks, uint64_t max)

    int64_t pgste_cbrl(const pgste_guest *guest, uint32_t vcpu, uint64_t *gfns)
    int64_t pgste_intercept(pgste_guest *guest, uint32_t vcpu)
    int64_t pgste_zap(pgste_guest *guest, uint64_t gfn)
    int64_t pgste_zap_scan(pgste_guest *guest, unsigned threads)
    uint64_t pgste_count_zappable(const pgste_guest *guest, unsigned threads)
    void pgste_count_states(const pgste_guest *guest, unsigned threads,
                            pgste_state_counts *counts)
    int64_t pgste_find(const pgste_guest *guest, unsigned threads, uint64_t start, uint8_t mask,
        uint8_t value, uint64_t *gfns, uint64_t max)
    void pgste_reset_cmma(pgste_guest *guest)
    int pgste_set_migration(pgste_guest *guest, bool_t on)
    bool_t pgste_get_migration(const pgste_guest *guest)
    int pgste_set_problem_state(pgste_guest *guest, uint32_t vcpu, bool_t on)
    void pgste_guest_get_stats(const pgste_guest *guest, pgste_guest_stats *stats)
    void pgste_guest_reset_stats(pgste_guest *guest)
    const char *pgste_guest_stats_name(unsigned i)
    const char *pgste_validate(const pgste_host *host)

    cdef enum pgste_event_kind:
        PGSTE_EVENT_ALLOC
        PGSTE_EVENT_FREE

    cdef enum pgste_access_kind:
        PGSTE_ACCESS_LOAD
        PGSTE_ACCESS_STORE

    uint64_t PGSTE_EVENT(unsigned kind, unsigned order, uint64_t pfn)
    unsigned PGSTE_EVENT_KIND(uint64_t event)
    unsigned PGSTE_EVENT_ORDER(uint64_t event)
    uint64_t PGSTE_EVENT_PFN(uint64_t event)
    const unsigned PGSTE_MAX_ORDER

    cdef struct pgste_replay:
        pass

    cdef struct pgste_replay_stats:
        double frame_seconds
        double swap_seconds
        double seconds

    const char *pgste_replay_stats_name(unsigned i)
    int pgste_replay_new(pgste_guest *const *guests, unsigned nr_guests, uint64_t base_pfn,
        const uint64_t *events, const uint64_t *times_ns, uint64_t nr, pgste_replay **replay)
    void pgste_replay_free(pgste_replay *replay)
    int pgste_replay_set_accesses(pgste_replay *replay, const uint64_t *accesses,
        const uint64_t *places, uint64_t nr)
    int64_t pgste_replay_run(pgste_replay *replay, uint64_t n)
    int64_t pgste_replay_run_until(pgste_replay *replay, uint64_t ns, uint64_t n)
    cdef struct pgste_replay_stops:
        const uint64_t *at
        const uint8_t *flush
        uint64_t nr
        bool_t by_time

    cdef struct pgste_replay_sample:
        uint64_t events
        uint64_t frames
        uint64_t swap_slots
        uint64_t pages_allocated
        uint64_t pages_freed

    int64_t pgste_replay_run_stops(pgste_replay *replay, const pgste_replay_stops *stops,
        uint64_t *next, pgste_replay_sample *samples, uint64_t n)
    uint64_t pgste_replay_position(const pgste_replay *replay)
    void pgste_replay_get_stats(const pgste_replay *replay, pgste_replay_stats *stats)

    cdef struct pgste_trace_summary:
        uint64_t alloc_orders[64]
        uint64_t free_orders[64]

    const char *pgste_trace_summary_name(unsigned i)

    cdef struct pgste_trace_limits:
        uint64_t pages
        uint64_t bytes

    cdef enum pgste_trace_limit:
        PGSTE_LIMIT_PAGES
        PGSTE_LIMIT_BYTES

    int pgste_trace_summarize(const uint64_t *events, uint64_t nr, pgste_trace_summary *summary)
    int pgste_trace_summarize_within(const uint64_t *events, uint64_t nr,
        const pgste_trace_limits *limits, pgste_trace_summary *summary, int64_t *in_use)
    int64_t pgste_trace_share(const uint64_t *events, uint64_t nr, uint64_t share,
        uint64_t *pages, uint64_t *places, uint64_t room)
    int pgste_trace_dense(const uint64_t *events, uint64_t nr, const uint64_t *accesses,
        uint64_t nr_accesses, uint64_t base, uint64_t nr_pages, uint64_t *dense_events,
        uint64_t *dense_accesses, uint64_t *dense_pages)

    cdef enum pgste_curve_rule:
        PGSTE_CURVE_KEEP
        PGSTE_CURVE_UNUSED
        PGSTE_CURVE_GIVE
        PGSTE_CURVE_LAZY

    cdef struct pgste_curve_config:
        const uint64_t *events
        uint64_t nr_events
        uint32_t nr_guests
        pgste_curve_rule rule
        const uint64_t *given
        const uint64_t *given_at
        uint64_t nr_given
        const uint64_t *sizes
        uint64_t nr_sizes
        const uint64_t *samples
        uint64_t nr_samples
        uint64_t share

    cdef struct pgste_curve_point:
        pass

    int pgste_curve(const pgste_curve_config *config, pgste_curve_point *points)

    cdef enum pgste_footprint_rule:
        PGSTE_FOOTPRINT_REPORTING

    cdef struct pgste_footprint_config:
        const uint64_t *events
        const uint64_t *times_ns
        uint64_t nr_events
        uint64_t base_pfn
        uint64_t nr_pages
        bool_t unnamed_free
        uint32_t host_order
        pgste_footprint_rule rule
        uint32_t block_order
        uint64_t period_ns
        uint64_t reserve
        bool_t asks
        bool_t populate
        const pgste_reporting_config *reporting
        const uint64_t *samples_ns
        uint64_t nr_samples

    cdef struct pgste_footprint_result:
        double held_seconds
        double used_seconds

    cdef enum pgste_placement:
        PGSTE_PLACE_LOWEST
        PGSTE_PLACE_BUDDY

    cdef struct pgste_place_config:
        const uint64_t *events
        uint64_t nr_events
        uint64_t base_pfn
        uint64_t nr_pages
        pgste_placement placement
        uint64_t nr_places

    int64_t pgste_place(const pgste_place_config *config, uint64_t *events, uint64_t *which,
        uint64_t max)
    const char *pgste_footprint_count_name(unsigned i)
    int pgste_footprint(const pgste_footprint_config *config, pgste_footprint_result *result,
        uint64_t *held, uint64_t *used)

    cdef enum pgste_text_format:
        PGSTE_TEXT_UNKNOWN
        PGSTE_TEXT_FTRACE
        PGSTE_TEXT_TRACE_CMD
        PGSTE_TEXT_PERF

    cdef struct pgste_decode_stats:
        pass

    cdef struct pgste_decoder:
        pass

    cdef struct pgste_ring_format:
        int32_t id_alloc, id_free, id_free_batched
        uint32_t common_type_offset, common_type_bytes
        uint32_t alloc_pfn_offset, alloc_pfn_bytes, alloc_order_offset, alloc_order_bytes
        uint32_t free_pfn_offset, free_pfn_bytes, free_order_offset, free_order_bytes
        uint32_t page_bytes
        uint32_t commit_offset, commit_bytes, data_offset
        bool_t big_endian

    const unsigned PGSTE_MIN_EVENT_LINE
    const char *pgste_decode_stats_name(unsigned i)
    int pgste_decoder_new(pgste_decoder **decoder)
    void pgste_decoder_free(pgste_decoder *decoder)
    int64_t pgste_decoder_feed(pgste_decoder *decoder, const char *bytes, size_t nr_bytes,
        bool_t end, uint64_t *events, uint64_t *times_ns, uint64_t max, size_t *used)
    pgste_text_format pgste_decoder_format(const pgste_decoder *decoder)
    void pgste_decoder_get_stats(const pgste_decoder *decoder, pgste_decode_stats *stats)
    const char *pgste_decoder_error(const pgste_decoder *decoder, uint64_t *line)
    int64_t pgste_ring_decode(const pgste_ring_format *format, const void *page, uint64_t *events,
        uint64_t *times_ns, uint64_t max, pgste_decode_stats *stats, size_t *error_offset)

    cdef struct pgste_search_config:
        const char *mechanism
        pgste_generation generation
        pgste_revision revision
        pgste_rearm rearm
        pgste_poison poison
        unsigned notifiers
        bool_t shifted
        pgste_advice advice
        bool_t busy
        bool_t memfd
        bool_t mlock
        bool_t pinned
        bool_t validated
        uint32_t nr_pages
        uint32_t nr_frames
        uint32_t nr_swap_slots
        uint32_t cbrl_entries
        uint32_t nr_vcpus
        bool_t obedient
        bool_t plain
        uint64_t max_states
        uint32_t threads
        bool_t (*go_on)(void *data, uint64_t states) noexcept
        void *data

    cdef struct pgste_step:
        uint8_t action
        uint8_t gfn

    cdef enum:
        PGSTE_SEARCH_STEPS
        PGSTE_NR_QUESTIONS

    cdef struct pgste_search_answer:
        uint64_t premises
        uint32_t nr_steps
        pgste_step steps[PGSTE_SEARCH_STEPS]

    cdef struct pgste_seen:
        uint64_t bits[4]

    cdef struct pgste_search_result:
        uint64_t states
        uint64_t transitions
        uint64_t state_bytes
        pgste_seen seen
        pgste_seen met_unused
        pgste_seen met_stable
        uint32_t depth
        pgste_search_answer answers[PGSTE_NR_QUESTIONS]

    cdef struct pgste_question_info:
        const char *name
        const char *text
        const char *found
        const char *good
        const char *stem

    const char *pgste_action_name(unsigned i)
    const char *pgste_action_words(unsigned i)
    const pgste_question_info *pgste_question(unsigned i)
    int pgste_search(const pgste_search_config *config, pgste_search_result *result)

    int PGSTE_OS_ERRNO(int64_t error)

    cdef struct pgste_live:
        pass

    cdef enum pgste_live_backing:
        PGSTE_LIVE_ANONYMOUS
        PGSTE_LIVE_SHARED
        PGSTE_LIVE_FILE
        PGSTE_LIVE_HUGETLB

    cdef struct pgste_live_config:
        uint64_t nr_pages
        pgste_live_backing backing
        int fd

    cdef struct pgste_live_cost:
        uint64_t calls, pages, ns
        uint64_t failed_gfn, failed_pages

    int pgste_live_new(const pgste_live_config *config, pgste_live **live)
    void pgste_live_free(pgste_live *live)
    uint64_t pgste_live_pages(const pgste_live *live)
    uint64_t pgste_live_page_bytes(const pgste_live *live)
    void *pgste_live_base(const pgste_live *live)
    int pgste_live_lock(pgste_live *live)
    int pgste_live_lock_others(pgste_live *live)
    void pgste_live_allow(pgste_live *live, bool_t vector, bool_t scan)
    int64_t pgste_live_advise(pgste_live *live, const pgste_gfns *gfns, unsigned order, int advice,
        pgste_live_cost *cost)
    int pgste_live_store(pgste_live *live, const pgste_gfns *gfns, unsigned offset,
        const uint32_t *words, unsigned word_step, pgste_live_cost *cost)
    int pgste_live_load(pgste_live *live, const pgste_gfns *gfns, unsigned offset,
        uint32_t *words, unsigned nr_words, pgste_live_cost *cost)

    const int PGSTE_LIVE_PRESENT, PGSTE_LIVE_SWAPPED, PGSTE_LIVE_ZERO, PGSTE_LIVE_HUGE
    const int PGSTE_LIVE_EXCLUSIVE, PGSTE_LIVE_LAZYFREE, PGSTE_LIVE_SWAPCACHE
    const int PGSTE_LIVE_WRITEBACK

    int pgste_live_states(pgste_live *live, const pgste_gfns *gfns, uint8_t *states, bool_t flags)
    int pgste_live_mincore(pgste_live *live, const pgste_gfns *gfns, uint8_t *resident)

    cdef struct pgste_live_counts:
        uint64_t present, swapped
        uint64_t zero
        uint64_t huge

    int pgste_live_count(pgste_live *live, pgste_live_counts *counts)

    cdef struct pgste_live_replay_stats:
        pass

    const char *pgste_live_replay_stats_name(unsigned i)

    cdef struct pgste_live_replay:
        pgste_live *live
        uint8_t *in_use
        int advice
        uint32_t tag
        uint64_t pending_gfn, pending_nr
        const uint64_t *accesses
        const uint64_t *places
        uint64_t nr_accesses, next_access
        pgste_live_replay_stats stats

    void pgste_live_replay_setup(pgste_live_replay *replay)
    int64_t pgste_live_replay_run(pgste_live_replay *replay, const uint64_t *events, uint64_t nr,
        bool_t end)
