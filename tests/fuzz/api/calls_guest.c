/* SPDX-License-Identifier: MIT */
/* ESSA, free and alloc, the CBRL, and CMMA of a whole guest. */
#include "api.h"

#define MAX_GFN (UINT64_C(1) << 52)

/* What ESSA has to say before it looks at gfns. */
static int essa_refused(const struct guest *guest, uint32_t vcpu, unsigned orc)
{
	if (vcpu >= guest->config.nr_vcpus)
		return PGSTE_E_ARG;
	if (!guest->cmma)
		return PGSTE_E_PGM_OPERATION;
	if (guest->problem_state >> (vcpu % 64) & 1)
		return PGSTE_E_PGM_PRIVILEGED;
	if (orc > 7 || (orc == 7 && !guest->config.nodat))
		return PGSTE_E_PGM_SPECIFICATION;
	return PGSTE_OK;
}

static unsigned take_orc(struct world *w)
{
	const uint8_t byte = take_byte(&w->in);

	return byte < 250 ? byte % 8 : byte == 255 ? UINT32_MAX : byte % 8 + 8u;
}

struct outcome call_essa(struct world *w)
{
	struct guest *guest = take_guest(w);
	unsigned orc;
	uint32_t vcpu;
	struct gfns gfns;
	uint8_t *results;
	int64_t result;
	int error;

	if (!guest)
		return NOTHING;
	vcpu = take_vcpu(w, guest);
	orc = take_orc(w);
	gfns = take_gfns(w, guest, 0);
	if (gfns.arg.nr > gfns.nr && all_below(&gfns, MAX_GFN))
		gfns.arg.nr = gfns.nr; /* dat answers for pages outside, one by one */
	results = orc & 1 ? block_of_size(gfns.nr) : NULL;
	result = CALL(w, pgste_essa(guest->g, vcpu, orc, &gfns.arg, results));
	error = essa_refused(guest, vcpu, orc);
	if (!error && !all_below(&gfns, MAX_GFN))
		error = PGSTE_E_GFN;
	else if (!error && !all_present(guest, &gfns, 1) && !is_dat(guest))
		error = PGSTE_E_PGM_ADDRESSING;
	REQUIRE(result == error || (!error && ended_early(w, result)));
	for (uint64_t i = 0; results && !result && i < gfns.nr && gfns.nr == gfns.arg.nr; i++)
		REQUIRE(present(guest, gfn_of(&gfns, i), 1) ==
			(results[i] != PGSTE_RESULT_EXCEPTION));
	if (results)
		w->hash = hash_bytes(w->hash, results, gfns.nr);
	free(results);
	gfns_free(&gfns);
	return did(result);
}

struct outcome call_essa_page(struct world *w)
{
	struct guest *guest = take_guest(w);
	uint64_t gfn;
	unsigned orc;
	uint32_t vcpu;
	int64_t result;
	int error;

	if (!guest)
		return NOTHING;
	vcpu = take_vcpu(w, guest);
	orc = take_orc(w);
	gfn = take_gfn(w, guest);
	result = CALL(w, pgste_essa_page(guest->g, vcpu, orc, gfn));
	error = essa_refused(guest, vcpu, orc);
	if (!error && gfn >= MAX_GFN)
		error = PGSTE_E_GFN;
	else if (!error && !present(guest, gfn, 1) && !is_dat(guest))
		error = PGSTE_E_PGM_ADDRESSING;
	REQUIRE(error ? result == error : result >= 0 && result < 256);
	REQUIRE(error || present(guest, gfn, 1) == (result != PGSTE_RESULT_EXCEPTION));
	return did(result);
}

static bool page_is_free(const struct guest *guest, uint64_t gfn)
{
	const struct pgste_gfns one = one_page(gfn);
	uint8_t is_free;

	REQUIRE(pgste_get_free(guest->g, &one, &is_free) == PGSTE_OK);
	return is_free;
}

static struct outcome change(struct world *w, bool to_free)
{
	struct guest *guest = take_guest(w);
	unsigned order;
	uint32_t vcpu;
	struct gfns gfns;
	int64_t result;
	int error = PGSTE_OK;

	if (!guest)
		return NOTHING;
	vcpu = take_vcpu(w, guest);
	order = take_order(w);
	gfns = take_gfns(w, guest, order);
	result = CALL(w, (to_free ? pgste_free : pgste_alloc)(guest->g, vcpu, &gfns.arg, order));
	if (vcpu >= guest->config.nr_vcpus || order > PGSTE_MAX_ORDER)
		error = PGSTE_E_ARG;
	else if (!all_present(guest, &gfns, UINT64_C(1) << order))
		error = PGSTE_E_GFN;
	REQUIRE(result == error || (!error && ended_early(w, result)) ||
		(!error && guest->config.strict && result == PGSTE_E_STATE));
	for (uint64_t i = 0; !result && i < gfns.nr; i++)
		for (uint64_t page = 0; page < UINT64_C(1) << order && page < 4; page++)
			REQUIRE(page_is_free(guest, gfn_of(&gfns, i) + page) == to_free);
	gfns_free(&gfns);
	return did(result);
}

struct outcome call_free(struct world *w)
{
	return change(w, true);
}

