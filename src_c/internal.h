/* SPDX-License-Identifier: MIT */
/*
 * What the .c files share and nobody else sees: the layout of guests, hosts and their tables,
 * and the one-line operations on them.
 *
 * A guest's page costs 11 bytes and a bit:
 *
 *   state   1 byte   the eight bits that ESSA needs, see pgste.h
 *   pte     8 bytes  the PTE less what the state byte says (INVALID; that it is a swap entry)
 *   rest    2 bytes  the PGSTE's other defined bits
 *   free    1 bit    the guest's allocator has the page free
 *   odd     8 bytes  PGSTE bits that no kernel of the generation defines, and dat's val16;
 *                    the array exists only once such a bit was loaded
 *
 * All of it comes zeroed from mmap, and zero is "in use, stable, nothing mapped".
 */
#ifndef PGSTE_INTERNAL_H
#define PGSTE_INTERNAL_H

#include <pthread.h>

#include "pgste.h"

#define NIL UINT32_MAX
#define ALWAYS_INLINE inline __attribute__((always_inline))

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * Fetch what comes after p in a pass over a table: a loop with more work a line than a plain
 * read does not keep as many lines coming by itself.  A fetch never faults, wherever it goes.
 */
#define AHEAD 4096u
static ALWAYS_INLINE void fetch_ahead(const void *p)
{
	__builtin_prefetch((const void *)((uintptr_t)p + AHEAD));
}

/* ---- tables (mem.c) ---- */

/* Zeroed, page aligned, nothing resident until touched; NULL if the OS refuses. */
void *table_new(uint64_t nr_bytes);
void table_free(void *table, uint64_t nr_bytes);

/* ---- ESSA as a table (essa_table.c) ---- */

/* An entry: new state (bits 0-7), result (bits 8-14), append (bit 15). */
struct essa_row {
	uint16_t entry[256];
	/*
	 * For vectors, by the low seven bits of a state (pgtable and dat: SWAP neither
	 * matters nor changes): the new state with append in bit 7, and the result.
	 */
	uint8_t new[128], result[128];
};
#define ESSA_NEW(e) ((uint8_t)(e))
#define ESSA_RESULT(e) ((uint8_t)((e) >> 8 & 0x7f))
#define ESSA_APPEND(e) ((unsigned)((e) >> 15))
/* dirtying: the interpretation path, which makes pages attribute-dirty in pgtable too. */
const struct essa_row *essa_rows(enum pgste_generation generation, bool dirtying);

/* ---- the cold words ---- */

#define REST_UC UINT16_C(0x0400) /* pgtable; see word.c for the layout */

/* In the cold pte the INVALID bit is free, as the state byte has it: */
#define COLD_FOREIGN PTE_INVALID

/* ---- mechanisms (mech.c) ---- */

struct vcpu;
/*
 * What a mechanism does at free and alloc, of nr pages in blocks of 2^order.  Neither can
 * fail.  free may hold a run back to join it with the next; flush (may be NULL) issues it.
 * One that acts by the guest's clock has due and tick.  Hooks that are NULL do nothing.
 */
struct mech {
	const char *name;
	bool cmma;	    /* the guest has ESSA */
	uint32_t page_bits; /* what mech_data costs for each page */
	bool (*init)(struct pgste_guest *guest); /* sets mech_data; false: no memory */
	void (*exit)(struct pgste_guest *guest); /* mech_data may be NULL */
	void (*free)(struct pgste_guest *guest, struct vcpu *vcpu, uint64_t gfn, uint64_t nr,
		     unsigned order);
	void (*alloc)(struct pgste_guest *guest, struct vcpu *vcpu, uint64_t gfn, uint64_t nr,
		      unsigned order);
	void (*flush)(struct pgste_guest *guest);
	uint64_t (*due)(const struct pgste_guest *guest); /* UINT64_MAX: never */
	void (*tick)(struct pgste_guest *guest); /* now_ns has come to due, or passed it */
	void (*replay_starts)(struct pgste_guest *guest);
	const char *(*validate)(const struct pgste_guest *guest); /* see pgste_validate */
};
extern const struct mech mech_none, mech_cmma, mech_madv_dontneed, mech_madv_free, mech_report;
const struct mech *mech_find(const char *name);

/* ---- guests ---- */

struct vcpu {
	uint64_t cbrl[PGSTE_CBRL_MAX + 1]; /* the last slot is the host's */
	uint32_t nr;
	bool problem_state;
	/* Counted here, so that two vcpus on two threads share no line. */
	uint64_t essa, appended, intercepts, processed, zapped, zap_slots_freed;
	uint64_t hints, hint_pages;
	uint64_t pages_freed, pages_allocated, double_frees, double_allocs;
	char pad[64];
};

