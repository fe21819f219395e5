/* SPDX-License-Identifier: MIT */
/*
 * The invariants of a host and its guests, checked by walking everything.  Tests and fuzzers
 * call it after every step; the first one that does not hold is named.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/guest.h"

/* A list, of the number that its frames say: NR_LISTS and above are those of generations. */
static const char *check_list_of(const struct pgste_host *host, const struct list *l,
				 unsigned number)
{
	uint64_t nr = 0;
	uint32_t prev = NIL;

	for (uint32_t f = l->head; f != NIL; f = host->frames[f].next) {
		const bool is_gens = number >= PGSTE_NR_LISTS;

		if (f >= host->fresh_frame || nr++ > l->nr)
			return "a list runs into a frame never used, or in a circle";
		if (host->frames[f].prev != prev ||
		    (is_gens ? mglru_list(host->lru->gens, &host->frames[f], f) != l :
			       list_number(host, f) != number))
			return "a frame's links or list number do not fit its list";
		prev = f;
	}
	return l->tail == prev && l->nr == nr ? NULL : "a list's tail or count is wrong";
}

/* Generations: their lists, how many pages have each, and the sequence numbers. */
static const char *check_gens(const struct pgste_host *host, uint64_t *on_lists)
{
	const struct mglru *g = host->lru->gens;
	uint64_t nr[NR_GENS][NR_TYPES] = { 0 };

	for (unsigned i = 0; i < NR_GENS * NR_TYPES; i++) {
		const struct list *l = &g->lists[i / NR_TYPES][i % NR_TYPES];
		const char *broken = check_list_of(host, l, PGSTE_NR_LISTS + i);

		if (broken)
			return broken;
		for (uint32_t f = l->head; f != NIL; f = host->frames[f].next)
			nr[gen_get(g, f)][i % NR_TYPES]++;
		*on_lists += l->nr;
	}
	if (memcmp(nr, g->nr, sizeof(nr)) != 0)
		return "the count of a generation's pages is wrong";
	if (g->isolated.nr || g->kept.nr)
		return "a page is isolated although nothing is reclaimed";
	/* seq_is_valid */
	if (nr_gens(g, GEN_FILE) < MIN_GENS || nr_gens(g, GEN_ANON) > NR_GENS ||
	    g->min_seq[GEN_ANON] > g->min_seq[GEN_FILE])
		return "the sequence numbers of generations do not fit one another";
	return NULL;
}

static const char *check_lists(const struct pgste_host *host)
{
	uint64_t on_lists = 0;

	for (unsigned l = PGSTE_LIST_ACTIVE; l < PGSTE_NR_LISTS; l++) {
		const char *broken = check_list_of(host, &host->lists[l], l);

		if (broken)
			return broken;
		on_lists += host->lists[l].nr;
	}
	if (has_gens(host)) {
		const char *broken = check_gens(host, &on_lists);

		if (broken)
			return broken;
	}
	if (on_lists + host->nr_free != host->config.nr_frames)
		return "frames on lists and free frames do not add up to all frames";
	return NULL;
}

/* The slots of each cluster, and the list it is on; those never used are many, and all free. */
static const char *check_clusters(const struct pgste_host *host)
{
	const struct lru *lru = host->lru;
	const uint64_t slots = host->config.nr_swap_slots;
	const uint32_t whole = (uint32_t)((slots + 1) / CLUSTER_SLOTS);
	const uint32_t fresh = lru->fresh_cluster < whole ? lru->fresh_cluster : whole;
	uint64_t nr = (uint64_t)(whole - fresh) * CLUSTER_SLOTS;

	for (uint32_t c = 0; c < lru->nr_clusters; c = c + 1 == fresh ? whole : c + 1) {
		const struct cluster *cluster = &lru->clusters[c];
		uint64_t at = (uint64_t)c * CLUSTER_SLOTS, used = CLUSTER_SLOTS;

		for (uint64_t end = at + CLUSTER_SLOTS; at < end; at++)
			used -= at && at <= slots && !slot_is_used(lru, at - 1);
		if (cluster->count != used || cluster->flag >= CLUSTER_NONE)
			return "a cluster's count of slots is wrong, or it is on no list";
		if ((cluster->flag == CLUSTER_FREE) != !used ||
		    (cluster->flag == CLUSTER_FULL && used != CLUSTER_SLOTS))
			return "a cluster is on a list for others";
		nr += CLUSTER_SLOTS - used;
	}
	return nr == host->nr_slots_free ? NULL : "the count of free slots is wrong";
}

