/* SPDX-License-Identifier: MIT */
/*
 * pgste: guest page states of s390x and the free-page mechanisms of their hosts.
 *
 * The one public header.  Conventions that hold for every function:
 *
 * Units    A gfn is a guest page frame number (4 KiB pages), never an address.
 *          Ranges are half open, [gfn, gfn + nr).  Counts start nr_, sizes end _bytes.
 * Errors   int functions return PGSTE_OK (0) or a negative enum pgste_error; functions
 *          that count return the count (int64_t, >= 0) or a negative error.  A call that
 *          fails has changed nothing unless its comment says what it changed.
 * Memory   *_new allocates, *_free releases; a host must outlive its guests.  Arrays that
 *          a caller passes stay the caller's and are not kept.
 * Threads  One thread at a time for a host together with all of its guests.  Exception:
 *          pgste_essa*, pgste_free* and pgste_alloc* of a "cmma" guest with more than one
 *          virtual CPU may run at once on different virtual CPUs of it.
 * Output   Nothing here prints, exits or reads the environment, pgste_isa_select apart.
 */
#ifndef PGSTE_H
#define PGSTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a library exports that is built with -fvisibility=hidden. */
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

#define PGSTE_VERSION "0.1.0"

/* ---- errors ------------------------------------------------------------------------ */

enum pgste_error {
	PGSTE_OK = 0,
	PGSTE_E_NOMEM = -1,	    /* this machine has no memory for the model itself */
	PGSTE_E_ARG = -2,	    /* an argument is outside its documented range */
	PGSTE_E_GFN = -3,	    /* a gfn, or the end of a block or range, lies outside the guest */
	PGSTE_E_STATE = -4,	    /* strict guest: free of a free page, alloc of an allocated one */
	PGSTE_E_NO_FRAME = -5,	    /* no free host frame and nothing that reclaim could take */
	PGSTE_E_NO_SWAP = -6,	    /* no free swap slot */
	PGSTE_E_FOREIGN = -7,	    /* the PTE was loaded by set_words and names nothing of this host */
	PGSTE_E_BUSY = -8,	    /* a host that still has guests cannot be freed */
	PGSTE_E_NAME = -9,	    /* unknown mechanism, or CPU variant unknown or not supported */
	PGSTE_E_FORMAT = -10,	    /* damaged trace; the decoder tells the line or byte */
	PGSTE_E_PGM_OPERATION = -11,	 /* program interruption 0x0001: CMMA is off */
	PGSTE_E_PGM_PRIVILEGED = -12,	 /* program interruption 0x0002: problem state */
	PGSTE_E_PGM_ADDRESSING = -13,	 /* program interruption 0x0005: outside every slot */
	PGSTE_E_PGM_SPECIFICATION = -14, /* program interruption 0x0006: no such orc */
	PGSTE_E_PGM_DISCARD = -15,	 /* program interruption 0x001a (z/VM): page discarded */
	PGSTE_E_LAST = -15
};

/* A fixed English sentence for an error; "unknown error" for any other number. */
const char *pgste_strerror(int error);
/* Program interruption code (1, 2, 5, 6, 0x1a) of an error, 0 if it is none. */
unsigned pgste_pgm_code(int error);

/* ---- kernel-format words ----------------------------------------------------------- */

#define PGSTE_ACC UINT64_C(0xf000000000000000)
#define PGSTE_FP UINT64_C(0x0800000000000000)
#define PGSTE_PCL UINT64_C(0x0080000000000000)
#define PGSTE_HR UINT64_C(0x0040000000000000)
#define PGSTE_HC UINT64_C(0x0020000000000000)
#define PGSTE_GR UINT64_C(0x0004000000000000)
#define PGSTE_GC UINT64_C(0x0002000000000000)
#define PGSTE_UC UINT64_C(0x0000800000000000)	       /* pgtable only */
#define PGSTE_IN UINT64_C(0x0000400000000000)	       /* pgtable only */
#define PGSTE_VSIE UINT64_C(0x0000200000000000)	       /* pgtable only */
#define PGSTE_ZERO UINT64_C(0x0000000080000000)
#define PGSTE_NODAT UINT64_C(0x0000000040000000)
#define PGSTE_USAGE UINT64_C(0x0000000003000000)
#define PGSTE_USAGE_SHIFT 24
#define PGSTE_CMMA_D UINT64_C(0x0000000000008000)      /* dat only */
#define PGSTE_DAT_PREFIX UINT64_C(0x0000000000004000)  /* dat only */
#define PGSTE_DAT_VSIE UINT64_C(0x0000000000002000)    /* dat only */
#define PGSTE_DAT_VSIE_GMEM UINT64_C(0x0000000000001000) /* dat only */

#define PTE_PFRA UINT64_C(0xfffffffffffff000)
#define PTE_PFRA_SHIFT 12
#define PTE_LARGE UINT64_C(0x800)     /* present: large; swap entry: exclusive */
#define PTE_INVALID UINT64_C(0x400)
#define PTE_PROTECT UINT64_C(0x200)
#define PTE_NOEXEC UINT64_C(0x100)
#define PTE_UNUSED UINT64_C(0x080)
#define PTE_SPECIAL UINT64_C(0x040)
#define PTE_WRITE UINT64_C(0x020)
#define PTE_READ UINT64_C(0x010)
#define PTE_DIRTY UINT64_C(0x008)
#define PTE_YOUNG UINT64_C(0x004)
#define PTE_SOFT_DIRTY UINT64_C(0x002)
#define PTE_PRESENT UINT64_C(0x001)
#define PTE_NONE PTE_INVALID
/* A swap entry is PTE_SWAP | offset << 12 | type << 2; type is 0 for slots of the host. */
#define PTE_SWAP (PTE_INVALID | PTE_PROTECT)
#define PTE_SWAP_TYPE UINT64_C(0x07c)

enum pgste_usage {
	PGSTE_USAGE_STABLE = 0,
	PGSTE_USAGE_UNUSED = 1,
	PGSTE_USAGE_POT_VOLATILE = 2,
	PGSTE_USAGE_VOLATILE = 3
};

enum pgste_orc {
	PGSTE_ORC_GET_STATE = 0,
	PGSTE_ORC_SET_STABLE = 1,
	PGSTE_ORC_SET_UNUSED = 2,
	PGSTE_ORC_SET_VOLATILE = 3,
	PGSTE_ORC_SET_POT_VOLATILE = 4,
	PGSTE_ORC_SET_STABLE_RESIDENT = 5,
	PGSTE_ORC_SET_STABLE_IF_RESIDENT = 6,
	PGSTE_ORC_SET_STABLE_NODAT = 7,
	PGSTE_NR_ORC = 8
};