struct pgste_guest {
	uint8_t *state;
	uint64_t *pte;
	uint16_t *rest;
	uint64_t *free;
	uint64_t *odd;
	uint64_t *touched; /* a bit for each CHUNK pages: one of them may have a PTE */
	uint64_t nr_pages;
	const struct essa_row *rows; /* in force: normal or interpretation path */
	struct vcpu *vcpus;
	const struct mech *mech;
	void *mech_data;
	uint64_t now_ns;
	struct pgste_host *host;
	uint32_t number;
	uint32_t nr_vcpus;
	uint32_t cbrl_entries;
	enum pgste_generation generation;
	bool nodat, strict, migration;
	bool shared;		/* more than one vcpu: ESSA must be atomic */
	bool interpreted;	/* no list: every ESSA is carried out by the host at once */
	uint64_t nr_foreign;
	uint64_t fault_gfn;	/* zvm: of the last program interruption */
	uint64_t pending_gfn, pending_nr; /* run of frees that flush will issue */
	struct pgste_guest_stats stats;	  /* what is not counted in the vcpus */
};

/* So that a large guest of which little was used can be walked in little time. */
#define CHUNK_SHIFT 12
#define CHUNK (UINT64_C(1) << CHUNK_SHIFT)

static inline void chunk_touch(struct pgste_guest *guest, uint64_t gfn)
{
	guest->touched[gfn >> CHUNK_SHIFT >> 6] |= UINT64_C(1) << (gfn >> CHUNK_SHIFT & 63);
}

/* The first page >= gfn that may have a PTE, nr_pages if there is none. */
uint64_t chunk_next(const struct pgste_guest *guest, uint64_t gfn);

static inline bool pte_is_present(uint64_t cold, uint8_t state)
{
	return (cold & PTE_PRESENT) != 0 && !(state & PGSTE_STATE_SWAP);
}

/* The PTE in the kernel's format. */
static inline uint64_t pte_compose(uint64_t cold, uint8_t state)
{
	return (cold & ~COLD_FOREIGN) | (state & PGSTE_STATE_VALID ? 0 : PTE_INVALID) |
	       (state & PGSTE_STATE_SWAP ? PTE_PROTECT : 0);
}

/* The state bits of a PTE in the kernel's format. */
static inline uint8_t pte_state(uint64_t pte)
{
	bool swap = (pte & (PTE_PROTECT | PTE_PRESENT)) == PTE_PROTECT;

	return (uint8_t)((pte & PTE_INVALID ? 0 : PGSTE_STATE_VALID) |
			 (swap ? PGSTE_STATE_SWAP : 0));
}

/* Replace the PTE by a word of the host's own; the PGSTE stays. */
static inline void pte_store(struct pgste_guest *guest, uint64_t gfn, uint64_t pte)
{
	uint8_t bits = pte_state(pte);
	uint64_t cold = pte & ~PTE_INVALID;

	if (bits & PGSTE_STATE_SWAP)
		cold &= ~PTE_PROTECT;
	guest->pte[gfn] = cold;
	guest->state[gfn] = (uint8_t)((guest->state[gfn] &
				       ~(PGSTE_STATE_VALID | PGSTE_STATE_SWAP)) | bits);
}

/* usage unused or ZERO, and a swap entry: ptep_zap_unused's condition */
static inline bool state_zappable(uint8_t state)
{
	return (state & PGSTE_STATE_SWAP) &&
	       ((state & PGSTE_STATE_USAGE) == PGSTE_USAGE_UNUSED || (state & PGSTE_STATE_ZERO));
}

/* How a PTE changes, docs/model.md section 3 (pte.c). */
enum pte_access { PTE_LOAD, PTE_STORE };
void pte_map_zero(struct pgste_guest *guest, uint64_t gfn, uint32_t frame, enum pte_access access);
void pte_map_swapped(struct pgste_guest *guest, uint64_t gfn, uint32_t frame,
		     enum pte_access access);
void pte_touch(struct pgste_guest *guest, uint64_t gfn, enum pte_access access);
void pte_age(struct pgste_guest *guest, uint64_t gfn);
void pte_unmap(struct pgste_guest *guest, uint64_t gfn);
void pte_swap_out(struct pgste_guest *guest, uint64_t gfn, uint32_t slot);
void pte_zap(struct pgste_guest *guest, uint64_t gfn);
void pte_lazyfree(struct pgste_guest *guest, uint64_t gfn);
void pte_restore(struct pgste_guest *guest, uint64_t gfn);

