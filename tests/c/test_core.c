/* SPDX-License-Identifier: MIT */
/*
 * The core without Python, for the sanitizers: long random runs of every call on small hosts,
 * all invariants checked as they go, and the error contract of each call.  What the results
 * should be is compared with the reference model in the Python tests.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_or_exit.h"
#include "pgste.h"

#define PAGES 200u

static uint64_t seed = 88172645463325252u;

static uint64_t draw(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static struct pgste_host *host_of(uint64_t frames, uint64_t slots)
{
	struct pgste_host_config config = { .nr_frames = frames, .nr_swap_slots = slots };
	struct pgste_host *host;

	pgste_host_defaults(&config);
	CHECK(pgste_host_new(&config, &host) == PGSTE_OK);
	return host;
}

static struct pgste_guest_config guest_config(const char *mechanism)
{
	return (struct pgste_guest_config){
		.nr_pages = PAGES,
		.mechanism = mechanism,
		.nr_vcpus = 1 + (uint32_t)draw(2),
		.cbrl_entries = 1 + (uint32_t)draw(9),
		.generation = draw(2) ? PGSTE_GEN_DAT : PGSTE_GEN_PGTABLE,
		.nodat = draw(2),
		.strict = draw(4) == 0,
	};
}

/* A random argument: a run, or an array of any type, sometimes outside the guest. */
static struct pgste_gfns draw_gfns(void *storage, uint64_t most)
{
	static const uint8_t width[] = { 0, 1, 2, 4, 8, 1, 2, 4, 8 };
	struct pgste_gfns gfns = { .nr = draw(most) };

	gfns.type = (enum pgste_gfn_type)draw(9);
	if (gfns.type == PGSTE_GFN_RANGE) {
		gfns.first = draw(PAGES + 2 - gfns.nr);
		return gfns;
	}
	gfns.data = storage;
	for (uint64_t i = 0; i < gfns.nr; i++) {
		uint64_t gfn = draw(100) ? draw(gfns.type == PGSTE_GFN_I8 ? 128 : PAGES) : PAGES;

		if (gfns.type == PGSTE_GFN_I8)
			gfn &= 127;
		memcpy((char *)storage + i * width[gfns.type], &gfn, width[gfns.type]);
	}
	return gfns;
}

static void random_call(struct pgste_guest *g, struct pgste_host *host)
{
	static uint64_t storage[64], words[64], more[64];
	static uint32_t tags[64];
	static uint8_t bytes[256];
	struct pgste_gfns gfns = draw_gfns(storage, 40);
	const uint32_t vcpu = (uint32_t)draw(3);

	for (unsigned i = 0; i < 64; i++)
		tags[i] = (uint32_t)draw(5);
	switch (draw(24)) {
	case 0: case 1: pgste_essa(g, vcpu, (unsigned)draw(9), &gfns, bytes); break;
	case 2: pgste_essa_page(g, vcpu, (unsigned)draw(9), draw(PAGES + 1)); break;
	case 3: case 4: pgste_free(g, vcpu, &gfns, (unsigned)draw(4)); break;
	case 5: case 6: pgste_alloc(g, vcpu, &gfns, (unsigned)draw(4)); break;
	case 7: pgste_free_page(g, vcpu, draw(PAGES + 1)); break;
	case 8: pgste_alloc_page(g, vcpu, draw(PAGES + 1)); break;
	case 9: case 10: case 11: pgste_write(g, &gfns, tags, (unsigned)draw(2)); break;
	case 12: case 13: pgste_read(g, &gfns, tags); break;
	case 14: pgste_peek(g, &gfns, tags); break;
	case 15:
		if (pgste_get_words(g, &gfns, words, more) == PGSTE_OK && draw(2)) {
			for (unsigned i = 0; i < 40; i++)
				words[i] ^= draw(3) ? 0 : seed, more[i] ^= draw(8) ? 0 : seed;
			pgste_set_words(g, &gfns, words, 1, more, 1);
		}
		break;
	case 16: pgste_intercept(g, vcpu); break;
	case 17: pgste_zap(g, draw(PAGES + 1)); break;
	case 18: pgste_zap_scan(g, 1 + (unsigned)draw(3)); break;
	case 19: pgste_swap_out(g, &gfns); break;
	case 20: pgste_host_reclaim(host, draw(6)); break;
	case 21: pgste_set_migration(g, draw(4) == 0); break;
	case 22: if (draw(8) == 0) pgste_reset_cmma(g); break;
	default: pgste_get_states(g, &gfns, bytes); pgste_get_free(g, &gfns, bytes); break;
	}
}