/* ESSA result byte: usage << 2 | content, and these. */
#define PGSTE_RESULT_NODAT 0x20
#define PGSTE_RESULT_EXCEPTION 0x10
enum pgste_content {
	PGSTE_CONTENT_RESIDENT = 0,
	PGSTE_CONTENT_PRESERVED = 2,
	PGSTE_CONTENT_ZERO = 3
};

/* ---- the packed state byte --------------------------------------------------------- */

/*
 * The eight bits that ESSA needs.  0 is "stable, nothing mapped", so that zero pages from
 * the OS are a correct new guest.  VALID and SWAP are set together only by loaded words.
 *
 *   bit  7    6     5  4   3     2    1 0
 *      SWAP VALID DIRTY GC NODAT ZERO USAGE
 */
#define PGSTE_STATE_USAGE 0x03
#define PGSTE_STATE_ZERO 0x04
#define PGSTE_STATE_NODAT 0x08
#define PGSTE_STATE_GC 0x10
#define PGSTE_STATE_DIRTY 0x20 /* attributes changed since last read (CMMA log) */
#define PGSTE_STATE_VALID 0x40 /* PTE without INVALID */
#define PGSTE_STATE_SWAP 0x80  /* PTE is a swap entry: PROTECT without PRESENT */

/* ---- CPU variants ------------------------------------------------------------------ */

/*
 * Choose the variant of the scan kernels: "portable", "avx2", "avx512", "neon", or NULL
 * or "" for what the environment variable PGSTE_ISA says, the best supported one if it is
 * unset.  PGSTE_E_NAME for a name that is unknown or that this CPU cannot run; the variant
 * in force then stays.  Not thread safe; call it before other threads use the library.
 */
int pgste_isa_select(const char *name);
const char *pgste_isa_name(void);
/* Name of the i-th variant compiled in, best first, NULL past the end; whether this CPU can. */
const char *pgste_isa_list(unsigned i, bool *supported);

/* ---- gfn arguments ----------------------------------------------------------------- */

enum pgste_gfn_type {
	PGSTE_GFN_RANGE = 0, /* first, first + 1, ... (nr of them); data is unused */
	PGSTE_GFN_U8, PGSTE_GFN_U16, PGSTE_GFN_U32, PGSTE_GFN_U64,
	PGSTE_GFN_I8, PGSTE_GFN_I16, PGSTE_GFN_I32, PGSTE_GFN_I64
};

/* The gfns of one call: a range, or a native-endian contiguous array; processed in order. */
struct pgste_gfns {
	enum pgste_gfn_type type;
	const void *data;
	uint64_t first;
	uint64_t nr;
};

/* ---- host memory ------------------------------------------------------------------- */

struct pgste_host;
struct pgste_guest;

#define PGSTE_MAX_PAGES (UINT64_C(1) << 40)
#define PGSTE_MAX_FRAMES UINT64_C(0xfffffffe)
#define PGSTE_MAX_GUESTS 65535u

struct pgste_host_config {
	uint64_t nr_frames;	/* 1 .. PGSTE_MAX_FRAMES */
	uint64_t nr_swap_slots; /* 0 .. PGSTE_MAX_FRAMES */
	uint64_t low;	 /* reclaim starts when free frames <= low at an allocation */
	uint64_t high;	 /* and goes on until free frames >= high; low < high <= nr_frames */
	uint32_t batch;	 /* pages that are moved from the active list at a time, >= 1 */
};

/* Fill in the defaults for low, high and batch from nr_frames; see docs/model.md. */
void pgste_host_defaults(struct pgste_host_config *config);
/* PGSTE_E_ARG: a field out of range; PGSTE_E_NOMEM. */
int pgste_host_new(const struct pgste_host_config *config, struct pgste_host **host);
/* PGSTE_E_BUSY while guests live. */
int pgste_host_free(struct pgste_host *host);

/*
 * What reclaim does with a lazyfree page that is clean but has a reference beside its
 * mapping: PGSTE_REARM_REFERENCED (v6.1) makes it an ordinary page again, as a dirty one;
 * PGSTE_REARM_DIRTY (2025) leaves it lazyfree.  A new host has the first.  PGSTE_E_ARG.
 */
enum pgste_rearm { PGSTE_REARM_REFERENCED = 0, PGSTE_REARM_DIRTY = 1 };
int pgste_host_set_rearm(struct pgste_host *host, enum pgste_rearm rearm);

/* Free frames until n more are free, or nothing is left to take: frames freed. */
int64_t pgste_host_reclaim(struct pgste_host *host, uint64_t n);
/*
 * Reclaim exactly these pages now, as MADV_PAGEOUT does: unused pages are dropped, clean
 * lazyfree pages discarded, others written to swap.  Pages without a frame are skipped.
 * Pages that left memory, or PGSTE_E_GFN, PGSTE_E_NO_SWAP, PGSTE_E_FOREIGN.
 */
int64_t pgste_swap_out(struct pgste_guest *guest, const struct pgste_gfns *gfns);

/*
 * An extra reference to the frames of these pages (get_user_pages and the like), on or off:
 * pages without a frame are skipped.  Reclaim leaves pinned pages alone, lazyfree ones see
 * above.  It ends when the page loses the frame.  Pages that it changed, or PGSTE_E_GFN.
 */
int64_t pgste_set_pinned(struct pgste_guest *guest, const struct pgste_gfns *gfns, bool on);

#define PGSTE_HOST_STATS(X)                                                                 \
	X(frames)	     /* frames in all */                                             \
	X(frames_free)	     /* free now */                                                  \
	X(frames_active)     /* on the active list */                                        \
	X(frames_inactive)   /* on the inactive list */                                      \
	X(frames_lazyfree)   /* on the lazyfree list */                                      \
	X(swap_slots)	     /* slots in all */                                              \
	X(swap_slots_free)   /* neither used nor held by the swap cache */                   \
	X(swap_slots_cached) /* held or shared by the swap cache */                          \
	X(frames_peak)	     /* most frames in use at once since the last stats reset */     \
	X(swap_peak)	     /* most slots in use at once since the last stats reset */      \
	X(swap_outs)	     /* pages written to swap */                                     \
	X(swap_ins)	     /* pages read from swap */                                      \
	X(clean_evictions)   /* pages evicted whose slot still held them: no write */        \
	X(unused_discards)   /* unused pages that reclaim dropped unwritten (B2) */          \
	X(lazyfree_discards) /* lazyfree pages that reclaim dropped unwritten (C3) */        \
	X(lazyfree_rearmed)  /* lazyfree pages that reclaim made ordinary again */           \
	X(zero_fills)	     /* frames handed out zeroed */                                  \
	X(scanned)	     /* pages that reclaim looked at */                              \
	X(reclaims)	     /* times that reclaim ran */                                    \
	X(volatile_discards) /* volatile pages that reclaim dropped unwritten (z/VM) */

