/* SPDX-License-Identifier: MIT */
/* The PTE layer.  Every call of it looks at its gfns, and at pages that are open, alike. */
#include "api.h"

/* What one call was given and what came of it. */
struct layer {
	struct gfns gfns;
	unsigned step;
	uint64_t *words, *out; /* in, of the step; results, or NULL */
	uint8_t *bytes;	       /* results, or NULL */
	bool exists;	       /* the generation has the call, and its other arguments fit */
};

static struct layer begin(struct world *w, const struct guest *guest, bool exists)
{
	struct layer l = { .gfns = take_gfns(w, guest, 0), .step = take_step(w) };
	const uint64_t nr = nr_elements(&l.gfns, l.step);
	const uint8_t form = take_byte(&w->in);

	l.exists = exists && is_kvm(guest);
	l.words = block_of_size(nr * sizeof(*l.words));
	for (uint64_t i = 0; i < nr; i++)
		l.words[i] = i < 8 ? take_word(w, guest, true) : l.words[i % 8];
	l.out = form & 1 ? block_of_size(l.gfns.nr * sizeof(*l.out)) : NULL;
	l.bytes = form & 2 ? block_of_size(l.gfns.nr) : NULL;
	return l;
}

static struct outcome end(struct world *w, const struct guest *guest, struct layer *l,
			  int64_t result)
{
	if (!l->exists)
		REQUIRE(result == PGSTE_E_ARG);
	else if (!all_below(&l->gfns, guest->nr_pages))
		REQUIRE(result == PGSTE_E_GFN);
	else if (result == PGSTE_E_STATE)
		REQUIRE(guest->opened && l->gfns.nr);
	else
		REQUIRE(result == PGSTE_OK || ended_early(w, result));
	if (l->out && !result)
		w->hash = hash_bytes(w->hash, l->out, l->gfns.nr * sizeof(*l->out));
	if (l->bytes && !result)
		w->hash = hash_bytes(w->hash, l->bytes, l->gfns.nr);
	free(l->words);
	free(l->out);
	free(l->bytes);
	gfns_free(&l->gfns);
	return did(result);
}

/* The word that the last gfn has in the table that the host changes. */
static uint64_t last_word(const struct guest *guest, const struct layer *l)
{
	const struct pgste_gfns one = one_page(gfn_of(&l->gfns, l->gfns.nr - 1));
	uint64_t word;

	REQUIRE(pgste_get_host_ptes(guest->g, &one, &word) == PGSTE_OK);
	return word;
}

static struct outcome put(struct world *w, struct guest *guest, bool exchange)
{
	struct layer l = begin(w, guest, true);
	const bool lazy = take_byte(&w->in) & 1;
	uint64_t word;
	int64_t result;

	l.exists &= l.step <= 1;
	if (exchange)
		result = CALL(w, pgste_xchg_pte(guest->g, &l.gfns.arg, l.words, l.step, lazy,
						l.out));
	else
		result = CALL(w, pgste_set_pte_at(guest->g, &l.gfns.arg, l.words, l.step));
	if (!result && l.gfns.nr) {
		word = ELEMENT(l.words, l.step, l.gfns.nr - 1);
		if (word & PTE_PRESENT && !(exchange && !is_dat(guest)))
			REQUIRE((last_word(guest, &l) | PTE_UNUSED) == (word | PTE_UNUSED));
		else
			REQUIRE(last_word(guest, &l) == word);
	}
	return end(w, guest, &l, result);
}

static struct outcome age(struct world *w, struct guest *guest)
{
	struct layer l = begin(w, guest, true);
	const int64_t result = CALL(w, pgste_age(guest->g, &l.gfns.arg, l.bytes, l.out));

	for (uint64_t i = 0; !result && l.bytes && i < l.gfns.nr; i++)
		REQUIRE(l.bytes[i] <= 1);
	if (!result && l.gfns.nr && last_word(guest, &l) & PTE_PRESENT)
		REQUIRE(!(last_word(guest, &l) & PTE_YOUNG));
	return end(w, guest, &l, result);
}

static struct outcome map(struct world *w, struct guest *guest, bool unmap)
{
	struct layer l = begin(w, guest, is_dat(guest));
	int64_t result;

	if (unmap) {
		result = CALL(w, pgste_unmap_pte(guest->g, &l.gfns.arg, l.out));
	} else {
		l.exists &= l.step <= 1;
		result = CALL(w, pgste_map_pte(guest->g, &l.gfns.arg, l.words, l.step));
	}
	return end(w, guest, &l, result);
}

static struct outcome start(struct world *w, struct guest *guest)
{
	struct layer l = begin(w, guest, true);
	const int64_t result = CALL(w, pgste_modify_prot_start(guest->g, &l.gfns.arg, l.out));
	struct outcome o;