/* cbrl.c, zap.c */
static inline void cbrl_append(struct vcpu *vcpu, uint64_t gfn)
{
	vcpu->cbrl[vcpu->nr++] = gfn;
	vcpu->appended++;
}
uint64_t cbrl_process(struct pgste_guest *guest, struct vcpu *vcpu);
void cbrl_pass(struct vcpu *vcpu);
unsigned zap_entry(struct pgste_guest *guest, uint64_t gfn, uint64_t *slots_freed);
void zap_prefetch(const struct pgste_guest *guest, uint64_t gfn);

/* zvm.c */
struct zvm_change {
	unsigned usage;
	bool nodat, lost; /* lost: the content is on a paging device and goes */
};
struct zvm_change zvm_request(unsigned orc, uint8_t state);
void zvm_lose(struct pgste_guest *guest, struct vcpu *vcpu, uint64_t gfn);
int zvm_access(struct pgste_guest *guest, uint64_t gfn);
bool zvm_drops(const struct pgste_guest *guest, uint64_t gfn);
void zvm_evicted(struct pgste_guest *guest, uint64_t gfn, bool dropped);

/* Touched since it was aged?  KVM ages by INVALID; z/VM has the key's reference bit. */
static inline bool page_is_young(const struct pgste_guest *guest, uint64_t gfn)
{
	return guest->generation == PGSTE_GEN_ZVM ? guest->pte[gfn] & PTE_YOUNG :
						    guest->state[gfn] & PGSTE_STATE_VALID;
}

/* ---- hosts ---- */

struct frame {
	uint32_t prev, next; /* list neighbours; next also links the free stack */
	uint32_t tag;
	uint32_t slot;	     /* swap cache, or NIL */
	uint64_t gfn : 40;
	uint64_t guest : 16;
	uint64_t list : 2;
	uint64_t referenced : 1;
	uint64_t dirty : 1;
	uint64_t pinned : 1; /* somebody holds a reference beside the mapping */
};

#define SLOT_FREE UINT32_MAX /* count of a slot on the free stack */
struct slot {
	uint32_t count;
	uint32_t frame; /* cached frame or NIL; on the free stack the next free slot */
	uint32_t tag;
};

struct list {
	uint32_t head, tail;
	uint64_t nr;
};

struct pgste_host {
	struct frame *frames;
	struct slot *slots;
	struct pgste_host_config config;
	uint32_t free_frame, free_slot; /* tops of the free stacks, or NIL */
	uint64_t fresh_frame, fresh_slot; /* lowest never used */
	uint64_t nr_free, nr_slots_free, nr_cached, nr_pinned;
	struct list lists[4]; /* by enum pgste_frame_list; the first is unused */
	struct pgste_guest **guests;
	uint32_t nr_guests, room_guests;
	uint32_t nr_zvm; /* guests of z/VM among them */
	enum pgste_rearm rearm;
	struct pgste_host_stats stats; /* events and peaks; levels are filled in on demand */
	pthread_mutex_t lock;	       /* swap slots, when vcpus on several threads zap */
};

static inline bool swap_nearly_full(const struct pgste_host *host)
{
	return 2 * host->nr_slots_free < host->config.nr_swap_slots;
}

/* host.c */
void list_add(struct pgste_host *host, enum pgste_frame_list list, uint32_t frame);
void list_del(struct pgste_host *host, uint32_t frame);
uint32_t frame_get(struct pgste_host *host); /* reclaims as needed; NIL: none to be had */
void frame_put(struct pgste_host *host, uint32_t frame);
/* swap.c */
uint32_t slot_get(struct pgste_host *host); /* count 0, no frame; the caller checked for room */
bool slot_put_use(struct pgste_host *host, uint32_t slot);   /* true: the slot is free now */
bool slot_uncache(struct pgste_host *host, uint32_t frame); /* true: the slot is free now */
void slot_cache(struct pgste_host *host, uint32_t slot, uint32_t frame);
/* reclaim.c */
void reclaim(struct pgste_host *host, uint64_t n);
bool drop_or_write(struct pgste_host *host, uint32_t frame); /* true: the frame is free now */

/* fault.c: one load or store; PGSTE_OK or PGSTE_E_NO_FRAME, PGSTE_E_FOREIGN (no change) */
int fault_in(struct pgste_guest *guest, uint64_t gfn, enum pte_access access, uint32_t *frame);
uint32_t content_of(const struct pgste_guest *guest, uint64_t gfn);