#define PGSTE_STATS_FIELD(name) uint64_t name;
struct pgste_host_stats {
	PGSTE_HOST_STATS(PGSTE_STATS_FIELD)
};
void pgste_host_get_stats(const struct pgste_host *host, struct pgste_host_stats *stats);
/* Zero the event counters of the host (not those of its guests); peaks restart at now. */
void pgste_host_reset_stats(struct pgste_host *host);
/* Name of the i-th field in struct order, NULL past the end. */
const char *pgste_host_stats_name(unsigned i);

/* One swap slot: use count, cached frame (UINT32_MAX: none), content tag. PGSTE_E_ARG. */
struct pgste_slot_info {
	uint32_t count;
	uint32_t frame;
	uint32_t tag;
};
int pgste_host_slot(const struct pgste_host *host, uint64_t slot, struct pgste_slot_info *info);

enum pgste_frame_list {
	PGSTE_LIST_FREE = 0, PGSTE_LIST_ACTIVE, PGSTE_LIST_INACTIVE, PGSTE_LIST_LAZYFREE
};
struct pgste_frame_info {
	enum pgste_frame_list list;
	uint32_t guest; /* pgste_guest_number of the owner; 0 when free */
	uint64_t gfn;
	uint32_t tag;
	uint32_t slot;	/* swap slot of the swap cache, UINT32_MAX: none */
	bool referenced, dirty, pinned;
};
int pgste_host_frame(const struct pgste_host *host, uint64_t frame, struct pgste_frame_info *info);
/* Frames of a list, head (newest) first, at most max of them: how many the list has. */
int64_t pgste_host_list(const struct pgste_host *host, enum pgste_frame_list list,
			uint32_t *frames, uint64_t max);

/* ---- guests ------------------------------------------------------------------------ */

/* Who implements the states: a generation of KVM, or z/VM (mechanisms none and cmma only). */
enum pgste_generation { PGSTE_GEN_PGTABLE = 0, PGSTE_GEN_DAT = 1, PGSTE_GEN_ZVM = 2 };

#define PGSTE_CBRL_MAX 511u
#define PGSTE_MAX_VCPUS 1024u

struct pgste_guest_config {
	uint64_t nr_pages;		  /* 1 .. PGSTE_MAX_PAGES */
	enum pgste_generation generation;
	const char *mechanism;		  /* see pgste_mechanism_name */
	uint32_t nr_vcpus;		  /* 1 .. PGSTE_MAX_VCPUS */
	uint32_t cbrl_entries;		  /* 1 .. PGSTE_CBRL_MAX */
	bool nodat;			  /* facility 147: orc 7 exists, arch_alloc_page uses it */
	bool strict;			  /* free of a free page etc. is PGSTE_E_STATE, not counted */
};

/* Names of the mechanisms, in table order, NULL past the end. */
const char *pgste_mechanism_name(unsigned i);

/* All pages stable, in use, nothing mapped.  PGSTE_E_ARG, PGSTE_E_NAME, PGSTE_E_NOMEM. */
int pgste_guest_new(struct pgste_host *host, const struct pgste_guest_config *config,
		    struct pgste_guest **guest);
/* Gives every frame and swap slot of the guest back to the host.  NULL is allowed. */
void pgste_guest_free(struct pgste_guest *guest);
uint64_t pgste_guest_pages(const struct pgste_guest *guest);
/* The number under which pgste_host_frame names this guest. */
uint32_t pgste_guest_number(const struct pgste_guest *guest);
/* Bytes that one page costs in this guest's arrays (times 8, so that bits count). */
uint64_t pgste_guest_page_bits(const struct pgste_guest *guest);

/*
 * ESSA on each gfn in order.  results: one byte a gfn, or NULL.  Errors, checked before
 * anything changes: the PGSTE_E_PGM_* in the order operation, privileged, specification;
 * PGSTE_E_ARG for vcpu; a gfn outside the guest is PGSTE_E_PGM_ADDRESSING (pgtable) or
 * gives the result 0x10 (dat); a negative gfn is PGSTE_E_GFN.
 */
int pgste_essa(struct pgste_guest *guest, uint32_t vcpu, unsigned orc,
	       const struct pgste_gfns *gfns, uint8_t *results);
/* The same for one page: the result byte, or an error. */
int pgste_essa_page(struct pgste_guest *guest, uint32_t vcpu, unsigned orc, uint64_t gfn);

/* arch_free_page / arch_alloc_page of blocks of 2^order pages, order 0 .. 39. PGSTE_E_GFN,
 * PGSTE_E_ARG (vcpu, order), PGSTE_E_STATE. */
int pgste_free(struct pgste_guest *guest, uint32_t vcpu, const struct pgste_gfns *gfns,
	       unsigned order);
int pgste_alloc(struct pgste_guest *guest, uint32_t vcpu, const struct pgste_gfns *gfns,
		unsigned order);
int pgste_free_page(struct pgste_guest *guest, uint32_t vcpu, uint64_t gfn);
int pgste_alloc_page(struct pgste_guest *guest, uint32_t vcpu, uint64_t gfn);

/*
 * Stores and loads by the guest, faulting pages in.  A page's content is one 32-bit tag,
 * 0 = all zero.  tag_step is 1 for a tag a gfn, 0 for tags[0] everywhere.
 * PGSTE_E_GFN, PGSTE_E_FOREIGN, PGSTE_E_NO_FRAME (state as before the call), PGSTE_E_NOMEM.
 */
int pgste_write(struct pgste_guest *guest, const struct pgste_gfns *gfns, const uint32_t *tags,
		unsigned tag_step);
int pgste_read(struct pgste_guest *guest, const struct pgste_gfns *gfns, uint32_t *tags);
/*
 * z/VM: a load or store of an unused page is PGSTE_E_PGM_ADDRESSING, of a volatile page
 * that was discarded PGSTE_E_PGM_DISCARD; the gfn that the last such interruption named:
 */
