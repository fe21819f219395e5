/* SPDX-License-Identifier: MIT */
/* The small runs of test_linear: which calls are drawn, and how they are made and noted down. */
#ifndef SMALL_RUNS_H
#define SMALL_RUNS_H

#include <pthread.h>
#include <stdlib.h>

#include "linear.h"
#include "pgste.h"

#define LISTED 511u
#define WIDE 16u /* pages of a wide range: a shared one goes in words of eight */

enum call {
	C_ESSA, C_ESSA_ARRAY, C_ESSA_RANGE, C_FREE, C_ALLOC, C_FREE_ARRAY, C_INTERCEPT,
	C_STORE, C_SWAP_OUT, C_ZAP, C_GET,
	C_SET_KEY, C_GET_KEY, C_COND_KEY, C_RESET_REFERENCE
};

struct made {
	enum call call;
	unsigned orc, page, nr; /* nr: elements of an array */
	unsigned key;		/* with WITH_MR, WITH_MC */
	uint64_t begin, end;
	int answer;
	uint8_t results[STEPS], old[STEPS];
};

struct run {
	struct pgste_host *host;
	struct pgste_guest *guest;
	unsigned pages, vcpus, threads, limit;
	unsigned range; /* pages of a range: those looked at, and maybe some more */
	bool dat, interpreted, migrating, keys;
	unsigned nr[THREADS];
	struct made made[THREADS][OPS];
};

static struct run run;
static pthread_rwlock_t lock;
static uint64_t now, seed;
static unsigned turn, arrived;

static unsigned chance(unsigned below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % below;
}

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "test_linear: %s\n", what);
	exit(2);
}

/* ---- what is done ---- */

static void draw(unsigned t)
{
	static const unsigned orcs[] = { 0, 1, 2, 2, 2, 3, 4, 5, 6, 7 };
	static const unsigned keys[] = { 0x00, 0xf8, 0x36, 0xa4, 0x52 };
	const bool is_host = t == run.vcpus;

	run.nr[t] = is_host ? 4 + chance(6) : 6 + chance(OPS - 5);
	for (unsigned i = 0; i < run.nr[t]; i++) {
		struct made *m = &run.made[t][i];

		*m = (struct made){ .page = chance(run.pages), .orc = orcs[chance(10)] };
		m->key = keys[chance(5)] | chance(4) << 8;
		m->call = is_host ? C_STORE + chance(run.migrating && run.pages == 1 ? 4 : 3) :
				    C_ESSA + chance(7);
		m->nr = m->call == C_ESSA_RANGE ? run.pages : 1 + chance(4);
		if (m->call < C_ESSA_RANGE && chance(2))
			m->call = C_ESSA;
		if (run.keys && !is_host && chance(3))
			m->call = C_SET_KEY + chance(4);
	}
}

/* Pages of an array: one after another, from m->page. */
static struct pgste_gfns array_of(const struct made *m, uint32_t *gfns)
{
	for (unsigned i = 0; i < m->nr; i++)
		gfns[i] = (m->page + i) % run.pages;
	return (struct pgste_gfns){ .type = PGSTE_GFN_U32, .data = gfns, .nr = m->nr };
}

static int call_on_keys(struct made *m, const struct pgste_gfns *array)
{
	const uint8_t key = (uint8_t)m->key;

	switch (m->call) {
	case C_SET_KEY: return pgste_set_storage_key(run.guest, array, &key, 0, false);
	case C_GET_KEY: return pgste_insert_storage_key(run.guest, array, m->results);
	case C_COND_KEY:
		return pgste_cond_set_storage_key(run.guest, array, &key, 0, m->key & WITH_MR,
						  m->key & WITH_MC, false, m->results, m->old);
	default: return pgste_reset_reference(run.guest, array, m->results);
	}
}

static void call_vcpu(struct made *m, uint32_t vcpu)
{
	const struct pgste_gfns range = { .nr = run.range };
	uint8_t results[WIDE];
	uint32_t gfns[STEPS];
	const struct pgste_gfns array = array_of(m, gfns);

	switch (m->call) {
	case C_ESSA: m->answer = pgste_essa_page(run.guest, vcpu, m->orc, m->page); break;
	case C_ESSA_ARRAY:
		m->answer = pgste_essa(run.guest, vcpu, m->orc, &array, m->results);
		break;
	case C_ESSA_RANGE:
		m->answer = pgste_essa(run.guest, vcpu, m->orc, &range, results);
		memcpy(m->results, results, run.pages);
		break;
	case C_FREE: m->answer = pgste_free_page(run.guest, vcpu, m->page); break;
	case C_ALLOC: m->answer = pgste_alloc_page(run.guest, vcpu, m->page); break;
	case C_FREE_ARRAY: m->answer = pgste_free(run.guest, vcpu, &array, 0); break;
	case C_INTERCEPT: m->answer = (int)pgste_intercept(run.guest, vcpu); break;
	default: must((m->answer = call_on_keys(m, &array)) == 0, "no key"); break;
	}
}

/* What the log has of the one page there is. */
static int get_bits(void)
{
	struct pgste_cmma_log log = { .count = 1 };
	uint8_t value;

	must(pgste_get_cmma_bits(run.guest, &log, &value) == 0, "no log");
	return log.count ? value : NOTHING;
}

static void call_host(struct made *m)
{
	const struct pgste_gfns page = { .first = m->page, .nr = 1 };
	const uint32_t tag = 7;

	switch (m->call) {
	case C_STORE: m->answer = pgste_write(run.guest, &page, &tag, 0); break;
	case C_SWAP_OUT: m->answer = (int)pgste_swap_out(run.guest, &page); break;
	case C_ZAP: m->answer = (int)pgste_zap(run.guest, m->page); break;
	default: m->answer = get_bits(); break;
	}
}

#endif