static void random_runs(void)
{
	for (unsigned run = 0; run < 60; run++) {
		struct pgste_host *host = host_of(8 + draw(200), draw(3) ? draw(300) : 0);
		struct pgste_guest *guests[3];

		for (unsigned i = 0; i < 3; i++) {
			struct pgste_guest_config c = guest_config(
				pgste_mechanism_name((unsigned)draw(4)));

			CHECK(pgste_guest_new(host, &c, &guests[i]) == PGSTE_OK);
		}
		for (unsigned step = 0; step < 1500; step++) {
			random_call(guests[draw(3)], host);
			if (step % 20 == 0) {
				const char *broken = pgste_validate(host);

				if (broken)
					fprintf(stderr, "run %u step %u: %s\n", run, step, broken);
				CHECK(!broken);
			}
		}
		for (unsigned i = 0; i < 3; i++) {
			pgste_guest_free(guests[i]);
			CHECK(!pgste_validate(host));
		}
		CHECK(pgste_host_free(host) == PGSTE_OK);
	}
}

static void contracts(void)
{
	struct pgste_host_config hc = { .nr_frames = 0 };
	struct pgste_guest_config gc = guest_config("cmma");
	struct pgste_gfns all = { .nr = PAGES }, beyond = { .first = 1, .nr = PAGES };
	struct pgste_host *host;
	struct pgste_guest *guest;
	uint32_t tag = 7;
	uint64_t list[PGSTE_CBRL_MAX];

	CHECK(pgste_host_new(&hc, &host) == PGSTE_E_ARG);
	host = host_of(100, 50);
	gc.nr_pages = 0;
	CHECK(pgste_guest_new(host, &gc, &guest) == PGSTE_E_ARG);
	gc.nr_pages = PGSTE_MAX_PAGES + 1;
	CHECK(pgste_guest_new(host, &gc, &guest) == PGSTE_E_ARG);
	gc.nr_pages = PAGES;
	gc.mechanism = "balloon";
	CHECK(pgste_guest_new(host, &gc, &guest) == PGSTE_E_NAME);
	gc.mechanism = "cmma";
	gc.generation = PGSTE_GEN_PGTABLE;
	gc.nodat = false;
	CHECK(pgste_guest_new(host, &gc, &guest) == PGSTE_OK);
	CHECK(pgste_host_free(host) == PGSTE_E_BUSY);
	CHECK(pgste_essa_page(guest, 0, 8, 0) == PGSTE_E_PGM_SPECIFICATION);
	CHECK(pgste_essa_page(guest, 0, 7, 0) == PGSTE_E_PGM_SPECIFICATION);
	CHECK(pgste_essa_page(guest, 0, 1, PAGES) == PGSTE_E_PGM_ADDRESSING);
	CHECK(pgste_essa(guest, 0, 1, &beyond, NULL) == PGSTE_E_PGM_ADDRESSING);
	CHECK(pgste_essa_page(guest, 9, 1, 0) == PGSTE_E_ARG);
	CHECK(pgste_set_problem_state(guest, 0, true) == PGSTE_OK);
	CHECK(pgste_essa_page(guest, 0, 1, 0) == PGSTE_E_PGM_PRIVILEGED);
	CHECK(pgste_free(guest, 0, &beyond, 0) == PGSTE_E_GFN);
	CHECK(pgste_free(guest, 0, &all, 1) == PGSTE_E_GFN);
	CHECK(pgste_free(guest, 0, &all, 40) == PGSTE_E_ARG);
	CHECK(pgste_write(guest, &all, &tag, 0) == PGSTE_E_NO_FRAME); /* 200 pages, 150 places */
	CHECK(pgste_write(guest, &beyond, &tag, 0) == PGSTE_E_GFN);
	CHECK(pgste_cbrl(guest, 9, list) == PGSTE_E_ARG);
	CHECK(pgste_intercept(guest, 9) == PGSTE_E_ARG);
	CHECK(pgste_zap(guest, PAGES) == PGSTE_E_GFN);
	CHECK(pgste_find(guest, 1, 0, 1, 2, list, 1) == PGSTE_E_ARG);
	CHECK(strcmp(pgste_strerror(PGSTE_OK), "no error") == 0);
	for (int e = PGSTE_E_LAST - 1; e <= 1; e++)
		CHECK(pgste_strerror(e) && *pgste_strerror(e));
	CHECK(pgste_pgm_code(PGSTE_E_PGM_ADDRESSING) == 5 && pgste_pgm_code(PGSTE_E_GFN) == 0);
	pgste_guest_free(guest);
	CHECK(pgste_host_free(host) == PGSTE_OK);
	CHECK(pgste_isa_select("mmx") == PGSTE_E_NAME);
}

