/* SPDX-License-Identifier: MIT */
/* ESSA as it is called from outside: what the machine refuses, and which way is taken. */
#include "guest/essa.h"

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

/* What is done of a range at once: a vector kernel has more done in the same time. */
static uint64_t range_part(const struct pgste_guest *guest, uint64_t left)
{
	return min_u64(left, guest->shared || guest->interpreted ? WATCH_STEPS : WATCH_SLICE);
}

int essa_all(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc,
	     const struct pgste_gfns *gfns, bool inside, uint8_t *results)
{
	int error = PGSTE_OK;

	for (uint64_t n, at = 0; at < gfns->nr && !error;) {
		if (at && !watch_rest())
			return PGSTE_E_CANCELLED;
		/* asked each time: after a rest the guest may be in another mode */
		if (inside && gfns->type == PGSTE_GFN_RANGE) {
			n = range_part(guest, gfns->nr - at);
			essa_range(guest, vcpu, orc, gfns->first + at, n,
				   results ? results + at : NULL);
			at += n;
		} else if (inside && !guest->interpreted) {
			error = essa_array(guest, vcpu, orc, gfns, &at, results);
		} else {
			error = essa_singly(guest, vcpu, orc, gfns, &at, inside, results);
		}
	}
	return error;
}

static int essa_check(const struct pgste_guest *guest, uint32_t vcpu, unsigned orc)
{
	if (vcpu >= guest->nr_vcpus)
		return PGSTE_E_ARG;
	if (!guest->mech->cmma)
		return PGSTE_E_PGM_OPERATION;
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
	bool inside;
	int error = essa_check(guest, vcpu, orc);

	if (error)
		return error;
	inside = gfns_below(gfns, guest->mm.nr_pages);
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
	if (gfn >= guest->mm.nr_pages) {
		if (gfn >= MAX_GFN)
			return PGSTE_E_GFN;
		if (guest->mm.generation != PGSTE_GEN_DAT)
			return PGSTE_E_PGM_ADDRESSING;
	}
	return (int)essa_one(guest, &guest->vcpus[vcpu], orc, gfn);
}