/* madvise.c: what the host does for one page */
void madvise_dontneed(struct pgste_guest *guest, uint64_t gfn);
void madvise_free(struct pgste_guest *guest, uint64_t gfn);
/* Make the PTE none, whatever it is, giving back what it holds; counts nothing. */
void pte_drop(struct pgste_guest *guest, uint64_t gfn);

static inline void guest_settle(struct pgste_guest *guest)
{
	if (guest->pending_nr)
		guest->mech->flush(guest);
}

/* alloc.c: one bit a page, see free */
uint64_t mark_pages(struct pgste_guest *guest, uint64_t gfn, uint64_t nr, bool to_free);
static inline bool page_is_free(const struct pgste_guest *guest, uint64_t gfn)
{
	return guest->free[gfn / 64] >> (gfn % 64) & 1;
}

/* ---- snapshot.c: undo for calls that may fail half way ---- */

struct snapshot;
struct snapshot *snapshot_take(struct pgste_guest *guest, const struct pgste_gfns *gfns);
void snapshot_restore(struct snapshot *snapshot);
void snapshot_free(struct snapshot *snapshot);

/* ---- gfn arguments (gfns.c) ---- */

static ALWAYS_INLINE uint64_t gfn_at(enum pgste_gfn_type type, const struct pgste_gfns *gfns,
				     uint64_t i)
{
	const void *data = gfns->data;

	switch (type) {
	case PGSTE_GFN_U8: return ((const uint8_t *)data)[i];
	case PGSTE_GFN_U16: return ((const uint16_t *)data)[i];
	case PGSTE_GFN_U32: return ((const uint32_t *)data)[i];
	case PGSTE_GFN_U64: return ((const uint64_t *)data)[i];
	case PGSTE_GFN_I8: return (uint64_t)((const int8_t *)data)[i];
	case PGSTE_GFN_I16: return (uint64_t)((const int16_t *)data)[i];
	case PGSTE_GFN_I32: return (uint64_t)((const int32_t *)data)[i];
	case PGSTE_GFN_I64: return (uint64_t)((const int64_t *)data)[i];
	case PGSTE_GFN_RANGE: break;
	}
	return gfns->first + i;
}
#define GFN(gfns, i) gfn_at((gfns)->type, gfns, i)

/* Every gfn < limit?  Reads the array once. */
bool gfns_below(const struct pgste_gfns *gfns, uint64_t limit);

/* ---- threads.c ---- */

#define MAX_THREADS 64u
/* One part of a table: the pages [from, to). */
typedef void part_work(void *data, unsigned part, uint64_t from, uint64_t to);
/* As many of the threads asked for as a table of nr pages can use, at least 1. */
unsigned threads_useful(unsigned threads, uint64_t nr);
/* work on each part of [0, nr), one for each of the threads; returns when all are done. */
void threads_run(unsigned threads, uint64_t nr, part_work *work, void *data);

/* ---- scan kernels (isa.c picks one table of them) ---- */

/* The CBRL of a vcpu while a call works on many pages. */
struct essa_list {
	uint64_t *entries;
	uint32_t nr, limit;
	uint8_t seen; /* or of the states of its pages, and perhaps more: is one swapped out? */
};

struct scan_ops {
	const char *name;
	bool (*supported)(void);
	/*
	 * Indices of the bytes i >= from with (state[i] & mask) == value, ascending, at most max
	 * of them: how many.
	 */
	uint64_t (*find)(const uint8_t *state, uint64_t from, uint64_t nr, uint8_t mask,
			 uint8_t value, uint64_t *found, uint64_t max);
	uint64_t (*find_zappable)(const uint8_t *state, uint64_t from, uint64_t nr);
	uint64_t (*count_zappable)(const uint8_t *state, uint64_t nr);
	void (*count_states)(const uint8_t *state, uint64_t nr, struct pgste_state_counts *counts);
	/* Set or clear all bits of a run of words: how many of them were so already. */
	uint64_t (*mark)(uint64_t *words, uint64_t nr, bool set);
	/*
	 * Look every byte of a run up in an ESSA row.  Stops after the page that fills the list
	 * and at the end: bytes done.  Appended pages (base + index) go to the list, which has
	 * room for one at the start.  results may be NULL.
	 */
	uint64_t (*essa)(uint8_t *state, uint64_t nr, const struct essa_row *row,
			 uint8_t *results, uint64_t base, struct essa_list *list);
};
extern const struct scan_ops scan_portable;
#if defined(__x86_64__)
extern const struct scan_ops scan_avx2, scan_avx512;
#endif
#ifdef __AARCH64EL__
extern const struct scan_ops scan_neon;
#endif
const struct scan_ops *scan_ops(void);

#endif