static const char *check_free_stacks(const struct pgste_host *host)
{
	uint64_t nr = host->config.nr_frames - host->fresh_frame;

	for (uint32_t f = host->free_frame; f != NIL; f = host->frames[f].next)
		if (host->frames[f].list != PGSTE_LIST_FREE || ++nr > host->nr_free)
			return "the stack of free frames holds a used frame, or a circle";
	if (nr != host->nr_free)
		return "the count of free frames is wrong";
	if (host->lru)
		return check_clusters(host);
	nr = host->config.nr_swap_slots - host->fresh_slot;
	for (uint32_t s = host->free_slot; s != NIL; s = host->slots[s].frame)
		if (host->slots[s].count != SLOT_FREE || ++nr > host->nr_slots_free)
			return "the stack of free slots holds a used slot, or a circle";
	if (nr != host->nr_slots_free)
		return "the count of free slots is wrong";
	return NULL;
}

static const char *check_frames(const struct pgste_host *host)
{
	uint64_t nr_cached = 0, nr_held = 0, nr_unmapped = 0;

	for (uint64_t i = 0; i < host->fresh_frame; i++) {
		const struct frame *f = &host->frames[i];
		const struct mm *mm;

		if (f->list == PGSTE_LIST_FREE)
			continue;
		if (host->lru && frame_is_unmapped(f)) {
			if (f->slot == NIL || host->slots[f->slot].frame != i || f->dirty ||
			    frame_holds(f) != f->writeback ||
			    (host->slots[f->slot].count == 0 && !host->config.write_delay))
				return "a frame that nobody maps is no clean copy of a slot in use";
			nr_held += f->writeback;
			nr_unmapped++;
			nr_cached++;
			continue;
		}
		if (f->owner >= host->room_mms || !host->mms[f->owner])
			return "a frame's guest is gone";
		mm = host->mms[f->owner];
		if (f->gfn >= mm->nr_pages ||
		    !pte_is_present(mm->pte[f->gfn], mm->state[f->gfn]) ||
		    (mm->pte[f->gfn] & COLD_FOREIGN) ||
		    mm->pte[f->gfn] >> PTE_PFRA_SHIFT != i)
			return "a frame's page does not map it";
		nr_held += frame_holds(f);
		if (f->writeback && f->slot == NIL)
			return "a frame under writeback has no swap slot";
		if (f->slot == NIL)
			continue;
		if (f->slot >= host->fresh_slot || host->slots[f->slot].frame != i ||
		    host->slots[f->slot].count == SLOT_FREE)
			return "a frame in the swap cache and its slot do not name one another";
		if (f->list == PGSTE_LIST_LAZYFREE)
			return "a lazyfree frame is in the swap cache";
		nr_cached++;
	}
	if (host->lru && nr_unmapped != host->lru->unmapped)
		return "the count of frames that nobody maps is wrong";
	if (nr_held != host->nr_held)
		return "the count of frames that are held is wrong";
	return nr_cached == host->nr_cached ? NULL : "the count of cached slots is wrong";
}

/* What the host's own PTE of a dat guest's page may be, beside what the guest has. */
static bool host_pte_fits(const struct mm *mm, uint64_t gfn)
{
	const uint16_t bits = mm->two.bits[gfn];
	const bool present = pte_is_present(mm->pte[gfn], mm->state[gfn]);

	if (!present)
		return !bits;
	if (bits & HOST_APART)
		return !(mm->state[gfn] & PGSTE_STATE_VALID);
	return (bits & PTE_PRESENT) && (mm->pte[gfn] & COLD_FOREIGN || !(bits & ~HOST_LOW));
}

