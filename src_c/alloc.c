/* SPDX-License-Identifier: MIT */
/*
 * The guest's free and alloc calls: one bit a page for what its allocator thinks, and the
 * hook of the mechanism (arch_free_page, arch_alloc_page).  docs/model.md section 7.
 */
#include "essa.h"

static uint64_t bits_of(uint64_t gfn, uint64_t nr, uint64_t *in_word)
{
	const uint64_t bit = gfn % 64;

	*in_word = min_u64(nr, 64 - bit);
	return (*in_word == 64 ? ~UINT64_C(0) : (UINT64_C(1) << *in_word) - 1) << bit;
}

/* Mark the pages of one word, or some of them: how many were marked already. */
static uint64_t mark_bits(uint64_t *word, uint64_t bits, bool to_free, bool shared)
{
	uint64_t old, wrong;

	if (shared) {
		old = to_free ? __atomic_fetch_or(word, bits, __ATOMIC_RELAXED) :
				__atomic_fetch_and(word, ~bits, __ATOMIC_RELAXED);
	} else {
		old = *word;
		*word = to_free ? old | bits : old & ~bits;
	}
	/* rare, and without CPU features counting bits is a function call */
	wrong = (to_free ? old : ~old) & bits;
	return wrong ? (uint64_t)__builtin_popcountll(wrong) : 0;
}

/* Mark a run free or in use: how many pages were marked already. */
uint64_t mark_pages(struct pgste_guest *guest, uint64_t gfn, uint64_t nr, bool to_free)
{
	uint64_t already = 0, step;

	for (; nr; gfn += step, nr -= step) {
		const uint64_t bits = bits_of(gfn, nr, &step);
		uint64_t *word = &guest->free[gfn / 64];

		if (step == 64 && !guest->shared) {
			step = nr / 64 * 64;
			already += scan_ops()->mark(word, nr / 64, to_free);
		} else {
			already += mark_bits(word, bits, to_free, guest->shared);
		}
	}
	return already;
}

/* Are all pages of a run in the state that the call wants to change? */
static bool run_is(const struct pgste_guest *guest, uint64_t gfn, uint64_t nr, bool free)
{
	uint64_t step;

	for (; nr; gfn += step, nr -= step) {
		const uint64_t bits = bits_of(gfn, nr, &step);

		if ((guest->free[gfn / 64] & bits) != (free ? bits : 0))
			return false;
	}
	return true;
}

/* Pages of the blocks from index *i on that follow one another; *i is then past them. */
static uint64_t joined_blocks(const struct pgste_gfns *gfns, uint64_t block, uint64_t *i)
{
	const uint64_t first = GFN(gfns, *i);
	uint64_t nr = block;

	while (++*i < gfns->nr && GFN(gfns, *i) == first + nr)
		nr += block;
	return nr;
}

/* Mark all blocks; a strict guest takes back what it marked at the first that is wrong. */
static int mark_all(struct pgste_guest *guest, struct vcpu *vcpu, const struct pgste_gfns *gfns,
		    uint64_t block, bool to_free)
{
	uint64_t already = 0;

	for (uint64_t i = 0; guest->strict && i < gfns->nr; i++) {
		const uint64_t gfn = GFN(gfns, i);

		if (!run_is(guest, gfn, block, !to_free)) {
			while (i--)
				mark_pages(guest, GFN(gfns, i), block, !to_free);
			return PGSTE_E_STATE;
		}
		mark_pages(guest, gfn, block, to_free);
	}
	for (uint64_t i = 0; !guest->strict && i < gfns->nr;) {
		const uint64_t gfn = GFN(gfns, i);

		already += mark_pages(guest, gfn, joined_blocks(gfns, block, &i), to_free);
	}
	if (to_free) {
		vcpu->pages_freed += gfns->nr * block;
		vcpu->double_frees += already;
	} else {
		vcpu->pages_allocated += gfns->nr * block;
		vcpu->double_allocs += already;
	}
	return PGSTE_OK;
}

/*
 * Order-0 gfns in an array go to ESSA as they are, and blocks that are neighbours as one range,
 * which is the same ESSAs in the same order; for other mechanisms, block by block.
 */
