/* SPDX-License-Identifier: MIT */
/* Storage keys of pages and of frames. */
#include "api.h"

static uint8_t *take_keys(struct world *w, uint64_t nr)
{
	uint8_t *keys = block_of_size(nr);

	for (uint64_t i = 0; i < nr; i++)
		keys[i] = i < 4 ? take_byte(&w->in) : keys[i % 4];
	return keys;
}

/* Frames that take the place of the zero page may run out, when keys are enabled. */
static bool may_lack_frames(const struct guest *guest, int64_t result)
{
	return result == PGSTE_E_NO_FRAME && pgste_allows_cow_sharing(guest->g) &&
	       !pgste_uses_storage_keys(guest->g);
}

/* What every call about the keys of pages says of its arguments. */
static void check_keys(const struct world *w, const struct guest *guest, const struct gfns *gfns,
		       unsigned step, int64_t result)
{
	if (step > 1 || !is_kvm(guest))
		REQUIRE(result == PGSTE_E_ARG);
	else if (!all_below(gfns, guest->nr_pages))
		REQUIRE(result == PGSTE_E_GFN);
	else if (result == PGSTE_E_STATE)
		REQUIRE(guest->opened); /* to enable keys touches all pages */
	else if (!all_present(guest, gfns, 1))
		REQUIRE(result == PGSTE_E_PGM_ADDRESSING ||
			(result == PGSTE_E_CANCELLED && guest->opened));
	else
		REQUIRE(result == PGSTE_OK || ended_early(w, result) ||
			may_lack_frames(guest, result));
	REQUIRE(!pgste_uses_storage_keys(guest->g) || !pgste_allows_cow_sharing(guest->g));
}

static uint8_t key_of(const struct guest *guest, uint64_t gfn)
{
	const struct pgste_gfns one = one_page(gfn);
	uint8_t key;

	REQUIRE(pgste_get_storage_key(guest->g, &one, &key) == PGSTE_OK);
	return key;
}

/* A valid PTE that names no frame of the host has nowhere to keep a key. */
static bool keeps_key(const struct world *w, const struct guest *guest, uint64_t gfn)
{
	const struct pgste_gfns one = one_page(gfn);
	struct pgste_host_stats stats;
	uint64_t pte;

	pgste_host_get_stats(w->hosts[guest->host], &stats);
	REQUIRE(pgste_get_words(guest->g, &one, NULL, &pte) == PGSTE_OK);
	return pte & PTE_INVALID || pte >> PTE_PFRA_SHIFT < stats.frames;
}

static struct outcome set(struct world *w, struct guest *guest, bool conditional)
{
	struct gfns gfns = take_gfns(w, guest, 0);
	const unsigned step = take_step(w);
	const uint8_t form = take_byte(&w->in);
	uint8_t *keys = take_keys(w, nr_elements(&gfns, step));
	uint8_t *rcs = conditional && form & 8 ? block_of_size(gfns.nr) : NULL;
	uint8_t *old = conditional && form & 16 ? block_of_size(gfns.nr) : NULL;
	const bool mr = form & 1, mc = form & 2;
	int64_t result;

	if (conditional)
		result = CALL(w, pgste_cond_set_storage_key(guest->g, &gfns.arg, keys, step, mr,
							    mc, form & 4, rcs, old));
	else
		result = CALL(w, pgste_set_storage_key(guest->g, &gfns.arg, keys, step, form & 4));
	check_keys(w, guest, &gfns, step, result);
	for (uint64_t i = 0; !result && rcs && i < gfns.nr; i++)
		REQUIRE(rcs[i] <= 1);
	if (!result && gfns.nr && !conditional) {
		const uint64_t last = gfn_of(&gfns, gfns.nr - 1);

		if (keeps_key(w, guest, last))
			REQUIRE(key_of(guest, last) == (ELEMENT(keys, step, gfns.nr - 1) & 0xfe));
	}
	REQUIRE(result || pgste_uses_storage_keys(guest->g));
	free(keys);
	free(rcs);
	free(old);
	gfns_free(&gfns);
	return did(result);
}

static struct outcome get(struct world *w, struct guest *guest, bool instruction)
{
	struct gfns gfns = take_gfns(w, guest, 0);
	uint8_t *keys = block_of_size(gfns.nr);
	const bool null = take_byte(&w->in) == 255, used = pgste_uses_storage_keys(guest->g);
	int64_t result;

