/* SPDX-License-Identifier: MIT */
/* ESSA as it is called from outside: what the machine refuses, and which way is taken. */
#include <string.h>

#include "guest/essa.h"

/* A range inside the guest, in parts between which the call can be ended. */
static int essa_slices(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc,
			const struct pgste_gfns *range, uint8_t *results)
{
	for (uint64_t n, at = 0; at < range->nr; at += n) {
		n = min_u64(range->nr - at, WATCH_SLICE);
		if (at && watch_stops())
			return PGSTE_E_CANCELLED;
		essa_range(guest, vcpu, orc, range->first + at, n, results ? results + at : NULL);
	}
	return PGSTE_OK;
}

/* One by one; a gfn outside the guest has a result of its own. */
static int essa_each(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc,
		     const struct pgste_gfns *gfns, uint8_t *results)
{
	for (uint64_t i = 0; i < gfns->nr; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		unsigned r = essa_one(guest, vcpu, orc, gfn_unbounded(gfns->type, gfns, i));

		if (results)
			results[i] = (uint8_t)r;
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
		if (at && watch_stops())
			return PGSTE_E_CANCELLED;
		if (results)
			memset(results + at, (int)result, n);
		vcpu->essa += at ? n : n - 1;
		if (guest->interpreted)
			vcpu->intercepts += at ? n : n - 1;
	}
	return PGSTE_OK;
}

/* A range that may pass the end of the guest (dat), or lie behind it. */
static int essa_any_range(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc,
			  const struct pgste_gfns *range, bool covered, uint8_t *results)
{
	const uint64_t pages = guest->mm.nr_pages;
	struct pgste_gfns part = *range;
	int error;

	part.nr = range->first < pages ? min_u64(range->nr, pages - range->first) : 0;
	error = covered ? essa_slices(guest, vcpu, orc, &part, results) :
			  essa_each(guest, vcpu, orc, &part, results);
	if (error || part.nr == range->nr)
		return error;
	return essa_outside(guest, vcpu, orc, range->first + part.nr, range->nr - part.nr,
			    results ? results + part.nr : NULL);
}

static int essa_check(struct pgste_guest *guest, uint32_t vcpu, unsigned orc)
{
	if (vcpu >= guest->nr_vcpus)
		return PGSTE_E_ARG;
	if (!guest->use_cmma) {
		pgste_create_vcpus(guest); /* whoever executes an instruction is there */
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
	struct vcpu *v;
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
	v = &guest->vcpus[vcpu];
	if (gfns->type == PGSTE_GFN_RANGE)
		return essa_any_range(guest, v, orc, gfns, inside || guest->slots.whole, results);
	if (inside && !guest->interpreted && guest->slots.whole)
		return essa_array(guest, v, orc, gfns, results);
	return essa_each(guest, v, orc, gfns, results);
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
