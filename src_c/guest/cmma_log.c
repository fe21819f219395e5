/* SPDX-License-Identifier: MIT */
/*
 * The CMMA log of KVM: kvm_s390_get_cmma_bits and kvm_s390_set_cmma_bits, with what is behind
 * them in each revision: kvm_s390_get_cmma and kvm_s390_peek_cmma (pgtable), dat_get_cmma and
 * dat_set_cmma_bits (dat, dat_new).  cmma_peek.c has dat_peek_cmma.
 *
 * A dirty page is one whose state byte has DIRTY, whatever the kernel keeps it in.  What a block
 * has besides dirty pages differs from revision to revision, and so does where it ends.
 */
#include <string.h>

#include "guest/cmma_log.h"
#include "guest/cmma_peek.h"
#include "guest/paths.h"

/* KVM_S390_MAX_BIT_DISTANCE: a block goes on where a new one would cost as much. */
#define DISTANCE 16u
#define NONE UINT64_MAX

static const char *const names[] = {
#define NAME(NAME, name, meaning) name,
	PGSTE_LOG_REVISIONS(NAME)
#undef NAME
};

const char *pgste_log_revision_name(unsigned i)
{
	return i < PGSTE_NR_LOG_REVISIONS ? names[i] : NULL;
}

/* ---- dirty pages ---- */

/* These three with nobody else in: what switches a machine waits until its vcpus have stopped. */

void log_start(struct pgste_guest *guest)
{
	uint64_t pages = 0;

	for (uint64_t end, gfn = 0; memslots_next(&guest->slots, &gfn, &end); gfn = end) {
		dirty_set(guest->mm.state + gfn, end - gfn, false);
		pages += end - gfn;
	}
	guest->nr_dirty = pages;
}

void log_clear(struct pgste_guest *guest)
{
	dirty_drop(guest->mm.state, guest->mm.nr_pages, false);
}

void log_slot_goes(struct pgste_guest *guest, const struct pgste_slot *slot)
{
	if (guest->log_revision == PGSTE_LOG_DAT_NEW && guest->migration && guest->use_cmma)
		log_count(guest, -dirty_drop(guest->mm.state + slot->base, slot->pages, false));
}

/* The first dirty page of slots in [gfn, limit); NONE: none, or *stopped. */
static uint64_t next_dirty(const struct pgste_guest *guest, uint64_t gfn, uint64_t limit,
			   bool *stopped)
{
	for (uint64_t end; gfn < limit && memslots_next(&guest->slots, &gfn, &end);) {
		end = min_u64(end, limit);
		while (gfn < end) {
			const uint64_t part = min_u64(end, gfn + WATCH_SLICE);
			const uint64_t found = dirty_find(guest->mm.state, gfn, part);

			if (found < part)
				return found;
			if (watch_stops()) {
				*stopped = true;
				return NONE;
			}
			gfn = part;
		}
	}
	return NONE;
}

/* The pages of slots from gfn on, which is in one, without a hole: one past. */
static uint64_t without_hole(const struct pgste_guest *guest, uint64_t gfn)
{
	uint64_t end = gfn;

	(void)memslots_next(&guest->slots, &gfn, &end);
	return end;
}

/* ---- pgtable ---- */

/*
 * Where the block that begins at the dirty page first ends.  The kernel goes page by page and
 * knows one dirty page ahead.  It looks whether that one is too far away before it looks for the
 * next.  So behind the first page it bridges 15 clean pages, and behind a later one 16; where the
 * next dirty page is farther away, one clean page is still in the block.  Holes end it.
 */
static uint64_t block_end_pgtable(const struct pgste_guest *guest, uint64_t first, uint64_t room,
				  bool *stopped)
{
	const uint64_t hole = without_hole(guest, first), limit = first + room;
	uint64_t dirty = first;

	for (;;) {
		const uint64_t clean = clean_find(guest->mm.state, dirty, min_u64(hole, limit));
		const bool later = clean - 1 != first;
		const uint64_t next = next_dirty(guest, clean, limit, stopped);

		if (next == NONE || clean == hole)
			return clean;
		if (next >= clean + DISTANCE + later)
			return clean + later;
		if (next >= hole)
			return hole;
		dirty = next;
	}
}