	if (instruction)
		result = CALL(w, pgste_insert_storage_key(guest->g, &gfns.arg, null ? NULL : keys));
	else
		result = CALL(w, pgste_get_storage_key(guest->g, &gfns.arg, null ? NULL : keys));
	check_keys(w, guest, &gfns, null ? 2 : 0, result);
	for (uint64_t i = 0; !result && i < gfns.nr && i < 8; i++)
		REQUIRE(keys[i] == key_of(guest, gfn_of(&gfns, i)) && !(keys[i] & 1));
	if (instruction)
		REQUIRE(result || pgste_uses_storage_keys(guest->g));
	else
		REQUIRE(pgste_uses_storage_keys(guest->g) == used);
	free(keys);
	gfns_free(&gfns);
	return instruction ? did(result) : looked(result);
}

static struct outcome reset_reference(struct world *w, struct guest *guest)
{
	struct gfns gfns = take_gfns(w, guest, 0);
	uint8_t *ccs = take_byte(&w->in) & 1 ? block_of_size(gfns.nr) : NULL;
	const int64_t result = CALL(w, pgste_reset_reference(guest->g, &gfns.arg, ccs));

	check_keys(w, guest, &gfns, 0, result);
	for (uint64_t i = 0; !result && i < gfns.nr && i < 8; i++) {
		REQUIRE(!ccs || ccs[i] <= 3);
		REQUIRE(!(key_of(guest, gfn_of(&gfns, i)) & PGSTE_KEY_R));
	}
	free(ccs);
	gfns_free(&gfns);
	return did(result);
}

static struct outcome whole(struct world *w, struct guest *guest, bool reset)
{
	const bool used = pgste_uses_storage_keys(guest->g);
	int64_t result;

	if (reset)
		result = CALL(w, pgste_reset_storage_keys(guest->g));
	else
		result = CALL(w, pgste_enable_storage_keys(guest->g));
	if (!is_kvm(guest))
		REQUIRE(result == PGSTE_E_ARG);
	else
		REQUIRE(result == PGSTE_OK || ended_early(w, result) ||
			may_lack_frames(guest, result) ||
			(result == PGSTE_E_STATE && guest->opened && (reset || !used)));
	REQUIRE(pgste_uses_storage_keys(guest->g) == (used || !result));
	return did(result);
}

static struct outcome supervisor(struct world *w, struct guest *guest)
{
	const uint32_t vcpu = take_vcpu(w, guest);
	const int64_t result = CALL(w, pgste_check_supervisor(guest->g, vcpu));

	if (vcpu >= guest->config.nr_vcpus)
		REQUIRE(result == PGSTE_E_ARG);
	else if (guest->config.nr_vcpus <= 64)
		REQUIRE(result == (guest->problem_state >> vcpu & 1 ? PGSTE_E_PGM_PRIVILEGED :
								      PGSTE_OK));
	return looked(result);
}

/* Gfns of a guest serve as numbers of frames. */
static struct outcome frames(struct world *w, struct guest *guest)
{
	struct pgste_host *host = w->hosts[guest->host];
	struct gfns gfns = take_gfns(w, guest, 0);
	const unsigned step = take_step(w);
	uint8_t *keys = take_keys(w, nr_elements(&gfns, step)), *seen = block_of_size(gfns.nr);
	struct pgste_host_stats stats;
	int64_t result;

	pgste_host_get_stats(host, &stats);
	if (gfns.arg.nr > gfns.nr) /* the host may well have so many */
		gfns.arg.nr = gfns.nr;
	result = CALL(w, pgste_set_frame_key(host, &gfns.arg, keys, step));
	if (step > 1)
		REQUIRE(result == PGSTE_E_ARG);
	else if (!all_below(&gfns, stats.frames))
		REQUIRE(result == PGSTE_E_GFN);
	else
		REQUIRE(result == PGSTE_OK || ended_early(w, result) ||
			(result == PGSTE_E_NOMEM && stats.frames > 1 << 20));
	if (!result && gfns.nr && gfns.nr == gfns.arg.nr) {
		REQUIRE(pgste_frame_key(host, &gfns.arg, seen) == PGSTE_OK);
		REQUIRE(seen[gfns.nr - 1] == (ELEMENT(keys, step, gfns.nr - 1) & 0xfe));
	}
	REQUIRE(pgste_frame_key(host, &gfns.arg, NULL) == PGSTE_E_ARG);
	free(keys);
	free(seen);
	gfns_free(&gfns);
	return did(result);
}

struct outcome call_keys(struct world *w)
{
	struct guest *guest = take_guest(w);

	if (!guest)
		return NOTHING;
	switch (take_byte(&w->in) % 12) {
	case 0: case 1: return set(w, guest, false);
	case 2: case 3: return set(w, guest, true);
	case 4: return get(w, guest, false);
	case 5: return get(w, guest, true);
	case 6: case 7: return reset_reference(w, guest);
	case 8: return whole(w, guest, false);
	case 9: return whole(w, guest, true);
	case 10: return supervisor(w, guest);
	default: return frames(w, guest);
	}
}