uint64_t pgste_fault_gfn(const struct pgste_guest *guest);
/*
 * What a load would give, without making it: nothing changes.  Foreign pages give 0; so do
 * discarded ones, and of unused pages of z/VM what a load would if they were made stable.
 */
int pgste_peek(const struct pgste_guest *guest, const struct pgste_gfns *gfns, uint32_t *tags);

/* Kernel-format words; either pointer may be NULL.  PGSTE_E_GFN. */
int pgste_get_words(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
		    uint64_t *pgste, uint64_t *pte);
/*
 * Load words (PCL is dropped); steps as for pgste_write.  What a replaced PTE held is given
 * back.  A swap entry of type 0 whose slot is in use takes one more use of it; a present
 * PTE of the frame that the page already has keeps it; any other word is foreign: it is
 * kept bit for bit, costs the host nothing, and a load or store is PGSTE_E_FOREIGN.
 */
int pgste_set_words(struct pgste_guest *guest, const struct pgste_gfns *gfns,
		    const uint64_t *pgste, unsigned pgste_step, const uint64_t *pte,
		    unsigned pte_step);
/* The packed state bytes, and whether the guest's allocator has the page free (0, 1). */
int pgste_get_states(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
		     uint8_t *states);
int pgste_get_free(const struct pgste_guest *guest, const struct pgste_gfns *gfns, uint8_t *free);

/* ---- the guest's clock, free page reporting ------------------------------------------ */

#define PGSTE_MAX_NS (UINT64_C(1) << 62)
/* The guest's clock: 0 at first; pgste_advance moves it, and so does a replay that needs it. */
uint64_t pgste_now(const struct pgste_guest *guest);
/* Let ns pass, and do on the way what the mechanism does by the clock.  PGSTE_E_ARG: the
 * clock would pass PGSTE_MAX_NS. */
int pgste_advance(struct pgste_guest *guest, uint64_t ns);

#define PGSTE_REPORT_CAPACITY 32u

/* What the guest does to free pages: nothing, init_on_free, page_poison (0xaa). */
enum pgste_poison {
	PGSTE_POISON_NONE = 0, PGSTE_POISON_INIT_ON_FREE, PGSTE_POISON_PAGE_POISON
};

/* Settings of the mechanism "reporting"; docs/model.md section 11. */
struct pgste_report_config {
	uint32_t order;	       /* smallest order that is reported, <= max_order */
	uint32_t max_order;    /* of the buddy, <= PGSTE_MAX_ORDER */
	uint32_t parked_order; /* blocks up to it are parked when freed, <= max_order */
	uint32_t capacity;     /* blocks in a call, 1 .. PGSTE_REPORT_CAPACITY */
	uint64_t parked_high;  /* pages parked on a vcpu above which some are released */
	uint32_t parked_batch; /* how many pages are released then, >= 1 */
	uint64_t delay_ns;     /* from a request to its pass, <= PGSTE_MAX_NS */
	uint64_t ack_ns;       /* what a report call takes, <= PGSTE_MAX_NS */
	uint64_t min, low;     /* watermarks of the zone in pages, <= PGSTE_MAX_PAGES */
	uint64_t spare;	       /* free pages that the view does not show, <= PGSTE_MAX_PAGES */
	enum pgste_poison poison;
	bool negotiated;       /* the device has PAGE_POISON */
	bool inhibited;	       /* the host acks and does not discard */
};
/* The kernel's, for a guest of this size and number of vcpus. */
void pgste_report_defaults(const struct pgste_guest *guest, struct pgste_report_config *config);
/*
 * PGSTE_E_NAME: not the guest's mechanism; PGSTE_E_ARG: a field out of range; PGSTE_E_BUSY:
 * something was freed or time has passed.
 */
int pgste_report_configure(struct pgste_guest *guest, const struct pgste_report_config *config);

enum pgste_report_status {
	PGSTE_REPORT_OFF = 0, PGSTE_REPORT_IDLE, PGSTE_REPORT_REQUESTED, PGSTE_REPORT_ACTIVE
};
struct pgste_report_state {
	struct pgste_report_config config;
	enum pgste_report_status status;
	uint64_t due_ns;	  /* when the worker runs next; UINT64_MAX: not asked to */
	uint64_t pages_free;	  /* in free blocks of the buddy */
	uint64_t pages_parked;	  /* on the per-CPU lists */
	uint64_t pages_isolated;  /* in the report call under way */
	uint64_t blocks_isolated;
	uint64_t passes;	  /* since the guest was created; not reset by reset_stats */
	uint64_t passes_skipped;  /* of these, for want of free memory */
	uint64_t blocks_reported; /* acked by the host */
};
struct pgste_block {
	uint64_t gfn;
	uint32_t order;
	bool reported;
};
/* All four: PGSTE_E_NAME for a guest of another mechanism. */
int pgste_report_get_state(const struct pgste_guest *guest, struct pgste_report_state *state);
/* Free blocks of an order, head first, at most max of them: how many.  PGSTE_E_ARG. */
int64_t pgste_report_free_list(const struct pgste_guest *guest, unsigned order,
			       struct pgste_block *blocks, uint64_t max);
/* Blocks parked on a vcpu, oldest first.  PGSTE_E_ARG. */
int64_t pgste_report_parked(const struct pgste_guest *guest, uint32_t vcpu,
			    struct pgste_block *blocks, uint64_t max);
/* Blocks in the report call under way, in the order in which they were isolated. */
int64_t pgste_report_isolated(const struct pgste_guest *guest, struct pgste_block *blocks,
			      uint64_t max);

/* ---- CBRL, zap, scans --------------------------------------------------------------- */

/*
 * threads, below: how many threads a scan of the whole table may use, the caller's included;
 * 0 and 1 are the same, more than 64 are 64, and small tables use fewer.  Results are those
 * of one thread.
 */

/* Pending gfns of a vcpu in order (room for PGSTE_CBRL_MAX): how many.  PGSTE_E_ARG. */
int64_t pgste_cbrl(const struct pgste_guest *guest, uint32_t vcpu, uint64_t *gfns);
/* Process the list and reset it: pages zapped. PGSTE_E_ARG. */
int64_t pgste_intercept(struct pgste_guest *guest, uint32_t vcpu);
/* Zap one page if it may be zapped: 1 or 0.  PGSTE_E_GFN. */
int64_t pgste_zap(struct pgste_guest *guest, uint64_t gfn);
/* The same over the whole table: pages zapped. */
int64_t pgste_zap_scan(struct pgste_guest *guest, unsigned threads);
/* Pages that pgste_zap_scan would zap now; a read of the whole table. */
uint64_t pgste_count_zappable(const struct pgste_guest *guest, unsigned threads);