	guest->opened |= result == PGSTE_OK || result == PGSTE_E_STATE ||
			 result == PGSTE_E_CANCELLED;
	if (!result && l.gfns.nr) {
		REQUIRE(pgste_modify_prot_start(guest->g, &l.gfns.arg, NULL) == PGSTE_E_STATE);
		REQUIRE(pgste_zap_key(guest->g, &l.gfns.arg) ==
			(is_dat(guest) ? PGSTE_E_ARG : PGSTE_E_STATE));
	}
	o = end(w, guest, &l, result);
	o.partial = result == PGSTE_E_STATE; /* a page that is named twice */
	return o;
}

static struct outcome commit(struct world *w, struct guest *guest)
{
	struct layer l = begin(w, guest, true);
	const bool opened = guest->opened;
	struct outcome o;
	int64_t result;

	l.exists &= l.step <= 1;
	result = CALL(w, pgste_modify_prot_commit(guest->g, &l.gfns.arg, l.words, l.step));
	REQUIRE(result || !l.gfns.nr || opened);
	if (result == PGSTE_E_STATE)
		guest->opened = true; /* end() asks; it says nothing of this call */
	o = end(w, guest, &l, result);
	guest->opened = opened;
	o.partial = result == PGSTE_E_STATE;
	return o;
}

static struct outcome dirty(struct world *w, struct guest *guest)
{
	struct layer l = begin(w, guest, true);
	uint8_t *again = block_of_size(l.gfns.nr);
	const int64_t result = CALL(w, pgste_test_and_clear_dirty(guest->g, &l.gfns.arg, l.bytes));

	if (!result && l.gfns.nr == l.gfns.arg.nr)
		REQUIRE(pgste_test_and_clear_dirty(guest->g, &l.gfns.arg, again) == PGSTE_OK);
	for (uint64_t i = 0; !result && i < l.gfns.nr; i++)
		REQUIRE(!again[i] && (!l.bytes || l.bytes[i] <= 1));
	free(again);
	return end(w, guest, &l, result);
}

static struct outcome soft_dirty(struct world *w, struct guest *guest, bool clear)
{
	struct layer l = begin(w, guest, true);
	struct outcome o;
	int64_t result;

	if (!clear) {
		l.exists &= l.bytes != NULL;
		result = CALL(w, pgste_soft_dirty(guest->g, &l.gfns.arg, l.bytes));
		o = end(w, guest, &l, result);
		o.looks = true;
		return o;
	}
	result = CALL(w, pgste_clear_soft_dirty(guest->g, &l.gfns.arg));
	if (!result && l.bytes)
		REQUIRE(pgste_soft_dirty(guest->g, &l.gfns.arg, l.bytes) == PGSTE_OK);
	for (uint64_t i = 0; !result && l.bytes && i < l.gfns.nr; i++)
		REQUIRE(!l.bytes[i]);
	return end(w, guest, &l, result);
}

static uint64_t pgste_of(const struct guest *guest, uint64_t gfn)
{
	const struct pgste_gfns one = one_page(gfn);
	uint64_t word;

	REQUIRE(pgste_get_words(guest->g, &one, &word, NULL) == PGSTE_OK);
	return word;
}

static struct outcome zap_key(struct world *w, struct guest *guest)
{
	struct layer l = begin(w, guest, !is_dat(guest));
	const int64_t result = CALL(w, pgste_zap_key(guest->g, &l.gfns.arg));

	for (uint64_t i = 0; !result && i < l.gfns.nr && i < 8; i++)
		REQUIRE((pgste_of(guest, gfn_of(&l.gfns, i)) &
			 (PGSTE_ACC | PGSTE_FP | PGSTE_GR | PGSTE_GC)) == (PGSTE_GR | PGSTE_GC));
	return end(w, guest, &l, result);
}

static struct outcome set_bits(struct world *w, struct guest *guest)
{
	struct layer l = begin(w, guest, true);
	const uint64_t mask = take(&w->in, 8), value = take(&w->in, 8), shown = mask & ~PGSTE_PCL;
	const int64_t result =
		CALL(w, pgste_set_pgste_bits(guest->g, &l.gfns.arg, mask, value));

	for (uint64_t i = 0; !result && i < l.gfns.nr && i < 8; i++)
		REQUIRE((pgste_of(guest, gfn_of(&l.gfns, i)) & shown) == (value & shown));
	return end(w, guest, &l, result);
}

/* Bits that the generation notifies by. */
static uint64_t take_notify(struct world *w, const struct guest *guest, bool *fit)
{
	const uint64_t known = is_dat(guest) ?
				       PGSTE_DAT_PREFIX | PGSTE_DAT_VSIE | PGSTE_DAT_VSIE_GMEM :
				       PGSTE_IN | PGSTE_VSIE;
	const uint8_t form = take_byte(&w->in);
	uint64_t bits = form & 4 ? UINT64_C(1) << (form >> 2) : known;

	if (form & 1)
		bits &= ~(known & (~known + 1)); /* less the lowest */
	if (form & 2)
		bits = 0;
	*fit = !(bits & ~known);
	return bits;
}

