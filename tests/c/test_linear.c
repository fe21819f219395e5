/* SPDX-License-Identifier: MIT */
/*
 * Small runs of several virtual CPUs on one page, or on two that are neighbours in memory, while
 * a host stores to them, swaps them out and zaps, with and without storage keys: for each page
 * there must be an order that explains all answers (linear.h).  Calls of the host are alone, by a
 * lock that the others share.
 *
 *   test_linear [RUNS [SEED]]      1 on the first run without an order, which is shown
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "small_runs.h"

static uint64_t tick(void)
{
	return __atomic_add_fetch(&now, 1, __ATOMIC_SEQ_CST);
}

static void make_calls(unsigned t)
{
	const bool is_host = t == run.vcpus;

	for (unsigned i = 0; i < run.nr[t]; i++) {
		struct made *m = &run.made[t][i];

		m->begin = tick();
		if (is_host) {
			pthread_rwlock_wrlock(&lock);
			call_host(m);
		} else {
			pthread_rwlock_rdlock(&lock);
			call_vcpu(m, t);
		}
		pthread_rwlock_unlock(&lock);
		m->end = tick();
	}
}

/* Threads wait here for one another, so that they begin together. */
static void meet(unsigned in_turn)
{
	if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == run.threads) {
		arrived = 0;
		__atomic_store_n(&turn, in_turn + 1, __ATOMIC_RELEASE);
	}
	for (unsigned i = 0; __atomic_load_n(&turn, __ATOMIC_ACQUIRE) == in_turn; i++)
		if (i > 200)
			sched_yield();
}

/* ---- what is to be explained ---- */

static void step(struct op *op, enum step_kind kind, unsigned arg, int answer)
{
	op->steps[op->nr++] = (struct step){ .kind = kind, .arg = arg, .answer = answer };
}

static void steps_of_array(const struct made *m, unsigned page, struct op *op)
{
	uint32_t gfns[STEPS];
	const bool frees = m->call == C_FREE_ARRAY;

	(void)array_of(m, gfns);
	for (unsigned i = 0; i < m->nr && frees; i++)
		if (gfns[i] == page)
			step(op, S_MARK, 1, ANY);
	for (unsigned i = 0; i < m->nr; i++)
		if (gfns[i] == page)
			step(op, S_ESSA, frees ? 2 : m->orc, frees ? ANY : m->results[i]);
}

static void steps_on_keys(const struct made *m, unsigned page, struct op *op)
{
	uint32_t gfns[STEPS];

	(void)array_of(m, gfns);
	for (unsigned i = 0; i < m->nr; i++) {
		if (gfns[i] != page)
			continue;
		switch (m->call) {
		case C_SET_KEY: step(op, S_SET_KEY, m->key & 0xff, ANY); break;
		case C_GET_KEY: step(op, S_GET_KEY, 0, m->results[i]); break;
		case C_COND_KEY:
			step(op, S_COND_KEY, m->key, m->results[i] << 8 | m->old[i]);
			break;
		default: step(op, S_RESET_REFERENCE, 0, m->results[i]); break;
		}
	}
}

/* What a call did to a page: nothing, or steps in this order, whose answers are known or not. */
static struct op op_on(const struct made *m, unsigned page)
{
	struct op op = { .begin = m->begin, .end = m->end };
	const bool here = m->page == page;

	switch (m->call) {
	case C_ESSA_ARRAY:
	case C_FREE_ARRAY: steps_of_array(m, page, &op); break;
	case C_ESSA_RANGE: step(&op, S_ESSA, m->orc, m->results[page]); break;
	case C_INTERCEPT:
		/* with two pages it is not known which of them was zapped */
		step(&op, S_INTERCEPT, 0, run.pages == 1 ? m->answer : ANY);
		break;
	case C_ESSA:
		if (here)
			step(&op, S_ESSA, m->orc, m->answer);
		break;
	case C_FREE:
	case C_ALLOC:
		if (here) {
			step(&op, S_MARK, m->call == C_FREE, ANY);
			step(&op, S_ESSA, m->call == C_FREE ? 2 : 7, ANY);
		}
		break;
	case C_STORE:
	case C_SWAP_OUT:
	case C_ZAP:
	case C_GET:
		if (here)
			step(&op, (enum step_kind)(S_STORE + (m->call - C_STORE)), 0, m->answer);
		break;
	default: steps_on_keys(m, page, &op); break;
	}
	return op;
}