struct pgste_state_counts {
	uint64_t pages[4][3]; /* [usage][0 resident, 1 preserved, 2 zero], content as in ESSA */
	uint64_t nodat, dirty, swap, zappable;
};
void pgste_count_states(const struct pgste_guest *guest, unsigned threads,
			struct pgste_state_counts *counts);
/*
 * gfns >= start with (state & mask) == value, ascending, at most max of them: how many.
 * PGSTE_E_ARG: value has bits outside mask; PGSTE_E_NOMEM with several threads only.
 */
int64_t pgste_find(const struct pgste_guest *guest, unsigned threads, uint64_t start, uint8_t mask,
		   uint8_t value, uint64_t *gfns, uint64_t max);

/*
 * The change bit of the guest's storage keys (GC), as SSKE sets it: z/VM keeps a potentially
 * volatile page if it is on.  Stores set it on z/VM, and never on KVM.  PGSTE_E_GFN.
 */
int pgste_set_changed(struct pgste_guest *guest, const struct pgste_gfns *gfns, bool on);

/* KVM_S390_VM_MEM_CLR_CMMA: USAGE and NODAT of every page to 0 (dat: attribute-dirty too). */
void pgste_reset_cmma(struct pgste_guest *guest);
/* Migration mode: every ESSA is interpreted; starting makes every page attribute-dirty. */
void pgste_set_migration(struct pgste_guest *guest, bool on);
bool pgste_get_migration(const struct pgste_guest *guest);
/* Problem state of a vcpu: ESSA is then a privileged-operation exception. PGSTE_E_ARG. */
int pgste_set_problem_state(struct pgste_guest *guest, uint32_t vcpu, bool on);

#define PGSTE_GUEST_STATS(X)                                                                 \
	X(essa)		     /* ESSA instructions */                                         \
	X(appended)	     /* CBRL entries written */                                      \
	X(intercepts)	     /* exits to process a CBRL, those asked for included */          \
	X(processed)	     /* CBRL entries processed */                                    \
	X(zapped)	     /* pages zapped: swap entry given up, PTE none */               \
	X(zap_slots_freed)   /* swap slots that became free by that */                       \
	X(hints)	     /* ESSA, madvise or report calls made for free and alloc */     \
	X(hint_pages)	     /* pages these covered */                                       \
	X(hint_frames_freed) /* host frames given back by hints at once */                   \
	X(hint_slots_freed)  /* swap slots given back by hints at once */                    \
	X(pages_freed)	     /* pages that the guest freed */                                \
	X(pages_allocated)   /* pages that the guest allocated */                            \
	X(double_frees)	     /* frees of pages that were free */                             \
	X(double_allocs)     /* allocs of pages that were in use */                          \
	X(zero_fills)	     /* page faults answered with a zeroed frame */                  \
	X(swap_ins)	     /* page faults answered from swap */                            \
	X(swap_outs)	     /* pages of this guest written to swap */                       \
	X(unused_discards)   /* unused pages that reclaim dropped unwritten */               \
	X(lazyfree_discards) /* lazyfree pages that reclaim dropped unwritten */             \
	X(volatile_discards) /* volatile pages that reclaim dropped unwritten (z/VM) */

struct pgste_guest_stats {
	PGSTE_GUEST_STATS(PGSTE_STATS_FIELD)
};
void pgste_guest_get_stats(const struct pgste_guest *guest, struct pgste_guest_stats *stats);
void pgste_guest_reset_stats(struct pgste_guest *guest);
const char *pgste_guest_stats_name(unsigned i);

/* First broken invariant of a host and its guests as a fixed sentence, NULL if none. Slow. */
const char *pgste_validate(const struct pgste_host *host);

/* ---- guarantees: exhaustive search ---------------------------------------------------- */

/*
 * A guest of one to three pages on a host of its own is driven through every sequence of
 * these actions, breadth first, and each question gets the shortest run that settles it, or
 * the knowledge that no state does.  docs/guarantees.md.
 */
#define PGSTE_ACTIONS(X)                                                                     \
	X(WRITE, write)		  /* store by the guest */                                    \
	X(READ, read)		  /* load by the guest */                                     \
	X(SWAP_OUT, swap_out)	  /* the host reclaims the page */                            \
	X(SWAP_IN, swap_in)	  /* the host faults the page in */                           \
	X(FREE, free)		  /* free, of a page that is free too */                      \
	X(FREE_RACED, free_raced) /* free, with a store just before the host is told */       \
	X(ALLOC, alloc)		  /* alloc, of a page in use too */                           \
	X(TAKE, take)		  /* the guest uses a free page again without alloc */        \
	X(ZAP, zap)		  /* the host zaps the page if it may, however late */        \
	X(PIN, pin)		  /* a reference beside the mapping, taken or dropped */      \
	X(RECLAIM, reclaim)	  /* the host reclaims one frame, whichever */                \
	X(INTERCEPT, intercept)	  /* the host processes the list */                           \
	X(ZAP_SCAN, zap_scan)	  /* the host zaps every page that it may */                  \
	X(RESET, reset_cmma)	  /* KVM_S390_VM_MEM_CLR_CMMA */                              \
	X(MIGRATE, migrate)	  /* migration mode on or off */                              \
	X(REPORT, report)	  /* reporting: the pass or the ack that is due */            \
	X(PRESSURE, pressure)	  /* the host runs out of memory: all it can reclaim goes */

#define PGSTE_ACTION_ENUM(NAME, name) PGSTE_ACTION_##NAME,
enum pgste_action { PGSTE_ACTIONS(PGSTE_ACTION_ENUM) PGSTE_NR_ACTIONS };
const char *pgste_action_name(unsigned i);