static int get_pgtable(struct pgste_guest *guest, struct pgste_cmma_log *log, uint32_t room,
		       uint8_t *values)
{
	const struct memslots *slots = &guest->slots;
	uint64_t mem_end, first, end;
	bool stopped = false;

	log->count = room;
	if (slots->nr == 0) { /* the kernel then tells a buffer that it never wrote to */
		memset(values, 0, room);
		return PGSTE_OK;
	}
	mem_end = slots->at[slots->nr - 1].base + slots->at[slots->nr - 1].pages;
	first = next_dirty(guest, log->start_gfn < mem_end ? log->start_gfn : 0, NONE, &stopped);
	if (stopped)
		return PGSTE_E_CANCELLED;
	log->start_gfn = first == NONE ? mem_end : first;
	log->count = 0;
	if (first == NONE)
		return PGSTE_OK;
	end = block_end_pgtable(guest, first, room, &stopped);
	if (stopped)
		return PGSTE_E_CANCELLED;
	log_count(guest, -values_take(guest->mm.state + first, end - first, values, false,
				      guest->shared));
	log->count = (uint32_t)(end - first);
	return PGSTE_OK;
}

/* ---- dat ---- */

/* Where the block ends that begins at the dirty page first: behind its last dirty page. */
static uint64_t block_end_dat(const struct pgste_guest *guest, uint64_t first, uint64_t limit,
			      bool *stopped)
{
	uint64_t dirty = first;

	for (;;) {
		const uint64_t hole = without_hole(guest, dirty);
		const uint64_t end = clean_find(guest->mm.state, dirty, min_u64(hole, limit));

		dirty = next_dirty(guest, end, min_u64(limit, end + DISTANCE + 1), stopped);
		if (dirty == NONE)
			return end;
	}
}

/* Values of the dirty pages of [first, end) in slots; all others are 0. */
static void take_dat(struct pgste_guest *guest, uint64_t first, uint64_t end, uint8_t *values)
{
	uint64_t at = first, from = first;

	for (uint64_t to; at < end && memslots_next(&guest->slots, &from, &to); at = from = to) {
		from = min_u64(from, end);
		to = min_u64(to, end);
		memset(values + (at - first), 0, from - at);
		log_count(guest, -values_take(guest->mm.state + from, to - from,
					      values + (from - first), true, guest->shared));
	}
}

static int get_dat(struct pgste_guest *guest, struct pgste_cmma_log *log, uint32_t room,
		   uint8_t *values)
{
	uint64_t first, end;
	bool stopped = false;

	log->count = 0;
	first = next_dirty(guest, log->start_gfn, NONE, &stopped);
	if (first == NONE && !stopped && guest->log_revision == PGSTE_LOG_DAT_NEW)
		first = next_dirty(guest, 0, log->start_gfn, &stopped);
	if (stopped)
		return PGSTE_E_CANCELLED;
	if (first == NONE)
		return PGSTE_OK;
	end = block_end_dat(guest, first, first + room, &stopped);
	if (stopped)
		return PGSTE_E_CANCELLED;
	take_dat(guest, first, end, values);
	log->start_gfn = first;
	log->count = (uint32_t)(end - first);
	return PGSTE_OK;
}

/* ---- get ---- */

static int peek(const struct pgste_guest *guest, struct pgste_cmma_log *log, uint32_t room,
		uint8_t *values)
{
	const uint64_t nr = guest->log_revision == PGSTE_LOG_DAT ?
				    peek_dat(guest, log->start_gfn, room, values) :
				    peek_to_hole(guest, log->start_gfn, room, values);

	log->count = (uint32_t)nr;
	return nr ? PGSTE_OK : PGSTE_E_KVM_FAULT;
}

int pgste_get_cmma_bits(struct pgste_guest *guest, struct pgste_cmma_log *log, uint8_t *values)
{
	const uint32_t room = log->count < PGSTE_CMMA_MAX ? log->count : PGSTE_CMMA_MAX;
	const bool peeking = log->flags & PGSTE_CMMA_PEEK;
	struct pgste_cmma_log answer = *log;
	int error;

	if (!guest->use_cmma || guest->mm.generation == PGSTE_GEN_ZVM)
		return PGSTE_E_KVM_NXIO;
	if ((log->flags & ~PGSTE_CMMA_PEEK) || (!peeking && !guest->migration))
		return PGSTE_E_KVM_INVAL;
	if (!room || !guest->uses_cmm || (!peeking && !pgste_cmma_dirty_count(guest))) {
		*log = (struct pgste_cmma_log){ 0 };
		return PGSTE_OK;
	}
	if (peeking)
		error = peek(guest, &answer, room, values);
	else if (guest->log_revision == PGSTE_LOG_PGTABLE)
		error = get_pgtable(guest, &answer, room, values);
	else
		error = get_dat(guest, &answer, room, values);
	if (error)
		return error;
	answer.remaining = guest->migration ? pgste_cmma_dirty_count(guest) : 0;
	*log = answer;
	return PGSTE_OK;
}

