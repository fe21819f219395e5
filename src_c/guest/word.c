/* SPDX-License-Identifier: MIT */
/*
 * Kernel-format PGSTE and PTE words, composed from the packed state and taken apart again.
 * Every bit is stored once:
 *
 *   bits of the PGSTE            where
 *   USAGE ZERO NODAT GC          state; CMMA_D (dat) too
 *   ACC FP (63-59)               rest, bits 15-11
 *   HR HC (54-53)                rest, bits 6-5
 *   GR (50)                      rest, bit 2
 *   UC IN VSIE (47-45), pgtable  rest, bits 10-8
 *   PREFIX VSIE GMEM (14-12), dat  rest, bits 10-8
 *   PCL                          nowhere: 1 of a page that is open (layer.h), else 0
 *   all others                   odd
 */
#include "guest/layer.h"
#include "memory/pte_layer.h"
#include "pgste/pte.h"

/* From the PGSTE's three bits to those in rest. */
#define THREE_SHIFT_PGTABLE 37
#define THREE_SHIFT_DAT 4

static unsigned three_shift(const struct pgste_guest *guest)
{
	return guest->mm.generation == PGSTE_GEN_DAT ? THREE_SHIFT_DAT : THREE_SHIFT_PGTABLE;
}

static uint64_t odd_bits(const struct pgste_guest *guest)
{
	uint64_t known = PGSTE_ACC | PGSTE_FP | PGSTE_PCL | PGSTE_HR | PGSTE_HC | PGSTE_GR |
			 PGSTE_GC | PGSTE_ZERO | PGSTE_NODAT | PGSTE_USAGE |
			 (uint64_t)REST_THREE << three_shift(guest);

	if (guest->mm.generation == PGSTE_GEN_DAT)
		known |= PGSTE_CMMA_D;
	return ~known;
}

static uint64_t pgste_compose(const struct pgste_guest *guest, uint64_t gfn)
{
	const uint8_t state = guest->mm.state[gfn];
	const uint64_t rest = guest->mm.rest[gfn];
	uint64_t word = guest->odd ? guest->odd[gfn] : 0;

	word |= (uint64_t)(state & PGSTE_STATE_USAGE) << PGSTE_USAGE_SHIFT;
	word |= state & PGSTE_STATE_ZERO ? PGSTE_ZERO : 0;
	word |= state & PGSTE_STATE_NODAT ? PGSTE_NODAT : 0;
	word |= state & PGSTE_STATE_GC ? PGSTE_GC : 0;
	if (guest->mm.generation == PGSTE_GEN_DAT && (state & PGSTE_STATE_DIRTY))
		word |= PGSTE_CMMA_D;
	word |= (rest & REST_HIGH) << REST_SHIFT | (rest & REST_THREE) << three_shift(guest);
	if (guest->mm.nr_open && guest->mm.generation != PGSTE_GEN_DAT &&
	    page_is_open(&guest->mm, gfn))
		word |= PGSTE_PCL;
	return word;
}

/* What loading a PGSTE depends on: the same for all pages of a call. */
struct form {
	unsigned kept;	/* of the state: no bit of the PGSTE */
	unsigned three; /* shift of UC IN VSIE, or of PREFIX VSIE GMEM */
	uint64_t dirty; /* CMMA_D where there is one */
	uint64_t odd;
};

static struct form form_of(const struct pgste_guest *guest)
{
	const bool dat = guest->mm.generation == PGSTE_GEN_DAT;

	return (struct form){
		.kept = PGSTE_STATE_VALID | PGSTE_STATE_SWAP | (dat ? 0 : PGSTE_STATE_DIRTY),
		.three = three_shift(guest),
		.dirty = dat ? PGSTE_CMMA_D : 0,
		.odd = odd_bits(guest),
	};
}

/* The bit `from` of a word as bit `to`: both are constants, so this is an and and a shift. */
#define MOVED(word, from, to) (((word) & (from)) / (from) * (to))