/* Each is something that may happen; a guarantee is that it never does. */
#define PGSTE_QUESTIONS(X)                                                                   \
	X(FREE_NOT_ZERO, free_not_zero)	    /* right after free a load does not give zero */  \
	X(FREE_SWAPPED_NOT_ZERO, free_swapped_not_zero) /* the same for a swapped page */     \
	X(FREE_READABLE, free_readable)	    /* right after free a load works */               \
	X(ZAP_NOT_ZERO, zap_not_zero)	    /* after the zap a load does not give zero */     \
	X(ALLOC_NOT_ZERO, alloc_not_zero)   /* after alloc a load does not give zero */       \
	X(ZAPPED, zapped)		    /* the host gives a free page's content up */     \
	X(NOT_ZAPPED_AT_ONCE, not_zapped_at_once) /* the host keeps something after free */   \
	X(NOT_ZAPPED_LATER, not_zapped_later) /* and still does when it ran short */          \
	X(STALE, stale)			    /* a load gives data from before the free */      \
	X(STALE_AFTER_ZERO, stale_after_zero) /* the same after it once read as zero */       \
	X(TOUCH_FAULTS, touch_faults)	    /* a load or store of a free page is refused */   \
	X(LOST_IN_USE, lost_in_use)	    /* a store made after alloc is lost */            \
	X(LOST_FREE, lost_free)		    /* one made between free and alloc is */          \
	X(LOST_TAKEN, lost_taken)	    /* one made with alloc skipped is */              \
	X(LOST_RACED, lost_raced)	    /* one made while the host is told is */          \
	X(REUSE_FAILS, reuse_fails)	    /* with alloc skipped a store is lost or refused */ \
	X(ZAP_HARMS, zap_harms)		    /* zapping one page changes another */            \
	X(ENTRY_LOST, entry_lost)	    /* a list entry goes unprocessed */               \
	X(ENTRY_FREED_TWICE, entry_freed_twice) /* a swap slot is given up twice */           \
	X(STABLE_ZERO_LOST, stable_zero_lost) /* a page made stable with ZERO set loses content */

#define PGSTE_QUESTION_ENUM(NAME, name) PGSTE_QUESTION_##NAME,
enum pgste_question { PGSTE_QUESTIONS(PGSTE_QUESTION_ENUM) PGSTE_NR_QUESTIONS };
const char *pgste_question_name(unsigned i);

struct pgste_search_config {
	const char *mechanism;
	enum pgste_generation generation;
	enum pgste_rearm rearm;
	enum pgste_poison poison; /* of free page reporting */
	uint32_t nr_pages;	 /* 1 .. 3 */
	uint32_t nr_frames;	 /* 1 .. nr_pages */
	uint32_t nr_swap_slots;	 /* 0 .. nr_pages */
	uint32_t cbrl_entries;	 /* 1 .. 2 */
	bool obedient;		 /* pages but the watched one, 0, keep to the protocol */
	uint64_t max_states;	 /* PGSTE_E_NOMEM beyond */
};

struct pgste_step {
	uint8_t action; /* enum pgste_action */
	uint8_t gfn;	/* 0 for actions without a page, those from RECLAIM on */
};
#define PGSTE_SEARCH_STEPS 64u

struct pgste_search_answer {
	uint64_t premises;  /* transitions on which the question arose at all */
	uint32_t nr_steps;  /* of the shortest run that shows it; 0: it never happens */
	struct pgste_step steps[PGSTE_SEARCH_STEPS];
};
struct pgste_search_result {
	uint64_t states, transitions;
	uint32_t depth; /* steps to the farthest state */
	struct pgste_search_answer answers[PGSTE_NR_QUESTIONS];
};
/* PGSTE_E_ARG, PGSTE_E_NAME, PGSTE_E_NOMEM. */
int pgste_search(const struct pgste_search_config *config, struct pgste_search_result *result);

/* ---- trace events ------------------------------------------------------------------- */

/* One event in 64 bits: kind (bits 0-1), order (bits 2-7), pfn (bits 8-63). */
enum pgste_event_kind { PGSTE_EVENT_ALLOC = 0, PGSTE_EVENT_FREE = 1 };
#define PGSTE_EVENT(kind, order, pfn) \
	((uint64_t)(pfn) << 8 | (uint64_t)(order) << 2 | (uint64_t)(kind))
#define PGSTE_EVENT_KIND(e) ((unsigned)((e) & 3))
#define PGSTE_EVENT_ORDER(e) ((unsigned)((e) >> 2 & 0x3f))
#define PGSTE_EVENT_PFN(e) ((e) >> 8)
#define PGSTE_MAX_ORDER 39u

/* ---- replay ------------------------------------------------------------------------- */

/*
 * A replay drives one or more guests of one host with the same events: event by event, each
 * guest in turn.  A block's pfn less base_pfn is its gfn.  Setup (not counted): pages whose
 * first event is a free are written, the others freed, and all counters are reset.
 */
struct pgste_replay;

#define PGSTE_REPLAY_STATS(X)                                                                \
	X(events)	  /* events replayed, over all guests */                              \
	X(stale_allocs)	  /* alloc events where a read before the first write gives old data */ \
	X(stale_pages)	  /* pages of these */                                                \
	X(implied_frees)  /* pages allocated while live: freed first */                       \
	X(ignored_frees)  /* pages freed while free: left out */

struct pgste_replay_stats {
	PGSTE_REPLAY_STATS(PGSTE_STATS_FIELD)
	double frame_seconds; /* integral of frames in use over trace time */
	double swap_seconds;  /* integral of swap slots in use over trace time */
	double seconds;	      /* trace time covered */
};
const char *pgste_replay_stats_name(unsigned i);

/*
 * events, nr: the whole trace, read for the setup; must outlive the replay unchanged.
 * times_ns: nr times, or NULL.  PGSTE_E_ARG: no guest, guests of several hosts, an event
 * that lies outside [base_pfn, base_pfn + pages of a guest), order > 39, kind > 1;
 * PGSTE_E_NO_FRAME during setup (the guests are then as far as setup went).
 */
int pgste_replay_new(struct pgste_guest *const *guests, unsigned nr_guests, uint64_t base_pfn,
		     const uint64_t *events, const uint64_t *times_ns, uint64_t nr,
		     struct pgste_replay **replay);
void pgste_replay_free(struct pgste_replay *replay);
/*
 * Replay the next n events at most: how many, 0 at the end.  On PGSTE_E_NO_FRAME the events
 * before the failing one are done, pgste_replay_position tells which it is; that one may be
 * half done, and the replay is over.  Between calls the last run of frees may be held back
 * to join with the next; any other call on the guest that could see it issues it.
 */
int64_t pgste_replay_run(struct pgste_replay *replay, uint64_t n);
uint64_t pgste_replay_position(const struct pgste_replay *replay);
void pgste_replay_get_stats(const struct pgste_replay *replay, struct pgste_replay_stats *stats);

