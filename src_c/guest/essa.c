/* SPDX-License-Identifier: MIT */
/*
 * The ESSA instruction on one page, an array of gfns, or a range.  An operation is one look-up
 * of the page's state byte in the row of its orc (essa_table.c).
 *
 * Normal path: a vcpu whose list is full intercepts before its next ESSA, whatever the orc.
 * The loops therefore run in stretches no longer than the room in the list and need no test
 * for it at each page.  Interpretation path (migration mode): every ESSA intercepts.
 */
#include "guest/essa_list.h"
#include "guest/paths.h"

/* Measured on random gfns: 96 to 128 pages ahead are best, for a bare loop as well. */
#define ESSA_AHEAD 128u
/*
 * RUN pages or more that follow each other in an array are a run; the scan kernel does runs of
 * RUN_SCAN or more.  At most RUN_MAX are looked at before some are done, as a list may be full
 * before their end.
 */
#define RUN 32u
#define RUN_SCAN 64u
#define RUN_MAX 1024u

static ALWAYS_INLINE unsigned essa_lookup(uint8_t *state, const uint16_t *row, bool shared)
{
	unsigned entry;
	uint8_t was;

	if (shared)
		return essa_one_shared(state, row, &was);
	entry = row[*state];
	*state = ESSA_NEW(entry);
	return entry;
}

/*
 * Migration mode: operation, entry into the next slot, all entries processed at once.  z/VM
 * has no list: what an entry would stand for is done.
 */
static unsigned essa_interpreted(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc,
				 uint64_t gfn)
{
	unsigned result = PGSTE_RESULT_EXCEPTION;
	uint8_t *state, was;

	vcpu->essa++;
	if (page_exists(guest, gfn)) {
		unsigned entry;

		state = &guest->mm.state[gfn];
		if (guest->shared) {
			entry = essa_one_shared(state, guest->rows[orc].entry, &was);
		} else {
			was = *state;
			entry = guest->rows[orc].entry[was];
			*state = ESSA_NEW(entry);
		}
		result = ESSA_RESULT(entry);
		if (__builtin_expect(entry & (unsigned)~was & PGSTE_STATE_DIRTY, 0) &&
		    guest->migration)
			__atomic_fetch_add(&guest->nr_dirty, 1, __ATOMIC_RELAXED);
		if (ESSA_APPEND(entry) && guest->mm.generation == PGSTE_GEN_ZVM)
			zvm_lose(guest, vcpu, gfn);
		else if (ESSA_APPEND(entry))
			cbrl_append(vcpu, gfn);
	}
	if (guest->mm.generation == PGSTE_GEN_ZVM)
		return result;
	if (vcpu->nr)
		cbrl_process(guest, vcpu);
	else
		vcpu->intercepts++;
	return result;
}

unsigned essa_any(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc, uint64_t gfn)
{
	unsigned entry;

	if (essa_is_first(guest))
		essa_first(guest);
	if (guest->interpreted)
		return essa_interpreted(guest, vcpu, orc, gfn);
	if (vcpu->nr >= guest->cbrl_entries)
		cbrl_process(guest, vcpu);
	vcpu->essa++;
	if (!page_exists(guest, gfn))
		return PGSTE_RESULT_EXCEPTION;
	entry = essa_lookup(&guest->mm.state[gfn], guest->rows[orc].entry, guest->shared);
	if (ESSA_APPEND(entry))
		cbrl_append(vcpu, gfn);
	return ESSA_RESULT(entry);
}

/*
 * A stretch of n gfns from index at, with room for n entries.  The entry is written always and
 * kept only if the page is appended: no branch.  Pointers are in local variables because a
 * store of a state byte could change anything in memory else.  A gfn that is not inside the
 * guest any more becomes the page `pages`, whose state byte is padding of the table.
 */