/* Of a PGSTE: the bits of the state, and from bit 8 on those of the rest. */
static ALWAYS_INLINE uint64_t pgste_packed(const struct form *form, uint64_t word)
{
	const uint64_t state = (word >> PGSTE_USAGE_SHIFT & PGSTE_STATE_USAGE) |
			       MOVED(word, PGSTE_ZERO, (uint64_t)PGSTE_STATE_ZERO) |
			       MOVED(word, PGSTE_NODAT, (uint64_t)PGSTE_STATE_NODAT) |
			       MOVED(word, PGSTE_GC, (uint64_t)PGSTE_STATE_GC) |
			       MOVED(word & form->dirty, PGSTE_CMMA_D, (uint64_t)PGSTE_STATE_DIRTY);
	const uint64_t rest = (word >> REST_SHIFT & REST_HIGH) |
			      (word >> form->three & REST_THREE);

	return rest << 8 | state;
}

static ALWAYS_INLINE void pgste_unpack(struct pgste_guest *guest, const struct form *form,
				       uint64_t gfn, uint64_t packed)
{
	guest->mm.state[gfn] = (uint8_t)((guest->mm.state[gfn] & form->kept) | (packed & 0xff));
	rest_set(&guest->mm, gfn, (uint16_t)((guest->mm.rest[gfn] & REST_ELSE) | packed >> 8));
}

static void pgste_decompose(struct pgste_guest *guest, const struct form *form, uint64_t gfn,
			    uint64_t word)
{
	pgste_unpack(guest, form, gfn, pgste_packed(form, word));
	if (guest->odd)
		guest->odd[gfn] = word & form->odd;
}

int pgste_get_words(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
		    uint64_t *pgste, uint64_t *pte)
{
	const unsigned need = NEED_STATE | (pgste ? NEED_REST : 0) | (pte ? NEED_PTE : 0);
	uint64_t batch[GFN_BATCH];
	int taken;

	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	for (uint64_t i = 0; i < gfns->nr; i += (unsigned)taken) {
		taken = mm_take(&guest->mm, gfns, i, need, batch);
		if (taken < 0)
			return taken;
		for (int k = 0; pgste && k < taken; k++)
			*pgste++ = pgste_compose(guest, batch[k]);
		for (int k = 0; pte && k < taken; k++)
			*pte++ = pte_word(&guest->mm, batch[k]);
	}
	return PGSTE_OK;
}

/* Room for the notifications of as many pages as there are words with a bit for that. */
static bool need_notes(struct pgste_guest *guest, uint64_t nr_gfns, const uint64_t *pgste,
		       uint64_t nr)
{
	const uint64_t mask = pte_ops_of(&guest->mm)->notify_bits;
	uint64_t nr_notify = 0;

	for (uint64_t i = 0; i < nr; i++)
		nr_notify += (READ_ONCE(pgste[i]) & mask) != 0;
	return notes_need(&guest->mm, nr == 1 ? nr_gfns : nr_notify);
}

/* The array of odd bits is made when the first one is loaded. */
static int need_room(struct pgste_guest *guest, uint64_t nr_gfns, const uint64_t *pgste,
		     uint64_t nr)
{
	uint64_t seen = 0;

#pragma GCC unroll 8
	for (uint64_t i = 0; i < nr; i++)
		seen |= READ_ONCE(pgste[i]);
	if ((seen & pte_ops_of(&guest->mm)->notify_bits) &&
	    !need_notes(guest, nr_gfns, pgste, nr))
		return PGSTE_E_NOMEM;
	if ((seen & odd_bits(guest)) && !guest->odd)
		guest->odd = table_new(guest->mm.nr_pages * sizeof(*guest->odd));
	return !(seen & odd_bits(guest)) || guest->odd ? PGSTE_OK : PGSTE_E_NOMEM;
}

/*
 * PGSTEs of some pages.  What the loop needs is in local variables: a store of a state byte could
 * change anything in memory else.
 */
