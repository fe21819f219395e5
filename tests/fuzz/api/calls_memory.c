/* SPDX-License-Identifier: MIT */
/* Loads, stores, words from outside, and what the host does with single pages. */
#include "api.h"

static uint32_t content(const struct guest *guest, uint64_t gfn)
{
	const struct pgste_gfns one = one_page(gfn);
	uint32_t tag;

	REQUIRE(pgste_peek(guest->g, &one, &tag) == PGSTE_OK);
	return tag;
}

/* The gfn that a program interruption named is one of the call's. */
static bool names_one(const struct guest *guest, const struct gfns *gfns)
{
	const uint64_t gfn = pgste_fault_gfn(guest->g);

	for (uint64_t i = 0; i < gfns->nr; i++)
		if (gfn_of(gfns, i) == gfn)
			return true;
	return false;
}

static void check_access(const struct world *w, const struct guest *guest,
			 const struct gfns *gfns, int64_t result)
{
	const bool zvm = guest->config.generation == PGSTE_GEN_ZVM;

	if (!all_below(gfns, guest->nr_pages)) {
		REQUIRE(result == PGSTE_E_GFN);
		return;
	}
	if (!all_present(guest, gfns, 1)) {
		REQUIRE(result == PGSTE_E_PGM_ADDRESSING);
		REQUIRE(!present(guest, pgste_fault_gfn(guest->g), 1));
		return;
	}
	REQUIRE(result == PGSTE_OK || result == PGSTE_E_NO_FRAME || result == PGSTE_E_FOREIGN ||
		ended_early(w, result) ||
		(zvm && (result == PGSTE_E_PGM_ADDRESSING || result == PGSTE_E_PGM_DISCARD)));
	REQUIRE(result == PGSTE_OK || gfns->nr || ended_early(w, result));
	REQUIRE(!pgste_pgm_code((int)result) || names_one(guest, gfns));
}

/* A device's store takes no fault: content changes, words do not. */
static int64_t poke(struct world *w, struct guest *guest, struct gfns *gfns, const uint32_t *tag)
{
	const int64_t result = CALL(w, pgste_poke(guest->g, &gfns->arg, tag, 0));

	REQUIRE(result == PGSTE_E_GFN || (result >= 0 && (uint64_t)result <= gfns->nr));
	return result;
}

struct outcome call_write(struct world *w)
{
	struct guest *guest = take_guest(w);
	const uint8_t form = take_byte(&w->in);
	const unsigned step = form < 250 ? form & 1 : form;
	struct gfns gfns;
	uint32_t *tags;
	int64_t result;

	if (!guest)
		return NOTHING;
	gfns = take_gfns(w, guest, 0);
	tags = block_of_size((step == 1 ? gfns.nr : 1) * sizeof(*tags));
	for (uint64_t i = 0; i < (step == 1 ? gfns.nr : 1); i++)
		tags[i] = (uint32_t)(form / 2 % 8 * (i + 1));
	if (form == 248) {
		result = poke(w, guest, &gfns, tags);
		goto done;
	}
	result = CALL(w, pgste_write(guest->g, &gfns.arg, form == 249 ? NULL : tags, step));
	if (form == 249 || step > 1) {
		REQUIRE(result == PGSTE_E_ARG);
	} else {
		check_access(w, guest, &gfns, result);
		if (!result && gfns.nr)
			REQUIRE(content(guest, gfn_of(&gfns, gfns.nr - 1)) ==
				tags[step ? gfns.nr - 1 : 0]);
	}
done:
	free(tags);
	gfns_free(&gfns);
	return did(result);
}

struct outcome call_read(struct world *w)
{
	struct guest *guest = take_guest(w);
	struct gfns gfns;
	uint32_t *tags, seen = 0;
	int64_t result;

	if (!guest)
		return NOTHING;
	gfns = take_gfns(w, guest, 0);
	tags = block_of_size(gfns.nr * sizeof(*tags));
	if (gfns.nr && gfns.arg.nr == gfns.nr && gfn_of(&gfns, 0) < guest->nr_pages)
		seen = content(guest, gfn_of(&gfns, 0));
	result = CALL(w, pgste_read(guest->g, &gfns.arg, tags));
	check_access(w, guest, &gfns, result);
	if (!result && gfns.nr) {
		/* a load gives what a look said it would, unless frees were still held back */
		REQUIRE(w->held || tags[0] == seen);
		REQUIRE(tags[gfns.nr - 1] == content(guest, gfn_of(&gfns, gfns.nr - 1)));
		w->hash = hash_bytes(w->hash, tags, gfns.nr * sizeof(*tags));
	}
	free(tags);
	gfns_free(&gfns);
	return did(result);
}

struct outcome call_peek(struct world *w)
{
	struct guest *guest = take_guest(w);
	struct gfns gfns;
	uint32_t *tags;
	int64_t result;

	if (!guest)
		return NOTHING;
	gfns = take_gfns(w, guest, 0);
	tags = block_of_size(gfns.nr * sizeof(*tags));
	result = CALL(w, pgste_peek(guest->g, &gfns.arg, tags));
	REQUIRE(result == (all_below(&gfns, guest->nr_pages) ? PGSTE_OK : PGSTE_E_GFN) ||
		ended_early(w, result));
	free(tags);
	gfns_free(&gfns);
	return looked(result);
}

struct outcome call_get(struct world *w)
{
	struct guest *guest = take_guest(w);
	const uint8_t which = take_byte(&w->in) % 5;
	struct gfns gfns;
	void *out;
	int64_t result;