/* ---- set ---- */

/* pgtable: up to the first page outside a slot. */
static int set_pgtable(struct pgste_guest *guest, uint64_t gfn, uint32_t count, uint8_t bits,
		       const uint8_t *values)
{
	uint64_t from = gfn, end = gfn;

	if (!memslots_next(&guest->slots, &from, &end) || from != gfn)
		return PGSTE_E_KVM_FAULT;
	values_write(guest->mm.state + gfn, min_u64(count, end - gfn), values, bits, 0,
		     guest->shared);
	return count > end - gfn ? PGSTE_E_KVM_FAULT : PGSTE_OK;
}

/*
 * dat: bits outside the mask become 0.  Before anything is written, the first page of each page
 * table is looked for; other pages outside of slots are passed over.
 */
static int set_dat(struct pgste_guest *guest, uint64_t gfn, uint32_t count, uint8_t bits,
		   const uint8_t *values)
{
	const uint64_t last = gfn + count;

	for (uint64_t table = gfn & ~(TABLE_PAGES - 1); table < last; table += TABLE_PAGES)
		if (!memslots_cover(&guest->slots, table, 1))
			return PGSTE_E_KVM_FAULT;
	for (uint64_t end, at = gfn;
	     at < last && memslots_next(&guest->slots, &at, &end) && at < last; at = end) {
		end = min_u64(end, last);
		values_write(guest->mm.state + at, end - at, values + (at - gfn), bits,
			     PGSTE_STATE_USAGE | PGSTE_STATE_NODAT, guest->shared);
	}
	return PGSTE_OK;
}

int pgste_set_cmma_bits(struct pgste_guest *guest, uint64_t start_gfn, uint32_t count,
			uint32_t flags, uint64_t mask, const uint8_t *values)
{
	const uint8_t bits = (uint8_t)((mask >> PGSTE_USAGE_SHIFT & PGSTE_STATE_USAGE) |
				       (mask & PGSTE_NODAT ? PGSTE_STATE_NODAT : 0));
	int error;

	if (!guest->use_cmma || guest->mm.generation == PGSTE_GEN_ZVM)
		return PGSTE_E_KVM_NXIO;
	if (flags || count > PGSTE_CMMA_MAX)
		return PGSTE_E_KVM_INVAL;
	if (start_gfn >= PGSTE_MAX_HOST_PAGE)
		return PGSTE_E_ARG;
	if (!count)
		return PGSTE_OK;
	if (guest->log_revision == PGSTE_LOG_PGTABLE)
		error = set_pgtable(guest, start_gfn, count, bits, values);
	else
		error = set_dat(guest, start_gfn, count, bits, values);
	guest->uses_cmm = true; /* even then */
	guest_set_paths(guest);
	return error;
}

/* ---- a log of one's own ---- */

static int check_log(const struct pgste_guest *guest, const struct pgste_gfns *gfns)
{
	uint64_t bad;

	if (!guest->use_cmma || guest->mm.generation == PGSTE_GEN_ZVM)
		return PGSTE_E_KVM_NXIO;
	if (guest->log_revision == PGSTE_LOG_PGTABLE && !guest->migration)
		return PGSTE_E_KVM_INVAL;
	if (!gfns_below(gfns, guest->mm.nr_pages) || !slots_cover(guest, gfns, 1, &bad))
		return PGSTE_E_GFN;
	return PGSTE_OK;
}

int pgste_mark_cmma_dirty(struct pgste_guest *guest, const struct pgste_gfns *gfns)
{
	const int error = check_log(guest, gfns);

	if (error)
		return error;
	for (uint64_t gfn, i = 0; i < gfns->nr; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		if (!gfn_get(gfns, i, guest->mm.nr_pages, &gfn) ||
		    !memslots_have(&guest->slots, gfn, 1))
			return PGSTE_E_CHANGED;
		log_count(guest, dirty_set(&guest->mm.state[gfn], 1, guest->shared));
	}
	return PGSTE_OK;
}

int pgste_set_cmma_log(struct pgste_guest *guest, const struct pgste_gfns *gfns)
{
	const int error = check_log(guest, gfns);

	if (error)
		return error;
	log_clear(guest);
	guest->nr_dirty = 0;
	return pgste_mark_cmma_dirty(guest, gfns);
}

uint64_t pgste_cmma_dirty_count(const struct pgste_guest *guest)
{
	return __atomic_load_n(&guest->nr_dirty, __ATOMIC_RELAXED);
}
