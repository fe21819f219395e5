/* SPDX-License-Identifier: MIT */
/*
 * Memory slots: which pages a guest has, and where they are in the host's address space.  The
 * tables of a guest have a row for every page below its limit; slots say which rows count.
 */
#ifndef GUEST_MEMSLOTS_H
#define GUEST_MEMSLOTS_H

#include "base/base.h"
#include "pgste/slots.h"

#define TABLE_PAGES UINT64_C(256) /* of a page table: _PAGE_ENTRIES */

struct memslots {
	struct pgste_slot *at; /* ascending bases, no overlap */
	/*
	 * Slots that were deleted, as long as no other has come to their gfns: their host memory
	 * still has what it had.
	 */
	struct pgste_slot *gone;
	uint32_t nr, nr_gone, room, room_gone;
	bool whole; /* one slot of all pages: no page is outside */
};

/* The index of the first slot that ends behind gfn; nr if there is none. */
uint32_t memslots_above(const struct memslots *slots, uint64_t gfn);

/* The slot of a page, NULL outside every one. */
static inline const struct pgste_slot *memslots_find(const struct memslots *slots, uint64_t gfn)
{
	const uint32_t i = memslots_above(slots, gfn);

	return i < slots->nr && slots->at[i].base <= gfn ? &slots->at[i] : NULL;
}

/* Are all pages of [gfn, gfn + nr) in slots? */
bool memslots_cover(const struct memslots *slots, uint64_t gfn, uint64_t nr);
/*
 * The same for pages that are below the guest's limit; at once where no page is outside of slots.
 */
static inline bool memslots_have(const struct memslots *slots, uint64_t gfn, uint64_t nr)
{
	return __builtin_expect(slots->whole, 1) || memslots_cover(slots, gfn, nr);
}

/* The pages of slots from gfn on, or those of neighbours joined: *end is one past; false: none. */
bool memslots_next(const struct memslots *slots, uint64_t *gfn, uint64_t *end);

/* ---- of a guest ---- */

struct pgste_guest;

/* What is wrong with the slots as a fixed sentence, NULL if nothing; see pgste_validate. */
const char *slots_validate(const struct pgste_guest *guest);
/*
 * The next pages from *gfn on that a walk of all PGSTEs meets, or false: dat passes over holes, in
 * pgtable the walk is of the host's memory.
 */
bool slots_walk(const struct pgste_guest *guest, uint64_t *gfn, uint64_t *end);
/* Are the blocks of nr pages at gfns all in slots? *bad is the first that is not. */
bool slots_cover(const struct pgste_guest *guest, const struct pgste_gfns *gfns, uint64_t nr,
		 uint64_t *bad);
/*
 * The host page of a guest page, and the guest page at a host page; PGSTE_NO_HOST_PAGE if there
 * is none.  What v7.0 zaps for a CBRL entry is slot_guest_gfn(guest, entry): it takes the guest
 * address for the host's (released.md B).
 */
uint64_t slot_host_gfn(const struct pgste_guest *guest, uint64_t gfn);
uint64_t slot_guest_gfn(const struct pgste_guest *guest, uint64_t host);

#endif