static ALWAYS_INLINE void essa_stretch(uint8_t *state, uint64_t pages, struct essa_list *list,
				       const uint16_t *row, enum pgste_gfn_type type,
				       const struct pgste_gfns *gfns, uint64_t at, uint64_t n,
				       uint8_t *results, bool shared)
{
	const struct pgste_gfns all = *gfns;
	const uint64_t end = at + n;
	const uint64_t ahead = end + ESSA_AHEAD <= all.nr ? end : /* the rest has no prefetch */
			       all.nr > ESSA_AHEAD && all.nr - ESSA_AHEAD > at ?
			       all.nr - ESSA_AHEAD : at;
	uint64_t *entries = list->entries + list->nr;
	unsigned seen = 0;

#define ESSA_STEP() do {                                                                     \
		uint64_t gfn = min_u64(gfn_unbounded(type, &all, at), pages);                 \
		unsigned entry = essa_lookup(&state[gfn], row, shared);                       \
		*entries = gfn;                                                               \
		entries += ESSA_APPEND(entry);                                                \
		seen |= entry;                                                                \
		if (results)                                                                  \
			results[at] = ESSA_RESULT(entry);                                     \
	} while (0)
#pragma GCC unroll 4
	for (; at < ahead; at++) {
		__builtin_prefetch(&state[gfn_unbounded(type, &all, at + ESSA_AHEAD)], 1);
		ESSA_STEP();
	}
	for (; at < end; at++)
		ESSA_STEP();
#undef ESSA_STEP
	list->nr = (uint32_t)(entries - list->entries);
	list->seen |= (uint8_t)seen;
}

/*
 * After a stretch: were there gfns outside the guest?  They then changed the padding, and what
 * they put on the list from entry `from` on is taken off.  With vcpus on other threads, which
 * may have put the padding right, the entries themselves are looked at.
 */
static bool essa_went_outside(uint8_t *state, uint64_t pages, struct essa_list *list,
			      uint32_t from, bool shared)
{
	bool outside = false;
	uint32_t kept = from;

	if (!shared && !state[pages])
		return false;
	for (uint32_t i = from; i < list->nr; i++) {
		outside |= list->entries[i] >= pages;
		list->entries[kept] = list->entries[i];
		kept += list->entries[i] < pages;
	}
	list->nr = kept;
	if (outside || !shared)
		__atomic_store_n(&state[pages], 0, __ATOMIC_RELAXED);
	return outside || !shared;
}

/*
 * Fetch what comes PREFETCH pages behind a run that is done next, were it runs as well: the
 * kernel that does this one does not look at the array.
 */
static ALWAYS_INLINE void run_prefetch(const uint8_t *state, enum pgste_gfn_type type,
				       const struct pgste_gfns *gfns, uint64_t at, uint64_t run)
{
	const uint64_t end = min_u64(at + run + ESSA_AHEAD, gfns->nr);

	for (uint64_t i = at + ESSA_AHEAD; i < end; i += RUN)
		__builtin_prefetch(&state[gfn_unbounded(type, gfns, i)], 1);
}

/*
 * The next part of an array, whose gfns were inside the guest when the call began: PGSTE_OK, or
 * PGSTE_E_CHANGED if one is not any more.  Runs are looked for where the last one ended, and
 * less and less often as long as there are none.
 */
