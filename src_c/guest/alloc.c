/* SPDX-License-Identifier: MIT */
/*
 * The guest's free and alloc calls: one bit a page for what its allocator thinks, and the
 * hook of the mechanism (arch_free_page, arch_alloc_page).  docs/model.md section 7.
 */
#include "guest/essa.h"
#include "guest/paths.h"

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

/* mark_pages() of one page: whether it was so already. */
static ALWAYS_INLINE bool mark_page(uint64_t *free, uint64_t gfn, bool to_free, bool shared)
{
	const uint64_t bit = gfn % 64, mask = UINT64_C(1) << bit;
	uint64_t old;

	/* in this form it is one instruction where there is one for a bit */
	if (shared && to_free)
		return __atomic_fetch_or(&free[gfn / 64], mask, __ATOMIC_RELAXED) & mask;
	if (shared)
		return !(__atomic_fetch_and(&free[gfn / 64], ~mask, __ATOMIC_RELAXED) & mask);
	old = free[gfn / 64];
	free[gfn / 64] = (old & ~(UINT64_C(1) << bit)) | (uint64_t)to_free << bit;
	return (old >> bit & 1) == to_free;
}

/* The same as mark_pages, of few pages without a call. */
static ALWAYS_INLINE uint64_t mark_row(struct pgste_guest *guest, uint64_t gfn, uint64_t nr,
				       bool to_free)
{
	if (nr == 1)
		return mark_page(guest->free, gfn, to_free, guest->shared);
	if (gfn % 64 + nr < 64)
		return mark_bits(&guest->free[gfn / 64], ((UINT64_C(1) << nr) - 1) << gfn % 64,
				 to_free, guest->shared);
	return mark_pages(guest, gfn, nr, to_free);
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

/*
 * The blocks of a call, read one ahead: each gfn of the array once, and bounded.  A block that
 * is not inside the guest any more ends the walk, and outside says so.
 */
struct blocks {
	const struct pgste_gfns *gfns;
	uint64_t limit, pages; /* gfns are below limit; pages of each block */
	uint64_t at, gfn;      /* index and gfn of the next block */
	bool outside;
};

static ALWAYS_INLINE void blocks_fetch(struct blocks *b)
{
	if (b->at < b->gfns->nr)
		b->outside = !gfn_get(b->gfns, b->at, b->limit, &b->gfn);
}

static struct blocks blocks_of(const struct pgste_gfns *gfns, uint64_t limit, uint64_t pages)
{
	struct blocks b = { .gfns = gfns, .limit = limit, .pages = pages };

	blocks_fetch(&b);
	return b;
}

/* The next block, and with joined those that follow one another: pages from *first on, or 0. */
static ALWAYS_INLINE uint64_t blocks_next(struct blocks *b, bool joined, uint64_t *first)
{
	uint64_t nr = b->pages;

	if (b->at >= b->gfns->nr || b->outside)
		return 0;
	*first = b->gfn;
	for (b->at++, blocks_fetch(b);
	     joined && b->at < b->gfns->nr && !b->outside && b->gfn == *first + nr;
	     b->at++, blocks_fetch(b))
		nr += b->pages;
	return nr;
}

/*
 * Mark all blocks of a strict guest, or take back what was marked at the first that is wrong.
 * Of vcpus that share the guest one at a time is in here: what one takes back no other must see.
 */
static int mark_in_turn(struct pgste_guest *guest, const struct blocks *b, bool to_free)
{
	for (uint64_t gfn, i = 0; i < b->gfns->nr; i++) {
		const bool stops = watch_stops_at(i);

		if (!gfn_get(b->gfns, i, b->limit, &gfn))
			return PGSTE_E_CHANGED;
		if (stops || !run_is(guest, gfn, b->pages, !to_free)) {
			while (i--)
				if (gfn_get(b->gfns, i, b->limit, &gfn))
					mark_pages(guest, gfn, b->pages, !to_free);
			return stops ? PGSTE_E_CANCELLED : PGSTE_E_STATE;
		}
		mark_pages(guest, gfn, b->pages, to_free);
	}
	return PGSTE_OK;
}

static int mark_strictly(struct pgste_guest *guest, const struct blocks *b, bool to_free)
{
	int error;

	if (!guest->shared)
		return mark_in_turn(guest, b, to_free);
	pthread_mutex_lock(&guest->mm.host->lock);
	error = mark_in_turn(guest, b, to_free);
	pthread_mutex_unlock(&guest->mm.host->lock);
	return error;
}

/* How many blocks at the head of a batch follow one another. */
static ALWAYS_INLINE unsigned in_a_row(const uint64_t *gfns, unsigned nr, uint64_t pages)
{
	uint64_t next = gfns[0] + pages;
	unsigned n = 1;

	for (; n < nr && gfns[n] == next; n++)
		next += pages;
	return n;
}

/* Mark all blocks: the pages that were so already, or an error. */
static int64_t mark_loosely(struct pgste_guest *guest, const struct blocks *b, bool to_free)
{
	uint64_t batch[GFN_BATCH], already = 0, asked = 0, first, run;
	unsigned taken, nr;

	for (uint64_t at = 0; at < b->gfns->nr; at += taken) {
		if (at - asked >= WATCH_STEPS) {
			asked = at;
			if (!guest_rest(guest))
				return PGSTE_E_CANCELLED;
		}
		run = gfns_run(b->gfns, at, WATCH_STEPS, b->pages, b->limit, &first);
		if (run) {
			already += mark_pages(guest, first, run * b->pages, to_free);
			at += run;
			taken = 0;
			continue;
		}
		taken = gfns_take(b->gfns, at, b->limit, batch);
		if (!taken)
			return PGSTE_E_CHANGED;
		for (unsigned i = 0; i < taken; i += nr) {
			nr = in_a_row(&batch[i], taken - i, b->pages);
			already += mark_row(guest, batch[i], nr * b->pages, to_free);
		}
	}
	return (int64_t)already;
}

static int mark_all(struct pgste_guest *guest, struct vcpu *vcpu, const struct blocks *b,
		    bool to_free)
{
	const int64_t already = guest->strict ? mark_strictly(guest, b, to_free) :
						mark_loosely(guest, b, to_free);

	if (already < 0)
		return (int)already;
	if (to_free) {
		vcpu->pages_freed += b->gfns->nr * b->pages;
		vcpu->double_frees += (uint64_t)already;
	} else {
		vcpu->pages_allocated += b->gfns->nr * b->pages;
		vcpu->double_allocs += (uint64_t)already;
	}
	return PGSTE_OK;
}

/*
 * Under ESSA single pages go as they are, and blocks that are neighbours as one range, which is
 * the same ESSAs in the same order.
 */
static int essa_blocks(struct pgste_guest *guest, struct vcpu *vcpu, struct blocks b, bool to_free)
{
	const unsigned orc = to_free ? PGSTE_ORC_SET_UNUSED : alloc_orc(guest);
	const uint64_t nr_pages = b.gfns->nr * b.pages;
	struct pgste_gfns run = { .type = PGSTE_GFN_RANGE };
	uint64_t asked = 0;

	if (!guest->use_cmma) /* cmma_init found none: the hooks do nothing */
		return PGSTE_OK;
	vcpu->hints += nr_pages;
	vcpu->hint_pages += nr_pages;
	if (b.pages == 1)
		return essa_all(guest, vcpu, orc, b.gfns, true, NULL);
	while ((run.nr = blocks_next(&b, true, &run.first))) {
		int error = PGSTE_OK;

		if (run.nr < WATCH_STEPS)
			essa_range(guest, vcpu, orc, run.first, run.nr, NULL);
		else
			error = essa_all(guest, vcpu, orc, &run, true, NULL);
		asked += run.nr;
		if (!error && asked >= WATCH_STEPS) {
			asked = 0;
			error = watch_rest() ? PGSTE_OK : PGSTE_E_CANCELLED;
		}
		if (error)
			return error;
	}
	return b.outside ? PGSTE_E_CHANGED : PGSTE_OK;
}

/* Under other mechanisms a range goes as a whole, and others block by block. */
static int hint_all(struct pgste_guest *guest, struct vcpu *vcpu, struct blocks b, unsigned order,
		    bool to_free)
{
	void (*hook)(struct pgste_guest *, struct vcpu *, uint64_t, uint64_t, unsigned) =
		to_free ? guest->mech->free : guest->mech->alloc;
	uint64_t first, nr, done = 0;

	if (!hook)
		return PGSTE_OK;
	if (b.gfns->type == PGSTE_GFN_RANGE && b.pages == 1) {
		for (uint64_t at = 0; at < b.gfns->nr; at += nr) {
			nr = min_u64(b.gfns->nr - at, WATCH_SLICE);
			if (at && watch_stops())
				return PGSTE_E_CANCELLED;
			hook(guest, vcpu, b.gfns->first + at, nr, 0);
		}
		return PGSTE_OK;
	}
	while ((nr = blocks_next(&b, false, &first))) {
		hook(guest, vcpu, first, nr, order);
		done += nr;
		if (done >= WATCH_STEPS) {
			done = 0;
			if (watch_stops())
				return PGSTE_E_CANCELLED;
		}
	}
	return b.outside ? PGSTE_E_CHANGED : PGSTE_OK;
}

static int change(struct pgste_guest *guest, uint32_t vcpu, const struct pgste_gfns *gfns,
		  unsigned order, bool to_free)
{
	const uint64_t block = UINT64_C(1) << (order & 63);
	const uint64_t limit = guest->mm.nr_pages - block + 1;
	const bool cmma = guest->mech->cmma;
	struct blocks all;
	struct vcpu *v;
	uint64_t bad;
	int error;

	if (vcpu >= guest->nr_vcpus || order > PGSTE_MAX_ORDER)
		return PGSTE_E_ARG;
	if (gfns->nr == 0)
		return PGSTE_OK;
	if (block > guest->mm.nr_pages || !gfns_below(gfns, limit) ||
	    !slots_cover(guest, gfns, block, &bad))
		return PGSTE_E_GFN;
	guest_runs(guest);
	guest_settle(guest);
	all = blocks_of(gfns, limit, block);
	v = &guest->vcpus[vcpu];
	/* a range of single pages is one run of bits */
	if (gfns->type == PGSTE_GFN_RANGE && block == 1) {
		const struct pgste_gfns one = { .first = gfns->first, .nr = 1 };

		const struct blocks run = blocks_of(&one, limit, gfns->nr);

		error = mark_all(guest, v, &run, to_free);
	} else {
		error = mark_all(guest, v, &all, to_free);
	}
	if (cmma) /* which holds nothing back; and after a rest the guest may be gone */
		return error ? error : essa_blocks(guest, v, all, to_free);
	if (!error)
		error = hint_all(guest, v, all, order, to_free);
	guest_settle(guest);
	return error;
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
	if (gfn >= guest->mm.nr_pages)
		return PGSTE_E_GFN;
	if (!guest->use_cmma || guest->shared || !guest->slots.whole)
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
	uint64_t batch[GFN_BATCH];
	int taken;

	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	for (uint64_t i = 0; i < gfns->nr; i += (unsigned)taken) {
		taken = mm_take(&guest->mm, gfns, i, 0, batch);
		if (taken < 0)
			return taken;
		for (int k = 0; k < taken; k++)
			free[i + (unsigned)k] = page_is_free(guest, batch[k]);
	}
	return PGSTE_OK;
}