static void hint_all(struct pgste_guest *guest, struct vcpu *vcpu, const struct pgste_gfns *gfns,
		     unsigned order, bool to_free)
{
	void (*hook)(struct pgste_guest *, struct vcpu *, uint64_t, uint64_t, unsigned) =
		to_free ? guest->mech->free : guest->mech->alloc;
	const uint64_t block = UINT64_C(1) << order;

	if (!hook)
		return;
	if (guest->mech->cmma && block == 1 && gfns->type != PGSTE_GFN_RANGE &&
	    !guest->interpreted) {
		const unsigned orc = to_free ? PGSTE_ORC_SET_UNUSED : alloc_orc(guest);

		essa_array(guest, vcpu, orc, gfns, NULL);
		vcpu->hints += gfns->nr;
		vcpu->hint_pages += gfns->nr;
		return;
	}
	if (gfns->type == PGSTE_GFN_RANGE && block == 1) {
		if (gfns->nr)
			hook(guest, vcpu, gfns->first, gfns->nr, 0);
	} else if (guest->mech->cmma) {
		for (uint64_t i = 0; i < gfns->nr;) {
			const uint64_t gfn = GFN(gfns, i);

			hook(guest, vcpu, gfn, joined_blocks(gfns, block, &i), order);
		}
	} else {
		for (uint64_t i = 0; i < gfns->nr; i++)
			hook(guest, vcpu, GFN(gfns, i), block, order);
	}
}

static int change(struct pgste_guest *guest, uint32_t vcpu, const struct pgste_gfns *gfns,
		  unsigned order, bool to_free)
{
	const uint64_t block = UINT64_C(1) << (order & 63);
	int error;

	if (vcpu >= guest->nr_vcpus || order > PGSTE_MAX_ORDER)
		return PGSTE_E_ARG;
	if (gfns->nr == 0)
		return PGSTE_OK;
	if (block > guest->nr_pages || !gfns_below(gfns, guest->nr_pages - block + 1))
		return PGSTE_E_GFN;
	guest_settle(guest);
	/* a range of single pages is one run of bits */
	if (gfns->type == PGSTE_GFN_RANGE && block == 1) {
		const struct pgste_gfns run = { .first = gfns->first, .nr = 1 };

		error = mark_all(guest, &guest->vcpus[vcpu], &run, gfns->nr, to_free);
	} else {
		error = mark_all(guest, &guest->vcpus[vcpu], gfns, block, to_free);
	}
	if (error)
		return error;
	hint_all(guest, &guest->vcpus[vcpu], gfns, order, to_free);
	guest_settle(guest);
	return PGSTE_OK;
}

int pgste_free(struct pgste_guest *guest, uint32_t vcpu, const struct pgste_gfns *gfns,
	       unsigned order)
{
	return change(guest, vcpu, gfns, order, true);
}

int pgste_alloc(struct pgste_guest *guest, uint32_t vcpu, const struct pgste_gfns *gfns,
		unsigned order)
{
	return change(guest, vcpu, gfns, order, false);
}

/* The scalar calls: the same for one page, with as little around the ESSA as possible. */
static int change_page(struct pgste_guest *guest, uint32_t vcpu, uint64_t gfn, unsigned orc,
		       bool to_free)
{
	const struct pgste_gfns one = { .type = PGSTE_GFN_RANGE, .first = gfn, .nr = 1 };
	struct vcpu *v;
	uint64_t bit, *word;

	if (vcpu >= guest->nr_vcpus)
		return PGSTE_E_ARG;
	if (gfn >= guest->nr_pages)
		return PGSTE_E_GFN;
	if (!guest->mech->cmma || guest->shared)
		return change(guest, vcpu, &one, 0, to_free);
	v = &guest->vcpus[vcpu];
	word = &guest->free[gfn / 64];
	bit = UINT64_C(1) << gfn % 64;
	if (!(*word & bit) != to_free) {
		if (guest->strict)
			return PGSTE_E_STATE;
		*(to_free ? &v->double_frees : &v->double_allocs) += 1;
	}
	*word ^= (-(uint64_t)to_free ^ *word) & bit;
	*(to_free ? &v->pages_freed : &v->pages_allocated) += 1;
	essa_hint(guest, v, orc, gfn);
	return PGSTE_OK;
}

int pgste_free_page(struct pgste_guest *guest, uint32_t vcpu, uint64_t gfn)
{
	return change_page(guest, vcpu, gfn, PGSTE_ORC_SET_UNUSED, true);
}

int pgste_alloc_page(struct pgste_guest *guest, uint32_t vcpu, uint64_t gfn)
{
	return change_page(guest, vcpu, gfn, alloc_orc(guest), false);
}

int pgste_get_free(const struct pgste_guest *guest, const struct pgste_gfns *gfns, uint8_t *free)
{
	if (!gfns_below(gfns, guest->nr_pages))
		return PGSTE_E_GFN;
	for (uint64_t i = 0; i < gfns->nr; i++)
		free[i] = page_is_free(guest, GFN(gfns, i));
	return PGSTE_OK;
}