static ALWAYS_INLINE int essa_stretches(struct pgste_guest *guest, struct vcpu *vcpu,
					 const struct essa_row *row, enum pgste_gfn_type type,
					 const struct pgste_gfns *gfns, uint64_t *next,
					 uint8_t *results, bool shared)
{
	const struct scan_ops *scan = scan_ops();
	struct essa_list list = list_open(guest, vcpu);
	const uint64_t pages = guest->mm.nr_pages, from = *next;
	const uint64_t to = from + min_u64(gfns->nr - from, WATCH_STEPS);
	uint64_t at = from, patience = RUN;
	bool outside = false;

	while (at < to && !outside) {
		uint64_t n, run, first;
		uint32_t before;

		list_make_room(guest, vcpu, &list);
		before = list.nr;
		run = shared ? 0 : gfns_run(gfns, at, RUN_MAX, 1, pages, &first);
		if (run >= RUN_SCAN) {
			run_prefetch(guest->mm.state, type, gfns, at, run);
			n = scan->essa(guest->mm.state + first, run, row,
				       results ? results + at : NULL, first, &list);
		} else {
			n = min_u64(run ? run : patience,
				    min_u64(gfns->nr - at, list.limit - list.nr));
			essa_stretch(guest->mm.state, pages, &list, row->entry, type, gfns, at, n,
				     results, shared);
			outside = essa_went_outside(guest->mm.state, pages, &list, before, shared);
		}
		patience = run ? RUN : min_u64(2 * patience, UINT64_C(1) << 16);
		vcpu->appended += list.nr - before;
		at += n;
	}
	vcpu->nr = list.nr;
	vcpu->essa += at - from;
	*next = at;
	return outside ? PGSTE_E_CHANGED : PGSTE_OK;
}

#define ESSA_CASE(type)                                                                      \
	case type:                                                                           \
		if (guest->shared)                                                           \
			return essa_stretches(guest, vcpu, row, type, gfns, next, results,   \
					      true);                                         \
		return essa_stretches(guest, vcpu, row, type, gfns, next, results, false)

int essa_array(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc,
		const struct pgste_gfns *gfns, uint64_t *next, uint8_t *results)
{
	const struct essa_row *row;

	if (gfns->nr && essa_is_first(guest))
		essa_first(guest);
	row = &guest->rows[orc];
	switch (gfns->type) {
	ESSA_CASE(PGSTE_GFN_U8);
	ESSA_CASE(PGSTE_GFN_U16);
	ESSA_CASE(PGSTE_GFN_U32);
	ESSA_CASE(PGSTE_GFN_U64);
	ESSA_CASE(PGSTE_GFN_I8);
	ESSA_CASE(PGSTE_GFN_I16);
	ESSA_CASE(PGSTE_GFN_I32);
	ESSA_CASE(PGSTE_GFN_I64);
	ESSA_CASE(PGSTE_GFN_RANGE);
	}
	return PGSTE_E_ARG;
}

/* A range that was in slots when the call began, and is not any more: page by page. */
static __attribute__((noinline)) void range_with_holes(struct pgste_guest *guest,
						       struct vcpu *vcpu, unsigned orc,
						       uint64_t gfn, uint64_t nr, uint8_t *results)
{
	for (uint64_t at = 0; at < nr; at++) {
		const unsigned result = essa_any(guest, vcpu, orc, gfn + at);

		if (results)
			results[at] = (uint8_t)result;
	}
}

/*
 * A range inside the guest: by the scan kernel from intercept to intercept, so that every
 * page sees the list and the zaps that it would see alone.
 */
void essa_range(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc, uint64_t gfn,
		uint64_t nr, uint8_t *results)
{
	const struct scan_ops *scan = scan_ops();
	struct essa_list list = list_open(guest, vcpu);
	uint64_t at = 0;

	if (nr && essa_is_first(guest))
		essa_first(guest);
	if (guest->interpreted) {
		for (; at < nr; at++) {
			unsigned result = essa_interpreted(guest, vcpu, orc, gfn + at);

			if (results)
				results[at] = (uint8_t)result;
		}
		return;
	}
	if (!memslots_have(&guest->slots, gfn, nr)) {
		range_with_holes(guest, vcpu, orc, gfn, nr, results);
		return;
	}
	if (guest->shared) {
		essa_range_shared(guest, vcpu, orc, gfn, nr, results);
		return;
	}
	while (at < nr) {
		uint32_t before;

		list_make_room(guest, vcpu, &list);
		before = list.nr;
		at += scan->essa(guest->mm.state + gfn + at, nr - at, &guest->rows[orc],
				 results ? results + at : NULL, gfn + at, &list);
		vcpu->appended += list.nr - before;
	}
	vcpu->nr = list.nr;
	vcpu->essa += nr;
}