/* Every PTE of a guest; uses[slot] counts the entries of each slot. */
static const char *check_guest(const struct pgste_guest *guest, uint32_t *uses, uint64_t *mapped)
{
	const struct pgste_host *host = guest->mm.host;
	uint64_t nr_foreign = 0;

	for (uint64_t gfn = chunk_next(&guest->mm, 0); gfn < guest->mm.nr_pages;
	     gfn = chunk_next(&guest->mm, gfn + 1)) {
		const uint64_t cold = guest->mm.pte[gfn], index = cold >> PTE_PFRA_SHIFT;
		const uint8_t state = guest->mm.state[gfn];

		if (watch_stops_at(gfn))
			return pgste_strerror(PGSTE_E_CANCELLED);
		if (guest->mm.two.bits && !host_pte_fits(&guest->mm, gfn))
			return "the host's own PTE does not fit the guest's";
		if (cold & COLD_FOREIGN) {
			nr_foreign++;
		} else if (state & PGSTE_STATE_SWAP) {
			if (state & PGSTE_STATE_VALID || index >= host->fresh_slot ||
			    (host->lru && !slot_is_used(host->lru, index)) ||
			    host->slots[index].count == SLOT_FREE)
				return "a swap entry names a slot that is not in use";
			uses[index]++;
		} else if (cold & PTE_PRESENT) {
			if (index >= host->fresh_frame ||
			    host->frames[index].list == PGSTE_LIST_FREE ||
			    host->frames[index].owner != guest->mm.number ||
			    host->frames[index].gfn != gfn)
				return "a present PTE names a frame that is not the page's";
			++*mapped;
		} else if (cold || state & PGSTE_STATE_VALID) {
			return "a PTE is neither none, swap, present nor foreign";
		}
	}
	if (nr_foreign != guest->mm.nr_foreign)
		return "the count of foreign PTEs is wrong";
	for (uint32_t v = 0; v < guest->nr_vcpus; v++)
		if (guest->vcpus[v].nr > guest->cbrl_entries)
			return "a CBRL holds more than its entries";
	if (slots_validate(guest))
		return slots_validate(guest);
	return guest->mech->validate ? guest->mech->validate(guest) : NULL;
}

static const char *check_uses(const struct pgste_host *host, uint32_t *uses)
{
	const char *broken = NULL;
	uint64_t mapped = 0;

	for (uint32_t i = 0; i < host->room_mms && !broken; i++)
		if (host->mms[i])
			broken = check_guest(guest_of(host->mms[i]), uses, &mapped);
	if (broken)
		return broken;
	if (host->lru)
		mapped += host->lru->unmapped;
	if (mapped != host->config.nr_frames - host->nr_free)
		return "frames in use and pages mapped differ in number";
	for (uint64_t s = 0; s < host->fresh_slot; s++) {
		if (host->slots[s].count == SLOT_FREE ||
		    (host->lru && !slot_is_used(host->lru, s)))
			continue;
		if (host->slots[s].count != uses[s])
			return "a slot's use count is not the number of its entries";
		if (host->slots[s].count == 0 && host->slots[s].frame == NIL)
			return "a slot that nobody uses is not free";
	}
	return NULL;
}

const char *pgste_validate(const struct pgste_host *host)
{
	const char *broken = check_lists(host);
	uint32_t few[8] = { 0 }; /* the search asks a small host very often */
	uint32_t *uses = few;

	if (!broken)
		broken = check_free_stacks(host);
	if (!broken)
		broken = check_frames(host);
	if (broken)
		return broken;
	if (host->fresh_slot > sizeof(few) / sizeof(*few))
		uses = calloc(host->fresh_slot, sizeof(*uses));
	if (!uses)
		return "no memory to check with";
	broken = check_uses(host, uses);
	if (uses != few)
		free(uses);
	return broken;
}