/* A large guest costs nothing until it is used, and goes quickly. */
static void large_guest(void)
{
	struct pgste_host *host = host_of(1000, 1000);
	struct pgste_guest_config gc = guest_config("cmma");
	struct pgste_gfns last = { .nr = 1 };
	struct pgste_guest *guest;
	uint32_t tag = 5, back = 0;

	gc.nr_pages = UINT64_C(1) << 32;
	last.first = gc.nr_pages - 1;
	CHECK(pgste_guest_new(host, &gc, &guest) == PGSTE_OK);
	CHECK(pgste_write(guest, &last, &tag, 0) == PGSTE_OK);
	CHECK(pgste_read(guest, &last, &back) == PGSTE_OK && back == tag);
	CHECK(!pgste_validate(host));
	pgste_guest_free(guest);
	CHECK(!pgste_validate(host));
	CHECK(pgste_host_free(host) == PGSTE_OK);
}

static void replays(void)
{
	enum { EVENTS = 4000 };
	static uint64_t events[EVENTS], times[EVENTS];

	for (unsigned m = 0; pgste_mechanism_name(m); m++) {
		struct pgste_host *host = host_of(60, 400);
		struct pgste_guest *guests[2];
		struct pgste_guest_config gc = guest_config(pgste_mechanism_name(m));
		struct pgste_replay *replay;
		struct pgste_replay_stats stats;
		int64_t n;

		for (unsigned i = 0; i < EVENTS; i++) {
			const uint64_t order = draw(8) ? 0 : draw(4);

			events[i] = PGSTE_EVENT(draw(2), order,
						1000 + (draw(PAGES - 8) >> order << order));
			times[i] = i * 1000u;
		}
		gc.strict = false;
		for (unsigned i = 0; i < 2; i++)
			CHECK(pgste_guest_new(host, &gc, &guests[i]) == PGSTE_OK);
		CHECK(pgste_replay_new(guests, 2, 1001, events, times, EVENTS, &replay) ==
		      PGSTE_E_ARG);
		CHECK(pgste_replay_new(guests, 2, 1000, events, times, EVENTS, &replay) ==
		      PGSTE_OK);
		for (uint64_t ns = 0; ns < EVENTS * 500; ns += draw(90000)) {
			while ((n = pgste_replay_run_until(replay, ns, 20)) == 20)
				;
			CHECK(n >= 0 && pgste_replay_position(replay) == ns / 1000 + 1);
			CHECK(!pgste_validate(host));
		}
		while ((n = pgste_replay_run(replay, 1 + draw(300))) > 0)
			CHECK(!pgste_validate(host));
		CHECK(n == 0 && pgste_replay_position(replay) == EVENTS);
		pgste_replay_get_stats(replay, &stats);
		CHECK(stats.events == 2 * EVENTS);
		pgste_replay_free(replay);
		if (m % 2)
			pgste_host_ends(host);
		for (unsigned i = 0; i < 2; i++)
			pgste_guest_free(guests[i]);
		CHECK(pgste_host_free(host) == PGSTE_OK);
	}
}

int main(void)
{
	bool supported;

	contracts();
	large_guest();
	for (unsigned i = 0; pgste_isa_list(i, &supported); i++) {
		if (!supported)
			continue;
		CHECK(pgste_isa_select(pgste_isa_list(i, NULL)) == PGSTE_OK);
		random_runs();
		replays();
	}
	puts("test_core: passed");
	return 0;
}
