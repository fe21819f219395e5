/* SPDX-License-Identifier: MIT */
/*
 * Before a replay: pages whose first event is an alloc are free, those whose first event is a
 * free hold something.  docs/model.md section 9.
 */
#include "replay/steps.h"

/* Words, of 64 pages each, between two questions whether to go on; the first is asked for too. */
#define ASK_WORDS (WATCH_STEPS / 64)

struct first_events {
	uint64_t *seen, *is_free; /* a bit a page: in an event; the first one frees it */
	uint64_t nr_bytes;
};

/* It is the first that looks at the events: PGSTE_E_ARG if one is none. */
static int first_events_of(const struct pgste_replay *r, struct first_events *first)
{
	const bool holes = replay_has_holes(r);
	struct block block;
	uint64_t words = 0, in_word;

	for (uint64_t i = 0; i < r->nr; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		if (!replay_block(r, READ_ONCE(r->events[i]), &block) ||
		    (holes && !replay_in_slots(r, block.first, block.nr)))
			return PGSTE_E_ARG;
		for (; block.nr; block.first += in_word, block.nr -= in_word) {
			const uint64_t bits = bits_of(block.first, block.nr, &in_word);
			uint64_t *seen = &first->seen[block.first / 64];

			if (watch_stops_at(words++))
				return PGSTE_E_CANCELLED;
			first->is_free[block.first / 64] |= block.is_free ? bits & ~*seen : 0;
			*seen |= bits;
		}
	}
	return PGSTE_OK;
}

/* Pages whose first event is an alloc are free, as they were since boot. */
static int setup_free(struct pgste_guest *guest, const struct first_events *first,
		      uint64_t nr_words)
{
	uint64_t start = 0, nr = 0;

	for (uint64_t word = 0; word < nr_words; word++) {
		uint64_t bits = first->seen[word] & ~first->is_free[word];

		if (word % ASK_WORDS == 0 && watch_stops())
			return PGSTE_E_CANCELLED;
		for (; bits; bits &= bits - 1) {
			const uint64_t gfn = word * 64 + (uint64_t)__builtin_ctzll(bits);

			if (nr && start + nr == gfn && nr < WATCH_STEPS) {
				nr++;
				continue;
			}
			if (nr)
				replay_free_run(guest, start, nr, 0);
			start = gfn;
			nr = 1;
		}
	}
	if (nr)
		replay_free_run(guest, start, nr, 0);
	guest_settle(guest);
	return PGSTE_OK;
}

/* Pages whose first event is a free hold content of the guest. */
static int setup_store(struct pgste_replay *r, struct pgste_guest *guest,
		       const struct first_events *first, uint64_t nr_words)
{
	for (uint64_t word = 0; word < nr_words; word++) {
		if (word % ASK_WORDS == 0 && watch_stops())
			return PGSTE_E_CANCELLED;
		for (uint64_t bits = first->is_free[word]; bits; bits &= bits - 1) {
			bool stale;
			const uint64_t gfn = word * 64 + (uint64_t)__builtin_ctzll(bits);
			int error = replay_first_store(guest, gfn, replay_next_tag(r), &stale);

			if (error)
				return error;
		}
	}
	return PGSTE_OK;
}

int replay_setup(struct pgste_replay *r)
{
	const uint64_t nr_words = (r->nr_pages + 63) / 64;
	struct first_events first = { .nr_bytes = nr_words * sizeof(uint64_t) };
	int error = PGSTE_E_NOMEM;

	first.seen = table_new(first.nr_bytes);
	first.is_free = table_new(first.nr_bytes);
	if (first.seen && first.is_free)
		error = first_events_of(r, &first);
	for (unsigned i = 0; i < r->nr_guests && !error; i++) {
		struct pgste_guest *guest = r->guests[i];

		error = setup_free(guest, &first, nr_words);
		if (!error)
			error = setup_store(r, guest, &first, nr_words);
		if (error)
			break;
		for (uint32_t v = 0; v < guest->nr_vcpus; v++)
			cbrl_process(guest, &guest->vcpus[v]);
		if (guest->mech->replay_starts)
			guest->mech->replay_starts(guest);
		r->clocked |= guest->mech->due != NULL;
	}
	if (!error) {
		for (unsigned i = 0; i < r->nr_guests; i++)
			pgste_guest_reset_stats(r->guests[i]);
		pgste_host_reset_stats(r->guests[0]->mm.host);
	}
	table_free(first.seen, first.nr_bytes);
	table_free(first.is_free, first.nr_bytes);
	return error;
}
