/* SPDX-License-Identifier: MIT */
/* Controls of a virtual machine, its virtual CPUs, and the CMMA log. */
#include "api.h"

static bool has_cmma(const struct guest *guest)
{
	return has_mechanism(guest, "cmma") && is_kvm(guest);
}

static struct outcome enable(struct world *w, struct guest *guest)
{
	const bool created = pgste_vcpus_created(guest->g);
	const int64_t result = CALL(w, pgste_enable_cmma(guest->g));

	if (!has_cmma(guest))
		REQUIRE(result == PGSTE_E_KVM_NXIO);
	else
		REQUIRE(result == (created ? PGSTE_E_KVM_BUSY : PGSTE_OK));
	guest->cmma |= !result;
	REQUIRE(pgste_cmma_enabled(guest->g) == guest->cmma);
	return did(result);
}

static struct outcome clear(struct world *w, struct guest *guest)
{
	const int64_t result = CALL(w, pgste_clear_cmma(guest->g));

	if (!has_cmma(guest))
		REQUIRE(result == PGSTE_E_KVM_NXIO);
	else
		REQUIRE(result == (guest->cmma ? PGSTE_OK : PGSTE_E_KVM_INVAL));
	return did(result);
}

static struct outcome create(struct world *w, struct guest *guest)
{
	(void)CALL(w, (pgste_create_vcpus(guest->g), 0));
	REQUIRE(pgste_vcpus_created(guest->g));
	(void)pgste_uses_cmm(guest->g);
	return did(0);
}

static uint8_t state_of(const struct guest *guest, uint64_t gfn)
{
	const struct pgste_gfns one = one_page(gfn);
	uint8_t state;

	REQUIRE(pgste_get_states(guest->g, &one, &state) == PGSTE_OK);
	return state;
}

/* What was read is what the pages are, and no page of the block is dirty any more. */
static void check_block(const struct guest *guest, const struct pgste_cmma_log *log,
			const uint8_t *values, bool peeking)
{
	for (uint32_t i = 0; i < log->count; i++) {
		const uint64_t gfn = log->start_gfn + i;
		uint8_t state, value;

		REQUIRE(!(values[i] & ~0x43));
		if (gfn >= guest->nr_pages || !present(guest, gfn, 1))
			continue;
		state = state_of(guest, gfn);
		value = (uint8_t)((state & PGSTE_STATE_USAGE) |
				  (state & PGSTE_STATE_NODAT ? 0x40 : 0));
		/* dat gives no values of clean pages */
		REQUIRE(values[i] == value || (is_dat(guest) && !values[i]));
		REQUIRE(peeking || !(state & PGSTE_STATE_DIRTY));
	}
}

static struct outcome get(struct world *w, struct guest *guest)
{
	const uint8_t form = take_byte(&w->in);
	struct pgste_cmma_log log = { .start_gfn = take_gfn(w, guest), .count = form >> 1 };
	const struct pgste_cmma_log asked = log;
	uint8_t *values;
	int64_t result;

	log.flags = take_byte(&w->in) % 8;
	log.flags = log.flags > 4 ? PGSTE_CMMA_PEEK : log.flags == 4 ? take_byte(&w->in) : 0;
	if (form & 1)
		log.count = log.count & 1 ? UINT32_MAX : 300; /* at most PGSTE_CMMA_MAX of them */
	values = block_of_size(log.count > PGSTE_CMMA_MAX ? PGSTE_CMMA_MAX : log.count);
	log.remaining = UINT64_C(0xdeadbeef);
	const uint32_t flags = log.flags;
	const uint64_t dirty = pgste_cmma_dirty_count(guest->g);

	result = CALL(w, pgste_get_cmma_bits(guest->g, &log, values));
	if (!guest->cmma || !is_kvm(guest))
		REQUIRE(result == PGSTE_E_KVM_NXIO);
	else if (flags & ~PGSTE_CMMA_PEEK || (!flags && !pgste_get_migration(guest->g)))
		REQUIRE(result == PGSTE_E_KVM_INVAL);
	else
		REQUIRE(result == PGSTE_OK || (flags && result == PGSTE_E_KVM_FAULT) ||
			ended_early(w, result));
	if (result) { /* the struct is as it was */
		REQUIRE(log.start_gfn == asked.start_gfn && log.remaining == 0xdeadbeef);
	} else {
		REQUIRE(log.count <= PGSTE_CMMA_MAX);
		REQUIRE(log.remaining <= dirty);
		check_block(guest, &log, values, flags);
		w->hash = hash_bytes(w->hash, values, log.count);
	}
	free(values);
	return flags ? looked(result) : did(result);
}

/* pgtable: every page; dat: the first page of each page table that is touched. */
static bool settable(const struct guest *guest, uint64_t start, uint64_t count)
{
	if (!is_dat(guest))
		return present(guest, start, count);
	for (uint64_t table = start / 256; table <= (start + count - 1) / 256; table++)
		if (!present(guest, table * 256, 1))
			return false;
	return true;
}