/* In dat, where the soft dirty bit of an empty PTE is seen once the page is mapped. */
static bool is_soft_dirty(const struct pgste_gfns *page)
{
	const uint32_t tag = 1;
	uint64_t pte;

	must(pgste_write(run.guest, page, &tag, 0) == 0, "no store");
	must(pgste_get_words(run.guest, page, NULL, &pte) == 0, "no word");
	return pte & PTE_SOFT_DIRTY;
}

/* The key's parts; last: the page is not used any more. */
static struct keys_now look_at_key(unsigned page, bool valid, bool last)
{
	const struct pgste_gfns one = { .first = page, .nr = 1 };
	struct pgste_gfns frame = { .nr = 1 };
	uint64_t pgste, pte;
	struct keys_now k = { 0 };

	must(pgste_get_words(run.guest, &one, &pgste, &pte) == 0, "no words");
	frame.first = pte >> 12;
	k.pgste = (uint8_t)(pgste >> 56 & KEY_AF) | (uint8_t)(pgste >> 48 & KEY_RC);
	k.host = pgste >> 52 & KEY_RC;
	k.changed = !run.dat && (pgste & PGSTE_UC);
	if (run.keys && valid)
		must(pgste_frame_key(run.host, &frame, &k.real) == 0, "no key of a frame");
	if (run.dat && last)
		k.changed = is_soft_dirty(&one);
	return k;
}

static struct page_now look_at(unsigned page, bool last)
{
	const struct pgste_gfns one = { .first = page, .nr = 1 };
	struct page_now p = { 0 };
	uint8_t s, is_free;

	must(pgste_get_states(run.guest, &one, &s) == 0, "no state");
	must(pgste_get_free(run.guest, &one, &is_free) == 0, "no free bit");
	p.usage = s & PGSTE_STATE_USAGE;
	p.nodat = !!(s & PGSTE_STATE_NODAT);
	p.zero = !!(s & PGSTE_STATE_ZERO);
	p.valid = !!(s & PGSTE_STATE_VALID);
	p.swap = !!(s & PGSTE_STATE_SWAP);
	p.dirty = !!(s & PGSTE_STATE_DIRTY);
	p.free = is_free;
	p.key = look_at_key(page, p.valid, last);
	return p;
}

static uint8_t listed(uint32_t vcpu, unsigned page)
{
	uint64_t gfns[PGSTE_CBRL_MAX];
	const int64_t nr = pgste_cbrl(run.guest, vcpu, gfns);
	uint8_t found = 0;

	for (int64_t i = 0; i < nr; i++)
		found = (uint8_t)(found + (gfns[i] == page));
	return found;
}

static void history_of(unsigned page, const struct page_now *first, struct history *h)
{
	memset(h, 0, sizeof(*h));
	h->threads = run.threads;
	h->limit = run.limit;
	h->dat = run.dat;
	h->interpreted = run.interpreted || run.migrating;
	h->dirtying = run.dat || run.migrating;
	h->counts = run.pages == 1; /* other pages of a wide range are never on swap, nor freed */
	h->keys = run.keys;
	h->first.page = *first;
	h->last.page = look_at(page, true);
	for (unsigned t = 0; t < run.threads; t++) {
		if (t < run.vcpus)
			h->last.pending[t] = listed(t, page);
		for (unsigned i = 0; i < run.nr[t]; i++) {
			const struct op op = op_on(&run.made[t][i], page);

			if (op.nr)
				h->ops[t][h->nr[t]++] = op;
		}
	}
}

static void show(unsigned page)
{
	for (unsigned t = 0; t < run.threads; t++)
		for (unsigned i = 0; i < run.nr[t]; i++) {
			const struct made *m = &run.made[t][i];

			fprintf(stderr, "thread %u: %" PRIu64 "-%" PRIu64 " call %d orc %u page %u"
				" nr %u key %#x: %d, %#x %#x ...\n", t, m->begin, m->end,
				(int)m->call, m->orc, m->page, m->nr, m->key, m->answer,
				m->results[0], m->old[0]);
		}
	fprintf(stderr, "no order explains page %u\n", page);
}

/* ---- one run ---- */