	if (!guest)
		return NOTHING;
	gfns = take_gfns(w, guest, 0);
	out = block_of_size(gfns.nr * (which < 2 ? sizeof(uint64_t) : 1));
	switch (which) {
	case 0: result = CALL(w, pgste_get_words(guest->g, &gfns.arg, out, NULL)); break;
	case 1: result = CALL(w, pgste_get_words(guest->g, &gfns.arg, NULL, out)); break;
	case 2: result = CALL(w, pgste_get_words(guest->g, &gfns.arg, NULL, NULL)); break;
	case 3: result = CALL(w, pgste_get_states(guest->g, &gfns.arg, out)); break;
	default: result = CALL(w, pgste_get_free(guest->g, &gfns.arg, out)); break;
	}
	REQUIRE(result == (all_below(&gfns, guest->nr_pages) ? PGSTE_OK : PGSTE_E_GFN) ||
		ended_early(w, result));
	free(out);
	gfns_free(&gfns);
	return looked(result);
}

/* ---- words from outside ---- */

uint64_t take_word(struct world *w, const struct guest *guest, bool pte)
{
	const uint8_t form = take_byte(&w->in);
	struct pgste_gfns one = one_page(form % guest->nr_pages);
	uint64_t word = 0;

	switch (form >> 6) {
	case 0:
		return take(&w->in, 8);
	case 1:
		one = one_page(take_byte(&w->in) % guest->nr_pages);
		pgste_get_words(guest->g, &one, pte ? NULL : &word, pte ? &word : NULL);
		return word;
	case 2:
		pgste_get_words(guest->g, &one, pte ? NULL : &word, pte ? &word : NULL);
		return word ^ UINT64_C(1) << (take_byte(&w->in) & 63);
	default:
		if (!pte)
			return (uint64_t)(form & 3) << PGSTE_USAGE_SHIFT |
			       (form & 4 ? PGSTE_ZERO : 0) | (form & 8 ? PGSTE_NODAT : 0);
		word = (uint64_t)take_byte(&w->in) << PTE_PFRA_SHIFT;
		return form & 1 ? word | PTE_SWAP : form & 2 ? PTE_NONE : word | (form & 63);
	}
}

static void check_words(const struct guest *guest, uint64_t gfn, const uint64_t *pgste,
			const uint64_t *pte)
{
	const struct pgste_gfns one = one_page(gfn);
	uint64_t got_pgste, got_pte;

	REQUIRE(pgste_get_words(guest->g, &one, &got_pgste, &got_pte) == PGSTE_OK);
	REQUIRE(!pgste || (got_pgste & ~PGSTE_PCL) == (*pgste & ~PGSTE_PCL));
	REQUIRE(!pte || got_pte == *pte);
}

struct outcome call_set_words(struct world *w)
{
	struct guest *guest = take_guest(w);
	const uint8_t form = take_byte(&w->in);
	const unsigned step = form < 250 ? form & 1 : form;
	struct gfns gfns;
	uint64_t *words[2], nr, last;
	int64_t result;

	if (!guest)
		return NOTHING;
	gfns = take_gfns(w, guest, 0);
	nr = step == 1 ? gfns.nr : 1;
	for (unsigned k = 0; k < 2; k++) {
		words[k] = block_of_size(nr * sizeof(uint64_t));
		for (uint64_t i = 0; i < nr; i++)
			words[k][i] = i < 8 ? take_word(w, guest, k) : words[k][i % 8];
	}
	result = CALL(w, pgste_set_words(guest->g, &gfns.arg, form & 2 ? words[0] : NULL, step,
					 form & 4 ? words[1] : NULL, step));
	if (step > 1)
		REQUIRE(result == PGSTE_E_ARG);
	else if (!all_below(&gfns, guest->nr_pages))
		REQUIRE(result == PGSTE_E_GFN);
	else
		REQUIRE(result == PGSTE_OK || ended_early(w, result));
	last = step ? gfns.nr - 1 : 0;
	if (!result && gfns.nr)
		check_words(guest, gfn_of(&gfns, gfns.nr - 1), form & 2 ? &words[0][last] : NULL,
			    form & 4 ? &words[1][last] : NULL);
	free(words[0]);
	free(words[1]);
	gfns_free(&gfns);
	return did(result);
}

/* ---- the host's doing ---- */

struct outcome call_swap_out(struct world *w)
{
	struct guest *guest = take_guest(w);
	struct gfns gfns;
	int64_t result;

	if (!guest)
		return NOTHING;
	gfns = take_gfns(w, guest, 0);
	result = CALL(w, pgste_swap_out(guest->g, &gfns.arg));
	if (!all_below(&gfns, guest->nr_pages))
		REQUIRE(result == PGSTE_E_GFN);
	else
		REQUIRE((result >= 0 && (uint64_t)result <= gfns.nr) || ended_early(w, result) ||
			result == PGSTE_E_NO_SWAP || result == PGSTE_E_FOREIGN);
	gfns_free(&gfns);
	return did(result);
}

struct outcome call_set_folio(struct world *w)
{
	struct guest *guest = take_guest(w);
	const unsigned form = take_byte(&w->in);
	const enum pgste_folio what = (enum pgste_folio)(form >> 1 & 7);
	struct gfns gfns;
	int64_t result;

	if (!guest)
		return NOTHING;
	gfns = take_gfns(w, guest, 0);
	result = CALL(w, pgste_set_folio(guest->g, &gfns.arg, what, form & 1));
	if (result == PGSTE_E_ARG)
		REQUIRE(what != PGSTE_FOLIO_PINNED);
	else if (!all_below(&gfns, guest->nr_pages))
		REQUIRE(result == PGSTE_E_GFN);
	else
		REQUIRE((result >= 0 && (uint64_t)result <= gfns.nr) || ended_early(w, result));
	gfns_free(&gfns);
	return did(result);
}