static struct outcome set(struct world *w, struct guest *guest)
{
	const uint64_t start = take_gfn(w, guest);
	const uint8_t form = take_byte(&w->in);
	const uint32_t flags = take_byte(&w->in) == 255;
	const uint64_t mask = form & 128 ? PGSTE_USAGE | PGSTE_NODAT : take(&w->in, 8);
	const uint32_t count = form == 255 ? PGSTE_CMMA_MAX + 1 : form & 127;
	uint8_t *values = block_of_size(count);
	int64_t result;
	int error = PGSTE_OK;

	for (uint32_t i = 0; i < count && i < 128; i++)
		values[i] = i < 4 ? take_byte(&w->in) : values[i % 4];
	result = CALL(w, pgste_set_cmma_bits(guest->g, start, count, flags, mask, values));
	if (!guest->cmma || !is_kvm(guest))
		error = PGSTE_E_KVM_NXIO;
	else if (flags || count > PGSTE_CMMA_MAX)
		error = PGSTE_E_KVM_INVAL;
	else if (start >= PGSTE_MAX_HOST_PAGE)
		error = PGSTE_E_ARG;
	else if (count && !settable(guest, start, count))
		error = PGSTE_E_KVM_FAULT;
	REQUIRE(result == error);
	for (uint32_t i = 0; !result && i < count; i++)
		if (present(guest, start + i, 1) && mask & PGSTE_NODAT)
			REQUIRE(!(state_of(guest, start + i) & PGSTE_STATE_NODAT) ==
				!(values[i] & 0x40));
	free(values);
	return (struct outcome){ .result = result,
				 .partial = result == PGSTE_E_KVM_FAULT && !is_dat(guest) };
}

static struct outcome mark(struct world *w, struct guest *guest, bool all)
{
	struct gfns gfns = take_gfns(w, guest, 0);
	int64_t result;
	int error = PGSTE_OK;

	if (all)
		result = CALL(w, pgste_set_cmma_log(guest->g, &gfns.arg));
	else
		result = CALL(w, pgste_mark_cmma_dirty(guest->g, &gfns.arg));
	if (!guest->cmma || !is_kvm(guest))
		error = PGSTE_E_KVM_NXIO;
	else if (!is_dat(guest) && !pgste_get_migration(guest->g))
		error = PGSTE_E_KVM_INVAL;
	else if (!all_below(&gfns, guest->nr_pages) || !all_present(guest, &gfns, 1))
		error = PGSTE_E_GFN;
	REQUIRE(result == error || (!error && ended_early(w, result)));
	for (uint64_t i = 0; !result && i < gfns.nr; i++)
		REQUIRE(state_of(guest, gfn_of(&gfns, i)) & PGSTE_STATE_DIRTY);
	gfns_free(&gfns);
	return did(result);
}

/* Names, past their ends as well; no two of a table are the same. */
static struct outcome names(struct world *w)
{
	static const char *(*const tables[])(unsigned i) = {
		pgste_log_revision_name, pgste_revision_name, pgste_rewrite_name,
		pgste_generation_name, pgste_guest_stats_name, pgste_host_stats_name,
		pgste_host_pte_stats_name, pgste_replay_stats_name, pgste_mechanism_name,
	};
	const unsigned i = take_byte(&w->in), t = take_byte(&w->in) % 9;
	const char *name = tables[t](i);
	const int error = -(int)i;

	REQUIRE(tables[t](UINT32_MAX - i) == NULL);
	for (unsigned k = 0; k < i; k++)
		REQUIRE(!name || (tables[t](k) && strcmp(name, tables[t](k))));
	REQUIRE(!pgste_generation_flavour(i) == !pgste_generation_name(i));
	REQUIRE(!pgste_generation_meaning(i) == !pgste_generation_name(i));
	REQUIRE(!strcmp(pgste_strerror(error), "unknown error") == (error < PGSTE_E_LAST));
	REQUIRE(!pgste_pgm_code(error) || !pgste_kvm_errno(error));
	REQUIRE(!pgste_mechanism_allowed((enum pgste_generation)(i % 3), "no such mechanism"));
	REQUIRE(pgste_mechanism_allowed(PGSTE_GEN_DAT, "cmma") && pgste_isa_name());
	return NOTHING;
}

struct outcome call_log(struct world *w)
{
	struct guest *guest = take_guest(w);
	const uint8_t form = take_byte(&w->in);

	if (!guest)
		return names(w);
	switch (form % 16) {
	case 0: return enable(w, guest);
	case 1: return clear(w, guest);
	case 2: return create(w, guest);
	case 3: return names(w);
	case 4: case 5: case 6: return set(w, guest);
	case 7: case 8: return mark(w, guest, form & 1);
	default: return get(w, guest);
	}
}