static struct outcome protect(struct world *w, struct guest *guest, bool notify)
{
	struct layer l = begin(w, guest, true);
	const uint8_t prot = take_byte(&w->in) & 3; /* 3 is none */
	bool fit;
	const uint64_t bits = take_notify(w, guest, &fit);
	int64_t result;

	l.exists &= fit;
	if (notify) {
		l.exists &= bits != 0;
		result = CALL(w, pgste_set_notify(guest->g, &l.gfns.arg, bits));
		return end(w, guest, &l, result);
	}
	l.exists &= prot <= PGSTE_PROT_WRITE;
	result = CALL(w, pgste_force_prot(guest->g, &l.gfns.arg, (enum pgste_prot)prot, bits,
					  (int8_t *)l.bytes));
	for (uint64_t i = 0; !result && l.bytes && i < l.gfns.nr; i++)
		REQUIRE(!l.bytes[i] || (int8_t)l.bytes[i] == PGSTE_PTE_AGAIN);
	return end(w, guest, &l, result);
}

static struct outcome notifications(struct world *w, struct guest *guest)
{
	const int64_t there = pgste_notifications(guest->g, NULL, NULL, 0);
	const uint64_t room = take_byte(&w->in);
	uint64_t *gfns = block_of_size(room * sizeof(*gfns));
	uint64_t *bits = room & 1 ? block_of_size(room * sizeof(*bits)) : NULL;
	int64_t nr;

	REQUIRE(there >= 0);
	nr = CALL(w, pgste_notifications(guest->g, gfns, bits, room));
	/* an array of no element may be NULL here, which asks how many there are */
	if (gfns || bits)
		REQUIRE(nr == (there < (int64_t)room ? there : (int64_t)room));
	if (gfns || bits)
		REQUIRE(pgste_notifications(guest->g, NULL, NULL, 0) == there - nr);
	for (int64_t i = 0; (gfns || bits) && i < nr; i++)
		REQUIRE(gfns[i] < guest->nr_pages && (!bits || bits[i]));
	free(gfns);
	free(bits);
	return did(nr);
}

static struct outcome shadow(struct world *w, struct guest *guest)
{
	struct guest *table = take_guest(w);
	const bool same = table->host == guest->host &&
			  table->config.generation == guest->config.generation;
	struct layer l = begin(w, guest, same);
	struct gfns targets = take_gfns(w, table, 0);
	const bool below = all_below(&targets, table->nr_pages);
	int64_t result;

	l.exists &= l.step <= 1 && targets.arg.nr == l.gfns.arg.nr;
	result = CALL(w, pgste_shadow_pte(guest->g, &l.gfns.arg, table->g, &targets.arg, l.words,
					  l.step, (int8_t *)l.bytes));
	for (uint64_t i = 0; !result && l.bytes && i < l.gfns.nr; i++)
		REQUIRE(l.bytes[i] <= 1 || (int8_t)l.bytes[i] == PGSTE_PTE_AGAIN ||
			(int8_t)l.bytes[i] == PGSTE_PTE_UNSUPPORTED);
	gfns_free(&targets);
	if (l.exists && !below)
		REQUIRE(result == PGSTE_E_GFN);
	else if (l.exists && result == PGSTE_E_STATE)
		REQUIRE(guest->opened || table->opened);
	else
		return end(w, guest, &l, result);
	l.exists = false; /* the rest of it is checked */
	end(w, guest, &l, PGSTE_E_ARG);
	return did(result);
}

static struct outcome unshadow(struct world *w, struct guest *guest)
{
	struct layer l = begin(w, guest, true);

	return end(w, guest, &l, CALL(w, pgste_unshadow_pte(guest->g, &l.gfns.arg)));
}

struct outcome call_pte(struct world *w)
{
	struct guest *guest = take_guest(w);
	const uint8_t form = take_byte(&w->in);

	if (!guest)
		return NOTHING;
	REQUIRE(pgste_guest_page_bits(guest->g) >= 8);
	switch (form % 20) {
	case 0: case 1: case 2: case 3: return put(w, guest, form & 1);
	case 4: return age(w, guest);
	case 5: case 6: return map(w, guest, false);
	case 7: return map(w, guest, true);
	case 8: case 9: return start(w, guest);
	case 10: return commit(w, guest);
	case 11: return dirty(w, guest);
	case 12: case 13: return soft_dirty(w, guest, form & 1);
	case 14: return zap_key(w, guest);
	case 15: return set_bits(w, guest);
	case 16: case 17: return protect(w, guest, form & 1);
	case 18: return form & 32 ? unshadow(w, guest) : shadow(w, guest);
	default: return notifications(w, guest);
	}
}