/* What a trace holds, counted in file order as traces do: the live set starts empty. */
#define PGSTE_TRACE_SUMMARY(X)                                                               \
	X(alloc_events)                                                                      \
	X(free_events)                                                                       \
	X(pages_allocated)                                                                   \
	X(pages_freed)                                                                       \
	X(frees_of_allocated)  /* free events all of whose pages were live */                \
	X(frees_of_unknown)    /* free events none of whose pages was live */                \
	X(frees_of_block)      /* free events of exactly one block as it was allocated */    \
	X(frees_of_part)       /* free events of a part of a larger block */                 \
	X(allocs_of_live)      /* alloc events that hit a live page */                       \
	X(unique_allocated)    /* different pages allocated */                               \
	X(unique_pages)	       /* different pages in any event */                            \
	X(peak_live)	       /* most pages live at once, from an empty start */             \
	X(live_at_end)                                                                       \
	X(live_at_start)       /* pages whose first event is a free */                       \
	X(peak_in_use)	       /* most pages in use at once, those of the start included */  \
	X(lowest_pfn)                                                                        \
	X(highest_pfn)	       /* last page of the highest block */

struct pgste_trace_summary {
	PGSTE_TRACE_SUMMARY(PGSTE_STATS_FIELD)
	uint64_t alloc_orders[64], free_orders[64];
};
const char *pgste_trace_summary_name(unsigned i);
/*
 * Takes about 9 bytes of memory for each page in an event.  PGSTE_E_ARG: an event with
 * kind > 1, order > 39 or a block that reaches above pfn 2^56; PGSTE_E_NOMEM, also when the
 * table would need more than half of this machine's memory.
 */
int pgste_trace_summarize(const uint64_t *events, uint64_t nr,
			  struct pgste_trace_summary *summary);

/* ---- trace decoding ----------------------------------------------------------------- */

enum pgste_text_format {
	PGSTE_TEXT_UNKNOWN = 0, PGSTE_TEXT_FTRACE, PGSTE_TEXT_TRACE_CMD, PGSTE_TEXT_PERF
};

#define PGSTE_DECODE_STATS(X)                                                                \
	X(lines)	/* lines read, those of comments included */                          \
	X(comments)	/* comment, header and blank lines */                                 \
	X(events)	/* alloc and free events decoded */                                   \
	X(batched)	/* mm_page_free_batched lines, skipped */                             \
	X(other)	/* other events, and lines of call stacks below events, skipped */    \
	X(failed)	/* failed allocs (no page: pfn 0 or -1), skipped */                   \
	X(backwards)	/* events older than the one above, which take its time */            \
	X(lost)		/* events that the tracer says it lost, as far as it counts them */   \
	X(lost_lines)	/* lines or ring-buffer pages that say so */

struct pgste_decode_stats {
	PGSTE_DECODE_STATS(PGSTE_STATS_FIELD)
};
const char *pgste_decode_stats_name(unsigned i);

struct pgste_decoder;
int pgste_decoder_new(struct pgste_decoder **decoder);
void pgste_decoder_free(struct pgste_decoder *decoder);
/*
 * Decode the next bytes of ftrace, perf script or trace-cmd text.  Only whole lines are
 * taken: *used tells how many bytes, and the rest must be given again with more behind it.
 * Pieces may end anywhere.  end: these are the last bytes; text that ends without a newline
 * is cut off, and so an error, as is a line of more than 64 KiB.  Writes at most max events
 * and their times (ns, never going back) and stops when there is room for no more: then
 * *used < nr_bytes and the call is to be repeated.  No line of an event has fewer than
 * PGSTE_MIN_EVENT_LINE bytes.
 * Returns the events written, or PGSTE_E_FORMAT; pgste_decoder_error then has the number of
 * the line and the reason, what the call wrote is undefined, and every later call gives
 * the same error.
 */
#define PGSTE_MIN_EVENT_LINE 38u
int64_t pgste_decoder_feed(struct pgste_decoder *decoder, const char *bytes, size_t nr_bytes,
			   bool end, uint64_t *events, uint64_t *times_ns, uint64_t max,
			   size_t *used);
enum pgste_text_format pgste_decoder_format(const struct pgste_decoder *decoder);
void pgste_decoder_get_stats(const struct pgste_decoder *decoder, struct pgste_decode_stats *stats);
const char *pgste_decoder_error(const struct pgste_decoder *decoder, uint64_t *line);

/*
 * Ring-buffer pages of the kernel's tracer (kernel/trace/ring_buffer.c).  A page is what one
 * read of page_bytes from per_cpu/cpuN/trace_pipe_raw gives, and what trace.dat holds for
 * each CPU, one after another: a header (time stamp in bytes 0-7, commit: bytes of data in
 * the page, with flags for lost events) and commit bytes of records from data_offset on.
 * A short read leaves the rest of the page undefined, which is not looked at.
 * The layout comes from events/header_page and the format files of the events; an id of -1
 * says that there is no such event.  A pfn has 4 or 8 bytes, the others 1, 2, 4 or 8.
 */
struct pgste_ring_format {
	int32_t id_alloc, id_free, id_free_batched;
	uint32_t common_type_offset, common_type_bytes;
	uint32_t alloc_pfn_offset, alloc_pfn_bytes, alloc_order_offset, alloc_order_bytes;
	uint32_t free_pfn_offset, free_pfn_bytes, free_order_offset, free_order_bytes;
	uint32_t page_bytes;			    /* size of one ring-buffer page */
	uint32_t commit_offset, commit_bytes, data_offset; /* of header_page */
	bool big_endian;
};
/*
 * Decode one page: events written (at most max), their times as the trace clock gave them
 * (ns for the clocks "local", "global", "mono", "boot").  stats is added to: events,
 * batched, other, failed, lost, lost_lines.  PGSTE_E_FORMAT with *error_offset the byte
 * within the page; PGSTE_E_ARG if format makes no sense, or if max cannot hold a page's worth
 * (page_bytes / 8).  After an error the arrays are undefined and stats is as it was.
 */
int64_t pgste_ring_decode(const struct pgste_ring_format *format, const void *page,
			  uint64_t *events, uint64_t *times_ns, uint64_t max,
			  struct pgste_decode_stats *stats, size_t *error_offset);

/* ---- live memory -------------------------------------------------------------------- */

/*
 * The guest's verbs over real memory of this process and the real madvise(2).  A gfn is a
 * page of the mapping, of the machine's page size.  Beside enum pgste_error these functions
 * return PGSTE_OS_ERROR(errno) for a system call that the kernel refused; *cost then tells
 * the run of pages it was refused for, and the runs before that one are done.
 * Not for use after fork (the child has no such mapping).
 */
#define PGSTE_OS_ERROR(os_errno) (-1000 - (os_errno))
#define PGSTE_OS_ERRNO(error) ((error) < -1000 ? -1000 - (int)(error) : 0)