struct outcome call_alloc(struct world *w)
{
	return change(w, false);
}

static struct outcome change_page(struct world *w, bool to_free)
{
	struct guest *guest = take_guest(w);
	uint64_t gfn;
	uint32_t vcpu;
	int64_t result;
	int error = PGSTE_OK;

	if (!guest)
		return NOTHING;
	vcpu = take_vcpu(w, guest);
	gfn = take_gfn(w, guest);
	if (vcpu >= guest->config.nr_vcpus)
		error = PGSTE_E_ARG;
	else if (!present(guest, gfn, 1))
		error = PGSTE_E_GFN;
	else if (guest->config.strict && page_is_free(guest, gfn) == to_free)
		error = PGSTE_E_STATE;
	result = CALL(w, (to_free ? pgste_free_page : pgste_alloc_page)(guest->g, vcpu, gfn));
	REQUIRE(result == error);
	REQUIRE(error || page_is_free(guest, gfn) == to_free);
	return did(result);
}

struct outcome call_free_page(struct world *w)
{
	return change_page(w, true);
}

struct outcome call_alloc_page(struct world *w)
{
	return change_page(w, false);
}

struct outcome call_cbrl(struct world *w)
{
	struct guest *guest = take_guest(w);
	uint64_t *list = block_of_size(guest ? guest->config.cbrl_entries * sizeof(*list) : 0);
	uint32_t vcpu;
	int64_t nr;

	if (!guest) {
		free(list);
		return NOTHING;
	}
	vcpu = take_vcpu(w, guest);
	nr = CALL(w, pgste_cbrl(guest->g, vcpu, list));
	REQUIRE(vcpu < guest->config.nr_vcpus ? nr >= 0 : nr == PGSTE_E_ARG);
	free(list);
	return looked(nr);
}

struct outcome call_intercept(struct world *w)
{
	struct guest *guest = take_guest(w);
	uint64_t list[PGSTE_CBRL_MAX];
	int64_t nr, result;
	uint32_t vcpu;

	if (!guest)
		return NOTHING;
	vcpu = take_vcpu(w, guest);
	nr = pgste_cbrl(guest->g, vcpu, list);
	result = CALL(w, pgste_intercept(guest->g, vcpu));
	REQUIRE(nr < 0 ? result == PGSTE_E_ARG : result >= 0 && result <= nr);
	REQUIRE(nr < 0 || pgste_cbrl(guest->g, vcpu, list) == 0);
	return did(result);
}

struct outcome call_problem_state(struct world *w)
{
	struct guest *guest = take_guest(w);
	const bool on = take_byte(&w->in) & 1;
	uint64_t bit;
	uint32_t vcpu;
	int64_t result;

	if (!guest)
		return NOTHING;
	vcpu = take_vcpu(w, guest);
	bit = UINT64_C(1) << (vcpu % 64);
	if (guest->config.nr_vcpus > 64)
		return NOTHING;
	result = CALL(w, pgste_set_problem_state(guest->g, vcpu, on));
	REQUIRE(result == (vcpu < guest->config.nr_vcpus ? PGSTE_OK : PGSTE_E_ARG));
	if (!result)
		guest->problem_state = on ? guest->problem_state | bit :
					    guest->problem_state & ~bit;
	return did(result);
}

struct outcome call_migration(struct world *w)
{
	struct guest *guest = take_guest(w);
	const uint8_t form = take_byte(&w->in);
	const bool on = form & 1;
	int64_t result;
	bool was, may = true;

	if (!guest)
		return NOTHING;
	was = pgste_get_migration(guest->g);
	if (form & 2 && on)
		result = CALL(w, pgste_start_migration(guest->g));
	else if (form & 2)
		result = CALL(w, pgste_stop_migration(guest->g));
	else
		result = CALL(w, pgste_set_migration(guest->g, on));
	for (unsigned i = 0; i < guest->nr_slots; i++)
		may &= guest->slots[i].log_dirty || !guest->cmma;
	if (!is_kvm(guest))
		REQUIRE(result == (form & 2 ? PGSTE_E_KVM_NXIO : PGSTE_OK));
	else if (on && !was && (!guest->nr_slots || !may))
		REQUIRE(result == PGSTE_E_KVM_INVAL);
	else
		REQUIRE(result == PGSTE_OK);
	REQUIRE(pgste_get_migration(guest->g) == (result ? was : on));
	return did(result);
}

struct outcome call_reset_cmma(struct world *w)
{
	struct guest *guest = take_guest(w);

	if (!guest)
		return NOTHING;
	pgste_reset_cmma(guest->g);
	return did(0);
}

struct outcome call_set_changed(struct world *w)
{
	struct guest *guest = take_guest(w);
	const bool on = take_byte(&w->in) & 1;
	struct gfns gfns;
	int64_t result;

	if (!guest)
		return NOTHING;
	gfns = take_gfns(w, guest, 0);
	result = CALL(w, pgste_set_changed(guest->g, &gfns.arg, on));
	REQUIRE(result == (all_below(&gfns, guest->nr_pages) ? PGSTE_OK : PGSTE_E_GFN) ||
		ended_early(w, result));
	gfns_free(&gfns);
	return did(result);
}
