/* SPDX-License-Identifier: MIT */
/* The host's own page table of a dat guest, and zaps that tell the entries that they freed. */
#include "api.h"

static struct outcome get(struct world *w, struct guest *guest)
{
	struct gfns gfns = take_gfns(w, guest, 0);
	uint64_t *words = block_of_size(gfns.nr * sizeof(*words));
	uint64_t *ptes = block_of_size(gfns.nr * sizeof(*ptes));
	const int64_t result = CALL(w, pgste_get_host_ptes(guest->g, &gfns.arg, words));

	REQUIRE(result == (all_below(&gfns, guest->nr_pages) ? PGSTE_OK : PGSTE_E_GFN) ||
		ended_early(w, result));
	if (!result && !is_dat(guest)) { /* there is one table */
		REQUIRE(pgste_get_words(guest->g, &gfns.arg, NULL, ptes) == PGSTE_OK);
		REQUIRE(!gfns.nr || !memcmp(words, ptes, gfns.nr * sizeof(*words)));
	}
	free(words);
	free(ptes);
	gfns_free(&gfns);
	return looked(result);
}

static struct outcome set(struct world *w, struct guest *guest)
{
	struct gfns gfns = take_gfns(w, guest, 0);
	const unsigned step = take_step(w);
	const uint64_t nr = nr_elements(&gfns, step);
	uint64_t *words = block_of_size(nr * sizeof(*words)), word;
	struct pgste_gfns last = one_page(0);
	int64_t result;

	for (uint64_t i = 0; i < nr; i++)
		words[i] = i < 8 ? take_word(w, guest, true) : words[i % 8];
	result = CALL(w, pgste_set_host_ptes(guest->g, &gfns.arg, words, step));
	if (step > 1 || !is_dat(guest))
		REQUIRE(result == PGSTE_E_ARG);
	else
		REQUIRE(result == (all_below(&gfns, guest->nr_pages) ? PGSTE_OK : PGSTE_E_GFN) ||
			ended_early(w, result));
	if (!result && gfns.nr) {
		last.first = gfn_of(&gfns, gfns.nr - 1);
		REQUIRE(pgste_get_host_ptes(guest->g, &last, &word) == PGSTE_OK);
		REQUIRE(word == ELEMENT(words, step, gfns.nr - 1));
	}
	free(words);
	gfns_free(&gfns);
	return did(result);
}

static struct outcome notify(struct world *w, struct guest *guest)
{
	struct gfns gfns = take_gfns(w, guest, 0);
	const uint8_t rewrite = take_byte(&w->in) & 3; /* 3 is none */
	struct pgste_host_pte_stats before, after;
	int64_t result;

	pgste_host_pte_get_stats(guest->g, &before);
	result = CALL(w, pgste_notifier_unmap(guest->g, &gfns.arg, (enum pgste_rewrite)rewrite));
	pgste_host_pte_get_stats(guest->g, &after);
	if (rewrite > PGSTE_REWRITE_SET || !is_dat(guest))
		REQUIRE(result == PGSTE_E_ARG);
	else if (!all_below(&gfns, guest->nr_pages))
		REQUIRE(result == PGSTE_E_GFN);
	else
		REQUIRE((result >= 0 && (uint64_t)result <= gfns.nr) || ended_early(w, result));
	REQUIRE(result < 0 ||
		after.notifier_unmaps - before.notifier_unmaps == (uint64_t)result);
	gfns_free(&gfns);
	return did(result);
}

static struct outcome hold(struct world *w, struct guest *guest)
{
	struct gfns gfns = take_gfns(w, guest, 0);
	const bool on = take_byte(&w->in) & 1;
	const int64_t result = CALL(w, pgste_hold_host_locks(guest->g, &gfns.arg, on));

	if (!is_dat(guest))
		REQUIRE(result == PGSTE_E_ARG);
	else
		REQUIRE(result == (all_below(&gfns, guest->nr_pages) ? PGSTE_OK : PGSTE_E_GFN) ||
			ended_early(w, result));
	guest->contended |= on && gfns.nr;
	gfns_free(&gfns);
	return did(result);
}

static struct outcome contend(struct world *w, struct guest *guest)
{
	const uint8_t form = take_byte(&w->in);
	const uint64_t rate = form & 1 ? take_time(w) : (uint64_t)form << 24;
	const int64_t result = CALL(w, pgste_set_contention(guest->g, rate));

	REQUIRE(result == (is_dat(guest) && rate <= UINT64_C(1) << 32 ? PGSTE_OK : PGSTE_E_ARG));
	guest->contended |= !result && rate;
	return did(result);
}

/* ---- zaps that tell ---- */

static void check_entries(const struct world *w, const struct pgste_entries *entries,
			  int64_t result)
{
	REQUIRE(entries->nr <= entries->room);
	REQUIRE((uint64_t)result == entries->nr || w->cancelled);
	for (uint64_t i = 0; i < entries->nr; i++)
		REQUIRE(entries->at[i].type < 32 && !entries->at[i].unused &&
			entries->at[i].offset < UINT64_C(1) << 52);
}

static struct outcome entries(struct world *w, struct guest *guest)
{
	const uint8_t form = take_byte(&w->in);
	const uint32_t vcpu = take_vcpu(w, guest);
	const uint64_t gfn = take_gfn(w, guest);
	const unsigned threads = take_threads(w);
	uint64_t list[PGSTE_CBRL_MAX], need = 1;
	struct pgste_entries to = { .nr = 77 };
	int64_t result;

	if (form % 3 == 0)
		need = vcpu < guest->config.nr_vcpus ?
			       (uint64_t)pgste_cbrl(guest->g, vcpu, list) : 0;
	else if (form % 3 == 2)
		need = pgste_count_zappable(guest->g, 1);
	to.room = form & 128 ? need : (form >> 2) % 32;
	to.at = block_of_size(to.room * sizeof(*to.at));
	if (form % 3 == 0)
		result = CALL(w, pgste_intercept_entries(guest->g, vcpu, &to));
	else if (form % 3 == 1)
		result = CALL(w, pgste_zap_entries(guest->g, gfn, &to));
	else
		result = CALL(w, pgste_zap_scan_entries(guest->g, threads, &to));
	if ((form % 3 == 0 && vcpu >= guest->config.nr_vcpus) || to.room < need)
		/* what is held back may free pages, or find them freed */
		REQUIRE(result == PGSTE_E_ARG || (w->held && result >= 0));
	else if (form % 3 == 1 && gfn >= guest->nr_pages)
		REQUIRE(result == PGSTE_E_GFN);
	else
		REQUIRE(result >= 0 || (w->held && result == PGSTE_E_ARG));
	if (result >= 0)
		check_entries(w, &to, result);
	free(to.at);
	return did(result);
}

struct outcome call_tables(struct world *w)
{
	struct guest *guest = take_guest(w);

	if (!guest)
		return NOTHING;
	switch (take_byte(&w->in) % 10) {
	case 0: return get(w, guest);
	case 1: case 2: return set(w, guest);
	case 3: case 4: return notify(w, guest);
	case 5: return hold(w, guest);
	case 6: return contend(w, guest);
	default: return entries(w, guest);
	}
}