struct pgste_live;

enum pgste_live_backing {
	PGSTE_LIVE_ANONYMOUS = 0, /* private anonymous: what a guest's memory is */
	PGSTE_LIVE_SHARED,	  /* shared anonymous */
	PGSTE_LIVE_FILE,	  /* private mapping of fd, which must hold nr_pages pages */
	PGSTE_LIVE_HUGETLB	  /* private, from the pool of huge pages */
};

struct pgste_live_config {
	uint64_t nr_pages; /* 1 .. PGSTE_MAX_PAGES; hugetlb rounds it up to whole huge pages */
	enum pgste_live_backing backing;
	int fd;		   /* PGSTE_LIVE_FILE: stays the caller's, may be closed afterwards */
};

/* What the system calls of one function took; ns is CLOCK_MONOTONIC around them. */
struct pgste_live_cost {
	uint64_t calls, pages, ns;
	uint64_t failed_gfn, failed_pages; /* the run that was refused */
};

/*
 * Starts with MADV_NOHUGEPAGE (PGSTE_LIVE_ANONYMOUS is aligned to 2 MiB, so that MADV_HUGEPAGE
 * may follow) and MADV_DONTFORK.  PGSTE_E_ARG, PGSTE_E_NOMEM, or what mmap refused.
 */
int pgste_live_new(const struct pgste_live_config *config, struct pgste_live **live);
void pgste_live_free(struct pgste_live *live);
uint64_t pgste_live_pages(const struct pgste_live *live);
uint64_t pgste_live_page_bytes(const struct pgste_live *live);
/* First byte of the mapping. */
void *pgste_live_base(const struct pgste_live *live);
/* mlock2(MLOCK_ONFAULT) of the whole mapping. */
int pgste_live_lock(struct pgste_live *live);
/* Whether process_madvise and PAGEMAP_SCAN may be used (default: tried when first needed). */
void pgste_live_allow(struct pgste_live *live, bool vector, bool scan);

/*
 * madvise with a MADV_* number of blocks of 2^order pages; blocks of which one begins where
 * the one before ended become one call, and several runs one process_madvise where the
 * kernel allows it on oneself.  Pages told, or PGSTE_E_GFN, PGSTE_E_ARG (order > 39).
 */
int64_t pgste_live_advise(struct pgste_live *live, const struct pgste_gfns *gfns, unsigned order,
			  int advice, struct pgste_live_cost *cost);
/*
 * Store and load 32-bit words at a byte offset (a multiple of 4) in each page, with real
 * loads and stores that fault.  store: word_step is 1 for a word a gfn, 0 for words[0];
 * load: nr_words words a gfn.  PGSTE_E_GFN, PGSTE_E_ARG.  cost may be NULL.
 */
int pgste_live_store(struct pgste_live *live, const struct pgste_gfns *gfns, unsigned offset,
		     const uint32_t *words, unsigned word_step, struct pgste_live_cost *cost);
int pgste_live_load(struct pgste_live *live, const struct pgste_gfns *gfns, unsigned offset,
		    uint32_t *words, unsigned nr_words, struct pgste_live_cost *cost);

/* A page as /proc/self/pagemap shows it; the last two bits come from /proc/kpageflags. */
#define PGSTE_LIVE_PRESENT 0x01
#define PGSTE_LIVE_SWAPPED 0x02
#define PGSTE_LIVE_ZERO 0x04	  /* present: the shared zero page (with PAGEMAP_SCAN or flags) */
#define PGSTE_LIVE_HUGE 0x08	  /* present: part of a huge mapping (with PAGEMAP_SCAN) */
#define PGSTE_LIVE_EXCLUSIVE 0x10 /* present: mapped here only */
#define PGSTE_LIVE_LAZYFREE 0x20  /* present: anonymous and not swap-backed */
#define PGSTE_LIVE_SWAPCACHE 0x40 /* present: in the swap cache */

/* Residency without touching the pages.  flags: ask kpageflags too, which needs root. */
int pgste_live_states(struct pgste_live *live, const struct pgste_gfns *gfns, uint8_t *states,
		      bool flags);
/* mincore(2): 1 for a page that is in memory, or in the swap cache, else 0. */
int pgste_live_mincore(struct pgste_live *live, const struct pgste_gfns *gfns, uint8_t *resident);

struct pgste_live_counts {
	uint64_t present, swapped; /* present: those on the shared zero page not included */
	uint64_t zero;		   /* on the shared zero page */
	uint64_t huge;		   /* of the present ones, part of a huge mapping */
};
/* Over the whole mapping, by PAGEMAP_SCAN, or page by page where the kernel has none. */
int pgste_live_count(struct pgste_live *live, struct pgste_live_counts *counts);

#define PGSTE_LIVE_REPLAY_STATS(X)                                                           \
	X(events)	 /* events replayed */                                               \
	X(touched)	 /* pages stored to after an alloc */                                \
	X(touch_ns)	 /* time of these stores, page faults and swap-in included */        \
	X(hints)	 /* madvise calls */                                                 \
	X(hint_pages)	 /* pages these covered */                                           \
	X(hint_ns)	 /* time in them */                                                  \
	X(stale_allocs)	 /* allocs of which a page still held old bytes */                   \
	X(stale_pages)	 /* such pages */                                                    \
	X(implied_frees) /* pages allocated while in use: freed first */                     \
	X(ignored_frees) /* pages freed while free: left out */

struct pgste_live_replay_stats {
	PGSTE_LIVE_REPLAY_STATS(PGSTE_STATS_FIELD)
};
const char *pgste_live_replay_stats_name(unsigned i);

/* State of a replay on live memory, zeroed by the caller; in_use has a byte a page. */
struct pgste_live_replay {
	struct pgste_live *live;
	uint8_t *in_use;
	int advice; /* MADV_* number of a free, -1: none */
	uint32_t tag;
	uint64_t pending_gfn, pending_nr; /* run of freed pages not yet told */
	struct pgste_live_replay_stats stats;
};
/* Store to the pages that are in use, as the setup of pgste_replay does. */
void pgste_live_replay_setup(struct pgste_live_replay *replay);
/*
 * Replay events, whose pfn is a gfn here, with the rules of pgste_replay: events done, or
 * PGSTE_E_ARG for an event that does not fit (those before it are done), or what madvise
 * refused.  end: tell the pending run of freed pages too.
 */
int64_t pgste_live_replay_run(struct pgste_live_replay *replay, const uint64_t *events,
			      uint64_t nr, bool end);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
#endif