static void open_run(void)
{
	struct pgste_host_config hc = { .nr_frames = 4, .nr_swap_slots = 8 };
	struct pgste_guest_config gc = { .mechanism = "cmma", .nodat = true };
	const uint32_t tag = 1;

	run.pages = 1 + chance(2);
	run.vcpus = run.threads - chance(2);
	run.dat = chance(2);
	run.interpreted = chance(4) == 0;
	run.migrating = chance(4) == 0;
	run.keys = chance(2);
	run.limit = run.pages == 1 && chance(2) ? 1 + chance(3) : LISTED;
	run.range = run.limit < LISTED || run.interpreted || run.migrating || chance(2) ?
			    run.pages : WIDE;
	gc.nr_pages = run.range;
	gc.nr_vcpus = run.vcpus;
	gc.cbrl_entries = run.limit;
	gc.interpretation = run.interpreted;
	gc.storage_keys = run.keys;
	gc.revision = run.dat ? PGSTE_REVISION_7_2 : 0;
	gc.log_revision = run.dat ? PGSTE_LOG_DAT_NEW : 0;
	gc.generation = run.dat ? PGSTE_GEN_DAT : PGSTE_GEN_PGTABLE;
	pgste_host_defaults(&hc);
	must(pgste_host_new(&hc, &run.host) == 0, "no host");
	must(pgste_guest_new(run.host, &gc, &run.guest) == 0, "no guest");
	for (uint64_t page = 0; page < run.pages; page++) {
		const struct pgste_gfns one = { .first = page, .nr = 1 };
		const unsigned how = chance(4);

		if (how)
			must(pgste_write(run.guest, &one, &tag, 0) == 0, "no store");
		if (how > 1)
			must(pgste_swap_out(run.guest, &one) == 1, "no swap-out");
	}
	must(pgste_essa_page(run.guest, 0, 0, 0) >= 0, "no ESSA");
	if (run.migrating)
		must(pgste_set_migration(run.guest, true) == 0, "no migration");
	for (unsigned t = 0; t < run.threads; t++)
		draw(t);
}

static void check_run(const struct page_now *first)
{
	static struct history h;
	struct pgste_guest_stats stats;
	uint64_t dirty = 0;

	must(!pgste_validate(run.host), "an invariant does not hold");
	pgste_guest_get_stats(run.guest, &stats);
	for (unsigned page = 0; page < run.pages; page++) {
		history_of(page, &first[page], &h);
		dirty += h.last.page.dirty;
		h.last.zapped = (uint8_t)stats.zapped;
		h.last.double_frees = (uint8_t)stats.double_frees;
		h.last.double_allocs = (uint8_t)stats.double_allocs;
		if (!linear(&h)) {
			show(page);
			exit(1);
		}
	}
	must(!run.migrating || pgste_cmma_dirty_count(run.guest) == dirty,
	     "dirty pages are miscounted");
	must(stats.zap_slots_freed == stats.zapped, "a slot was freed twice, or not");
	pgste_guest_free(run.guest);
	must(pgste_host_free(run.host) == 0, "the host is not empty");
}

/* ---- the threads ---- */

static uint64_t runs, first_seed;
static struct page_now before[2];

static void *others(void *data)
{
	const unsigned t = (unsigned)(uintptr_t)data;

	for (unsigned i = 0;; i += 2) {
		meet(i);
		if (!run.guest)
			return NULL;
		if (t < run.threads)
			make_calls(t);
		meet(i + 1);
	}
}

static void all_runs(void)
{
	for (uint64_t i = 0; i <= runs; i++) {
		const unsigned at = (unsigned)(2 * i);

		seed = (first_seed + i) * 2654435761u;
		run.guest = NULL;
		if (i < runs) {
			open_run();
			for (unsigned page = 0; page < run.pages; page++)
				before[page] = look_at(page, false);
		}
		meet(at);
		if (!run.guest)
			return;
		make_calls(0);
		meet(at + 1);
		check_run(before);
	}
}

int main(int argc, char **argv)
{
	pthread_rwlockattr_t attr;
	pthread_t threads[THREADS];

	runs = argc > 1 ? strtoull(argv[1], NULL, 0) : 4000;
	first_seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&lock, &attr);
	for (run.threads = 2; run.threads <= THREADS; run.threads++) {
		turn = 0;
		for (unsigned t = 1; t < run.threads; t++)
			must(!pthread_create(&threads[t], NULL, others, (void *)(uintptr_t)t),
			     "no thread");
		all_runs();
		for (unsigned t = 1; t < run.threads; t++)
			pthread_join(threads[t], NULL);
		first_seed += runs;
	}
	printf("test_linear: %" PRIu64 " runs, %" PRIu64 " moments, each page in an order\n",
	       2 * runs, moments);
	return 0;
}