static void load_pgstes(struct pgste_guest *guest, const struct form *form, const uint64_t *gfns,
			int nr, const uint64_t *pgste, unsigned step)
{
	const struct form f = *form;
	const unsigned notify = notify_mask(&guest->mm);
	uint8_t *const state = guest->mm.state;
	uint16_t *const rest = guest->mm.rest;
	uint64_t *const odd = guest->odd;
	uint64_t armed = 0;

	for (int k = 0; k < nr; k++) {
		const uint64_t gfn = gfns[k], word = READ_ONCE(pgste[step ? k : 0]);
		const uint64_t packed = pgste_packed(&f, word);
		const unsigned old = rest[gfn], new = (old & REST_ELSE) | (unsigned)(packed >> 8);

		if (__builtin_expect((old ^ new) & notify, 0))
			armed += (uint64_t)((new & notify) != 0) - (uint64_t)((old & notify) != 0);
		rest[gfn] = (uint16_t)new;
		state[gfn] = (uint8_t)((state[gfn] & f.kept) | (packed & 0xff));
		if (odd)
			odd[gfn] = word & f.odd;
	}
	guest->mm.notes.armed += armed;
}

/* Words of some pages; a step of 0: one word for all. */
static ALWAYS_INLINE void load_words(struct pgste_guest *guest, const struct form *form,
				     const uint64_t *gfns, int nr,
				     const uint64_t *pgste, unsigned pgste_step,
				     const uint64_t *pte, unsigned pte_step)
{
	for (int k = 0; k < nr; k++) {
		const uint64_t word = pte ? READ_ONCE(pte[pte_step ? k : 0]) : 0;

		/* most words that are written back have not changed */
		if (pte && word != pte_word(&guest->mm, gfns[k]))
			pte_load(&guest->mm, gfns[k], word);
		if (pgste)
			pgste_decompose(guest, form, gfns[k],
					READ_ONCE(pgste[pgste_step ? k : 0]));
	}
}

int pgste_set_words(struct pgste_guest *guest, const struct pgste_gfns *gfns,
		    const uint64_t *pgste, unsigned pgste_step, const uint64_t *pte,
		    unsigned pte_step)
{
	const unsigned need = NEED_STATE | (pgste ? NEED_REST : 0) | (pte ? NEED_PTE : 0);
	const struct form form = form_of(guest);
	uint64_t batch[GFN_BATCH];
	int error, taken;

	if (pgste_step > 1 || pte_step > 1)
		return PGSTE_E_ARG;
	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	guest_settle(guest);
	if (pgste && gfns->nr) {
		error = need_room(guest, gfns->nr, pgste, pgste_step ? gfns->nr : 1);
		if (error)
			return error;
	}
	for (uint64_t i = 0; i < gfns->nr; i += (unsigned)taken) {
		taken = mm_take(&guest->mm, gfns, i, need, batch);
		if (taken < 0)
			return taken;
		if (pgste && !pte)
			load_pgstes(guest, &form, batch, taken, pgste, pgste_step);
		else if (!pgste)
			load_words(guest, &form, batch, taken, NULL, 0, pte, pte_step);
		else
			load_words(guest, &form, batch, taken, pgste, pgste_step, pte, pte_step);
		pgste = pgste && pgste_step ? pgste + taken : pgste;
		pte = pte && pte_step ? pte + taken : pte;
	}
	return PGSTE_OK;
}

int pgste_set_pgste_bits(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			 uint64_t mask, uint64_t value)
{
	const uint64_t set = mask & value & ~PGSTE_PCL;
	const struct form form = form_of(guest);
	int error = layer_begin(guest, gfns, pte_ops_of(&guest->mm)->set != NULL, false);

	if (!error && gfns->nr)
		error = need_room(guest, gfns->nr, &set, 1);
	for (uint64_t gfn, i = 0; i < gfns->nr && !error; i++) {
		error = layer_gfn(&guest->mm, gfns, i, &gfn);
		if (!error)
			pgste_decompose(guest, &form, gfn,
					(pgste_compose(guest, gfn) & ~mask) | set);
	}
	return error;
}

int pgste_get_states(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
		     uint8_t *states)
{
	uint64_t batch[GFN_BATCH];
	int taken;

	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	for (uint64_t i = 0; i < gfns->nr; i += (unsigned)taken) {
		taken = mm_take(&guest->mm, gfns, i, NEED_STATE, batch);
		if (taken < 0)
			return taken;
		for (int k = 0; k < taken; k++)
			states[i + (unsigned)k] = guest->mm.state[batch[k]];
	}
	return PGSTE_OK;
}
