/* SPDX-License-Identifier: MIT */
/* ESSA as it is called from outside: what the machine refuses, and which way is taken. */
#include <string.h>

#include "guest/essa.h"
#include "guest/paths.h"

/* One by one; a gfn outside the guest has a result of its own (dat). */
static int essa_singly(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc,
			const struct pgste_gfns *gfns, uint64_t *next, bool inside,
			uint8_t *results)
{
	const uint64_t to = *next + min_u64(gfns->nr - *next, WATCH_STEPS);

	for (; *next < to; ++*next) {
		const uint64_t gfn = gfn_unbounded(gfns->type, gfns, *next);
		unsigned result;

		if (inside && gfn >= guest->mm.nr_pages)
			return PGSTE_E_CHANGED;
		result = essa_one(guest, vcpu, orc, gfn);
		if (results)
			results[*next] = (uint8_t)result;
	}
	return PGSTE_OK;
}

/*
 * A run of nr gfns outside the guest (dat).  The first one empties a list that is full, and
 * then the others have nothing to do but to be counted and answered.
 */
static int essa_outside(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc, uint64_t gfn,
			uint64_t nr, uint8_t *results)
{
	const unsigned result = essa_any(guest, vcpu, orc, gfn);

	for (uint64_t n, at = 0; at < nr; at += n) {
		n = results ? min_u64(nr - at, WATCH_SLICE) : nr;
		if (at && !watch_rest())
			return PGSTE_E_CANCELLED;
		if (results)
			memset(results + at, (int)result, n);
		vcpu->essa += at ? n : n - 1;
		if (guest->interpreted)
			vcpu->intercepts += at ? n : n - 1;
	}
	return PGSTE_OK;
}

/* The next part of a range, which may pass the end of the guest (dat) or lie behind it. */
static int essa_range_part(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc,
			   const struct pgste_gfns *range, uint64_t *next, uint8_t *results)
{
	const uint64_t gfn = range->first + *next, left = range->nr - *next;
	const uint64_t pages = guest->mm.nr_pages;
	/* a vector kernel has more done in the same time */
	const bool quick = !guest->shared && !guest->interpreted && guest->slots.whole;
	uint64_t n = min_u64(left, quick ? WATCH_SLICE : WATCH_STEPS);

	results = results ? results + *next : NULL;
	if (gfn >= pages) {
		*next = range->nr;
		return essa_outside(guest, vcpu, orc, gfn, left, results);
	}
	n = min_u64(n, pages - gfn);
	essa_range(guest, vcpu, orc, gfn, n, results);
	*next += n;
	return PGSTE_OK;
}

int essa_all(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc,
	     const struct pgste_gfns *gfns, bool inside, uint8_t *results)
{
	int error = PGSTE_OK;

	for (uint64_t at = 0; at < gfns->nr && !error;) {
		if (at && !watch_rest())
			return PGSTE_E_CANCELLED;
		/* asked each time: after a rest the guest may have other slots, or another mode */
		if (gfns->type == PGSTE_GFN_RANGE)
			error = essa_range_part(guest, vcpu, orc, gfns, &at, results);
		else if (inside && !guest->interpreted && guest->slots.whole)
			error = essa_array(guest, vcpu, orc, gfns, &at, results);
		else
			error = essa_singly(guest, vcpu, orc, gfns, &at, inside, results);
	}
	return error;
}

static int essa_check(struct pgste_guest *guest, uint32_t vcpu, unsigned orc)
{
	if (vcpu >= guest->nr_vcpus)
		return PGSTE_E_ARG;
	if (!guest->use_cmma) {
		guest_runs(guest); /* whoever executes an instruction is there */
		return PGSTE_E_PGM_OPERATION;
	}
	if (guest->vcpus[vcpu].problem_state)
		return PGSTE_E_PGM_PRIVILEGED;
	if (orc > PGSTE_ORC_SET_STABLE_NODAT ||
	    (orc == PGSTE_ORC_SET_STABLE_NODAT && !guest->nodat))
		return PGSTE_E_PGM_SPECIFICATION;
	return PGSTE_OK;
}

#define MAX_GFN (UINT64_C(1) << 52) /* of a 64-bit absolute address */

int pgste_essa(struct pgste_guest *guest, uint32_t vcpu, unsigned orc,
	       const struct pgste_gfns *gfns, uint8_t *results)
{
	uint64_t bad;
	bool inside;
	int error = essa_check(guest, vcpu, orc);

	if (error)
		return error;
	if (gfns->nr && essa_is_first(guest))
		essa_first(guest);
	inside = gfns_below(gfns, guest->mm.nr_pages) && slots_cover(guest, gfns, 1, &bad);
	if (!inside && !gfns_below(gfns, MAX_GFN))
		return PGSTE_E_GFN;
	if (!inside && guest->mm.generation != PGSTE_GEN_DAT)
		return PGSTE_E_PGM_ADDRESSING;
	return essa_all(guest, &guest->vcpus[vcpu], orc, gfns, inside, results);
}

int pgste_essa_page(struct pgste_guest *guest, uint32_t vcpu, unsigned orc, uint64_t gfn)
{
	int error = essa_check(guest, vcpu, orc);

	if (error)
		return error;
	if (!page_exists(guest, gfn)) {
		if (gfn >= MAX_GFN)
			return PGSTE_E_GFN;
		if (guest->mm.generation != PGSTE_GEN_DAT)
			return PGSTE_E_PGM_ADDRESSING;
	}
	return (int)essa_one(guest, &guest->vcpus[vcpu], orc, gfn);
}
