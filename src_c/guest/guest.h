/* SPDX-License-Identifier: MIT */
/*
 * A guest: an address space of the host with a PGSTE a page, vcpus with a CBRL each, the
 * guest's own view of what is free, and a mechanism that tells the host of it.  This room is
 * the only writer of USAGE.  Beside the 11 bytes of memory/memory.h a page costs
 *
 *   free    1 bit    the guest's allocator has the page free
 *   odd     8 bytes  PGSTE bits that no kernel of the generation defines, and dat's val16;
 *                    the array exists only once such a bit was loaded
 */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include "guest/memslots.h"
#include "memory/memory.h"
#include "pgste/cmma_log.h"
#include "pgste/essa.h"
#include "scan/scan.h"

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

/*
 * What a mechanism does at free and alloc, of nr pages in blocks of 2^order; src_c/mech/ has
 * them.  Neither can fail.  free may hold a run back to join it with the next; flush issues
 * it.  One that acts by the guest's clock has due and tick.  Hooks that are NULL do nothing.
 */
struct mech {
	const char *name;
	bool cmma;	    /* the guest has ESSA */
	bool kvm_only;	    /* needs madvise or virtio, which z/VM does not have */
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

struct pgste_guest {
	struct mm mm; /* first: guest_of */
	uint64_t *free;
	uint64_t *odd;
	const struct essa_row *rows; /* in force: normal or interpretation path */
	struct vcpu *vcpus;
	const struct mech *mech;
	void *mech_data;
	uint64_t now_ns;
	uint32_t nr_vcpus;
	uint32_t cbrl_entries;
	bool nodat, strict, migration;
	bool shared;	  /* more than one vcpu: ESSA must be atomic */
	bool interpreted; /* no list: every ESSA is carried out by the host at once */
	bool list_misses; /* v7.0, and host addresses that are not the guest's; see cbrl.c */
	bool special;	  /* essa_one() has something to look at; see guest_set_paths */
	bool use_cmma;	  /* CMMA is enabled */
	bool uses_cmm, vcpus_created;
	bool interpretation; /* interpreted without migrating, too */
	enum pgste_log_revision log_revision;
	struct memslots slots;
	uint64_t nr_dirty; /* cmma_dirty_pages */
	struct pgste_entries *entries; /* where zaps tell what they gave up, or NULL */
	uint64_t fault_gfn; /* zvm: of the last program interruption */
	uint64_t pending_gfn, pending_nr; /* run of frees that flush will issue */
};

static inline struct pgste_guest *guest_of(struct mm *mm)
{
	return (struct pgste_guest *)mm;
}

/* A guest with this mechanism, which the generation must have; as pgste_guest_new. */
int guest_create(struct pgste_host *host, const struct pgste_guest_config *config,
		 const struct mech *mech, struct pgste_guest **guest);

static inline void guest_settle(struct pgste_guest *guest)
{
	if (guest->pending_nr)
		guest->mech->flush(guest);
}

/* Between two parts of a call: others may go first where the mechanism holds nothing back. */
static inline bool guest_rest(const struct pgste_guest *guest)
{
	return guest->mech->cmma ? watch_rest() : !watch_stops();
}

/* ---- ESSA as a table (essa_table.c); essa.h has the instruction ---- */

/* dirtying: the interpretation path, which makes pages attribute-dirty in pgtable too. */
const struct essa_row *essa_rows(enum pgste_generation generation, bool dirtying);

/* ---- CBRL and zap (cbrl.c, zap.c) ---- */

static inline void cbrl_append(struct vcpu *vcpu, uint64_t gfn)
{
	vcpu->cbrl[vcpu->nr++] = gfn;
	vcpu->appended++;
}
/* Zap every entry, reset the list: pages zapped. */
uint64_t cbrl_process(struct pgste_guest *guest, struct vcpu *vcpu);
/* The same for a list without a page that is swapped out: there is nothing to zap. */
void cbrl_pass(struct vcpu *vcpu);
/* Zap one page if it may be: 1 or 0; *slots_freed is added to. */
unsigned zap_entry(struct pgste_guest *guest, uint64_t gfn, uint64_t *slots_freed);
/* The same whatever its state, if it is swapped out. */
unsigned zap_swapped(struct pgste_guest *guest, uint64_t gfn, uint64_t *slots_freed);
/* The PTE of a swapped page is about to be zapped: fetch its slot. */
static ALWAYS_INLINE void zap_prefetch(const struct pgste_guest *guest, uint64_t gfn)
{
	const uint64_t cold = __atomic_load_n(&guest->mm.pte[gfn], __ATOMIC_RELAXED);

	if (!(cold & COLD_FOREIGN))
		__builtin_prefetch(&guest->mm.host->slots[pte_index(cold)], 1);
}

/* ---- z/VM (zvm.c) ---- */

struct zvm_change {
	unsigned usage;
	bool nodat, lost; /* lost: the content is on a paging device and goes */
};
struct zvm_change zvm_request(unsigned orc, uint8_t state);
void zvm_lose(struct pgste_guest *guest, struct vcpu *vcpu, uint64_t gfn);
extern const struct usage_rules zvm_rules;

/* ---- free and in use (alloc.c) ---- */

/* Mark a run free or in use: how many pages were marked already. */
uint64_t mark_pages(struct pgste_guest *guest, uint64_t gfn, uint64_t nr, bool to_free);
static inline bool page_is_free(const struct pgste_guest *guest, uint64_t gfn)
{
	return guest->free[gfn / 64] >> (gfn % 64) & 1;
}

#endif
