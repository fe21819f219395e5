/* SPDX-License-Identifier: MIT */
/*
 * Sequences of calls.  After each one:
 *
 *  - the validator finds nothing;
 *  - a call that was refused has changed nothing of what can be seen: words, states, content,
 *    free bits, lists, counters, clocks, frames, slots, the reporting view;
 *  - a call that only looks has changed nothing either;
 *  - one that was cancelled half way leaves all of it usable;
 *  - the result is what the arguments say (calls_*.c).
 *
 * At the end every frame, slot, table and block of memory has been given back.  Some inputs
 * run once more with another variant of the scan kernels, which has to give the same.
 *
 * With FUZZ_TELL=1 in the environment each call is printed.
 */
#include "api.h"

#define MOST_CALLS 120u
#define MOST_INPUT 2048u

static call *const calls[64] = {
	call_essa, call_essa, call_essa, call_slots, call_essa_page, call_essa_page, call_free,
	call_free, call_pte, call_alloc, call_alloc, call_keys, call_free_page, call_alloc_page,
	call_write, call_write, call_write, call_tables, call_read, call_read, call_read,
	call_peek, call_set_words, call_set_words, call_set_words, call_get, call_swap_out,
	call_swap_out, call_log,
	call_set_folio, call_reclaim, call_reclaim, call_rearm, call_zap, call_zap_scan,
	call_count, call_find, call_look, call_intercept, call_cbrl, call_set_changed,
	call_reset_cmma, call_migration, call_problem_state, call_advance, call_advance,
	call_configure, call_report, call_replay_new, call_replay_new, call_replay_run,
	call_replay_run, call_replay_run, call_replay_free, call_reset_stats, call_guest_new,
	call_guest_new, call_guest_new, call_guest_free, call_host_new, call_host_free,
	call_slots, call_pte, call_log,
};

static bool go_on(void *data)
{
	struct world *w = data;

	if (w->patience > 1)
		w->patience--;
	else
		w->cancelled = true;
	return !w->cancelled;
}

void call_begins(struct world *w)
{
	w->cancelled = false;
	if (w->patience) {
		w->watch = (struct pgste_watch){ .go_on = go_on, .data = w };
		pgste_set_watch(&w->watch);
	}
	faults_arm(w->fault);
}

int64_t call_done(struct world *w, int64_t result, const char *text)
{
	w->faulted = faults_disarm();
	pgste_set_watch(NULL);
	w->incomparable |= w->cancelled;
	REQUIRE(result != PGSTE_E_CANCELLED || w->cancelled);
	if (w->tells)
		fprintf(stderr, "%s = %lld%s%s\n", text, (long long)result,
			w->faulted ? " (an allocation failed)" : "",
			w->cancelled ? " (cancelled)" : "");
	w->fault = w->patience = 0;
	return result;
}

static uint64_t hash_state(uint64_t hash, const struct bytes *bytes)
{
	uint64_t word;

	for (size_t i = 0; i + sizeof(word) <= bytes->size; i += sizeof(word)) {
		memcpy(&word, bytes->at + i, sizeof(word));
		hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 29;
	}
	return hash;
}

static void check(struct world *w, const struct outcome *o)
{
	const struct bytes before = w->before;

	for (unsigned i = 0; i < HOSTS; i++) {
		const char *broken = w->hosts[i] ? pgste_validate(w->hosts[i]) : NULL;

		if (broken)
			fprintf(stderr, "validate: %s\n", broken);
		REQUIRE(!broken);
	}
	state_take(w, &w->after);
	if (o->looks || (o->result < 0 && o->result != PGSTE_E_CANCELLED && !o->partial &&
			 !w->held)) {
		REQUIRE(w->after.size == before.size);
		REQUIRE(!before.size || !memcmp(w->after.at, before.at, before.size));
	}
	w->before = w->after;
	w->after = before;
	w->hash = hash_bytes(w->hash, &o->result, sizeof(o->result));
	w->hash = hash_state(w->hash, &w->before);
}

/*
 * One call: its number, whether held-back frees are issued first, an allocation that fails or a
 * question that is answered by no.
 */
static void step(struct world *w)
{
	const uint8_t byte = take_byte(&w->in), ends = byte & 128 ? take_byte(&w->in) : 0;
	struct outcome o;

	if (w->held && byte & 64) {
		o = call_settle(w);
		check(w, &o);
		w->held = false;
	}
	w->fault = byte & 128 && ends < 128 ? 1u + ends % 16 : 0;
	w->patience = ends >= 128 ? 1u + ends % 16 : 0;
	w->cancelled = w->faulted = false;
	o = calls[byte & 63](w);
	check(w, &o);
}

/* A number that follows from all results and states, 0 if none does. */
static uint64_t run(const uint8_t *data, size_t size)
{
	struct world w = { .in = { data, data + size }, .hash = HASH_START };

	w.tells = getenv("FUZZ_TELL") != NULL;
	for (unsigned i = 0; i < MOST_CALLS && w.in.at < w.in.end; i++)
		step(&w);
	world_free(&w);
	return w.incomparable ? 0 : w.hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool supported;
	uint64_t hash;

	if (size > MOST_INPUT || !size)
		return -1;
	REQUIRE(pgste_isa_select("portable") == PGSTE_OK);
	if (data[0] & 1) {
		(void)pgste_isa_list(data[0] >> 1 & 1, &supported);
		if (supported)
			REQUIRE(pgste_isa_select(pgste_isa_list(data[0] >> 1 & 1, NULL)) ==
				PGSTE_OK);
	}
	hash = run(data + 1, size - 1);
	if ((data[0] & 5) == 5) {
		REQUIRE(pgste_isa_select("portable") == PGSTE_OK);
		REQUIRE(run(data + 1, size - 1) == hash);
	}
	return 0;
}
