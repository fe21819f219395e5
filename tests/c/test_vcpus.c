/* SPDX-License-Identifier: MIT */
/*
 * Large runs for the thread sanitizer: virtual CPUs on threads of their own issue ESSA, free,
 * alloc, key operations and process their lists, on the same pages, while a host stores, swaps out,
 * reclaims, scans for zaps and reads the log.  The host is alone by a lock that the others share;
 * all calls that rest let go of it.  Afterwards every page, slot and count must be accounted for.
 */
#include "vcpu_runs.h"
#include "key_runs.h"

/* ---- what threads do ---- */

static void long_calls(struct job *job, unsigned orc)
{
	const struct pgste_gfns array = { .type = PGSTE_GFN_U32, .data = job->gfns, .nr = LONG };

	for (unsigned i = 0; i < LONG; i++)
		job->gfns[i] = draw(job) % PAGES;
	CHECK(pgste_essa(guest, job->vcpu, orc, &array, job->results) == 0);
	for (unsigned i = 0; i < LONG; i++)
		CHECK(!(job->results[i] & PGSTE_RESULT_EXCEPTION));
	CHECK(pgste_free(guest, job->vcpu, &array, 0) == 0);
	CHECK(pgste_alloc(guest, job->vcpu, &array, 0) == 0);
	job->essa += 3 * (uint64_t)LONG;
	job->frees += LONG;
	job->allocs += LONG;
}

/* A range that begins with an empty list: each page is there once, and in order. */
static void range_is_listed_once(struct job *job)
{
	const struct pgste_gfns range = { .first = draw(job) % (PAGES - 300), .nr = 300 };
	uint64_t list[PGSTE_CBRL_MAX];
	int64_t nr;

	CHECK(pgste_intercept(guest, job->vcpu) >= 0);
	CHECK(pgste_essa(guest, job->vcpu, PGSTE_ORC_SET_UNUSED, &range, NULL) == 0);
	nr = pgste_cbrl(guest, job->vcpu, list);
	for (int64_t i = 1; i < nr; i++)
		CHECK(list[i - 1] < list[i]);
	job->essa += range.nr;
}

static void short_calls(struct job *job)
{
	for (unsigned i = 0; i < 500; i++) {
		const uint32_t gfn = draw(job) % (PAGES - 64);
		const struct pgste_gfns range = { .first = gfn, .nr = 64 };

		CHECK(pgste_essa(guest, job->vcpu, 2, &range, job->results) == 0);
		CHECK(pgste_essa_page(guest, job->vcpu, draw(job) % 8, gfn) >= 0);
		CHECK(pgste_free_page(guest, job->vcpu, gfn) == 0);
		CHECK(pgste_alloc_page(guest, job->vcpu, gfn) == 0);
		CHECK(pgste_free(guest, job->vcpu, &range, 0) == 0);
		job->essa += 64 + 1 + 2 + 64;
		job->frees += 65;
		job->allocs += 1;
		if (i % 16 == 0)
			CHECK(pgste_intercept(guest, job->vcpu) >= 0);
		range_is_listed_once(job);
		(void)rest_shared(NULL);
	}
}

static void *run_vcpu(void *data)
{
	struct job *job = data;

	pgste_set_watch(&shared);
	pthread_rwlock_rdlock(&lock);
	for (unsigned round = 0; round < ROUNDS; round++) {
		long_calls(job, 1 + draw(job) % 7);
		short_calls(job);
		if (has_keys)
			key_calls(job);
	}
	pthread_rwlock_unlock(&lock);
	__atomic_fetch_sub(&running, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void read_log(void)
{
	static uint8_t values[PAGES];
	struct pgste_cmma_log log = { .count = PAGES };

	CHECK(pgste_get_cmma_bits(guest, &log, values) == 0);
	CHECK(log.remaining == pgste_cmma_dirty_count(guest));
}

static void run_host(bool migrating)
{
	struct job me = { .seed = 99 };
	const struct pgste_gfns all = { .nr = PAGES };

	pgste_set_watch(&alone);
	while (__atomic_load_n(&running, __ATOMIC_ACQUIRE)) {
		const uint32_t tag = draw(&me), first = tag % FIRST_KEYED;
		const struct pgste_gfns some = { .first = first, .nr = FIRST_KEYED - first };
		const struct pgste_gfns keyed = { .first = FIRST_KEYED, .nr = tag % KEYED };
		uint32_t tags[KEYED];

		pthread_rwlock_wrlock(&lock);
		CHECK(pgste_write(guest, &some, &tag, 0) == 0);
		CHECK(pgste_read(guest, &keyed, tags) == 0);
		CHECK(pgste_host_reclaim(host, draw(&me) % 64) >= 0);
		CHECK(pgste_swap_out(guest, tag & 1 ? &all : &some) >= 0);
		if (tag % 4 == 0)
			CHECK(pgste_zap_scan(guest, 2) >= 0);
		if (migrating)
			read_log();
		CHECK(!pgste_validate(host));
		__atomic_fetch_add(&turns, 1, __ATOMIC_RELAXED);
		pthread_rwlock_unlock(&lock);
	}
	pgste_set_watch(NULL);
}

/* ---- what must hold afterwards ---- */

static void check_counts(const struct job *jobs, bool migrating)
{
	struct pgste_guest_stats stats;
	struct pgste_host_stats slots;
	struct pgste_state_counts counts;
	uint64_t essa = 0, frees = 0, allocs = 0, listed = 0, list[PGSTE_CBRL_MAX];

	for (uint32_t i = 0; i < VCPUS; i++) {
		essa += jobs[i].essa;
		frees += jobs[i].frees;
		allocs += jobs[i].allocs;
		listed += (uint64_t)pgste_cbrl(guest, i, list);
	}
	CHECK(!pgste_validate(host));
	pgste_guest_get_stats(guest, &stats);
	pgste_host_get_stats(host, &slots);
	pgste_count_states(guest, 1, &counts);
	CHECK(stats.essa == essa && stats.pages_freed == frees);
	CHECK(stats.pages_allocated == allocs && stats.hint_pages == frees + allocs);
	CHECK(stats.appended == stats.processed + listed);
	CHECK(stats.zapped == stats.zap_slots_freed);
	/* of pages that were loaded again some slots are cached */
	CHECK(slots.swap_slots_free + counts.swap <= slots.swap_slots);
	CHECK(slots.swap_slots_free + counts.swap + slots.swap_slots_cached >= slots.swap_slots);
	CHECK(!migrating || pgste_cmma_dirty_count(guest) == counts.dirty);
	CHECK(overtaken > 0);
}

/* Every mark is counted: what was marked once more than it was taken back is marked. */
static void check_marks(void)
{
	static uint8_t is_free[PAGES];
	const struct pgste_gfns all = { .nr = PAGES };
	struct pgste_guest_stats s;
	uint64_t marked = 0;

	pgste_guest_get_stats(guest, &s);
	CHECK(pgste_get_free(guest, &all, is_free) == 0);
	for (unsigned i = 0; i < PAGES; i++)
		marked += is_free[i];
	CHECK(s.pages_freed - s.double_frees - (s.pages_allocated - s.double_allocs) == marked);
}

static void start(struct job *jobs, pthread_t *threads, void *(*run)(void *))
{
	running = VCPUS;
	for (uint32_t i = 0; i < VCPUS; i++) {
		jobs[i] = (struct job){ .vcpu = i, .seed = 12345u + i };
		jobs[i].gfns = malloc(LONG * sizeof(*jobs[i].gfns));
		jobs[i].results = malloc(LONG);
		CHECK(jobs[i].gfns && jobs[i].results);
		CHECK(pthread_create(&threads[i], NULL, run, &jobs[i]) == 0);
	}
}

static void join(struct job *jobs, const pthread_t *threads)
{
	for (unsigned i = 0; i < VCPUS; i++) {
		pthread_join(threads[i], NULL);
		free(jobs[i].gfns);
		free(jobs[i].results);
	}
}

static void test_mixture(enum pgste_generation generation, unsigned options, uint32_t entries)
{
	const bool migrating = options & O_MIGRATES;
	struct job jobs[VCPUS];
	pthread_t threads[VCPUS];

	open_guest(generation, options, entries);
	if (has_keys)
		make_keys_whole();
	CHECK(pgste_essa_page(guest, 0, 0, 0) >= 0);
	pgste_guest_reset_stats(guest);
	if (migrating)
		CHECK(pgste_set_migration(guest, true) == 0);
	turns = overtaken = 0;
	start(jobs, threads, run_vcpu);
	run_host(migrating);
	join(jobs, threads);
	check_counts(jobs, migrating);
	check_marks();
	if (has_keys)
		check_keys();
	close_guest();
}

/* ---- the same pages on all lists: each is zapped by one vcpu ---- */

#define LISTED 400u
#define TURNS 1500u

static pthread_barrier_t barrier;

static void *run_lists(void *data)
{
	struct job *job = data;
	const struct pgste_gfns pages = { .nr = LISTED };

	for (unsigned i = 0; i < TURNS; i++) {
		pthread_barrier_wait(&barrier);
		CHECK(pgste_essa(guest, job->vcpu, PGSTE_ORC_SET_UNUSED, &pages, NULL) == 0);
		pthread_barrier_wait(&barrier);
		if (i % 2 && job->vcpu) /* some of them take pages back meanwhile */
			CHECK(pgste_essa(guest, job->vcpu, PGSTE_ORC_SET_STABLE, &pages, NULL) ==
			      0);
		/* or change their keys, again and again, as the others may begin a little later */
		for (unsigned k = 0; has_keys && job->vcpu == i % VCPUS && k < 20; k++)
			change_keys(&pages, (uint8_t)((i + k) << 3));
		job->frees += (uint64_t)pgste_intercept(guest, job->vcpu);
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static void test_lists(enum pgste_generation generation, unsigned options)
{
	const struct pgste_gfns pages = { .nr = LISTED };
	struct pgste_host_stats slots;
	struct job jobs[VCPUS];
	pthread_t threads[VCPUS];
	uint64_t zapped, before = 0;

	open_guest(generation, options, 511);
	pthread_barrier_init(&barrier, NULL, VCPUS + 1);
	start(jobs, threads, run_lists);
	for (uint32_t i = 0; i < TURNS; i++) {
		CHECK(pgste_essa(guest, 0, PGSTE_ORC_SET_STABLE, &pages, NULL) == 0);
		CHECK(pgste_write(guest, &pages, &i, 0) == 0);
		CHECK(pgste_swap_out(guest, &pages) == LISTED);
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		zapped = jobs[0].frees + jobs[1].frees + jobs[2].frees;
		pgste_host_get_stats(host, &slots);
		CHECK(slots.swap_slots - slots.swap_slots_free == LISTED - (zapped - before));
		/* in dat a page that was taken back in time is kept */
		CHECK(zapped == before + LISTED || (generation == PGSTE_GEN_DAT && i % 2));
		CHECK(!pgste_validate(host));
		before = zapped;
	}
	join(jobs, threads);
	close_guest();
}

/* ---- strict guests: of several vcpus that free a page one succeeds ---- */

static void *run_strictly(void *data)
{
	struct job *job = data;

	for (unsigned i = 0; i < 200000; i++) {
		/* 12 pages of some words, as blocks, each of which is looked at and marked */
		const uint64_t at = draw(job) % 2 * 64;
		const uint64_t blocks[] = { at, at + 128, at + 256, at + 384, at + 512, at + 640 };
		const struct pgste_gfns some = { .type = PGSTE_GFN_U64, .data = blocks, .nr = 6 };
		const bool to_free = draw(job) % 2;
		const int error = to_free ? pgste_free(guest, job->vcpu, &some, 1) :
					    pgste_alloc(guest, job->vcpu, &some, 1);

		CHECK(error == PGSTE_OK || error == PGSTE_E_STATE);
		if (!error)
			*(to_free ? &job->frees : &job->allocs) += 12;
	}
	return NULL;
}

static void test_strict(void)
{
	struct job jobs[VCPUS];
	pthread_t threads[VCPUS];
	struct pgste_guest_stats stats;
	uint64_t frees = 0, allocs = 0;

	open_guest(PGSTE_GEN_PGTABLE, O_STRICT, 7);
	start(jobs, threads, run_strictly);
	join(jobs, threads);
	for (unsigned i = 0; i < VCPUS; i++) {
		frees += jobs[i].frees;
		allocs += jobs[i].allocs;
	}
	pgste_guest_get_stats(guest, &stats);
	CHECK(frees && allocs && stats.pages_freed == frees && stats.pages_allocated == allocs);
	CHECK(stats.double_frees == 0 && stats.double_allocs == 0);
	check_marks();
	CHECK(!pgste_validate(host));
	close_guest();
}

int main(void)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&lock, &attr);
	test_mixture(PGSTE_GEN_PGTABLE, 0, 511);
	test_mixture(PGSTE_GEN_PGTABLE, O_MIGRATES | O_KEYS, 511);
	test_mixture(PGSTE_GEN_DAT, O_KEYS, 5);
	test_mixture(PGSTE_GEN_DAT, O_MIGRATES, 511);
	test_lists(PGSTE_GEN_PGTABLE, 0);
	test_lists(PGSTE_GEN_DAT, 0);
	test_lists(PGSTE_GEN_DAT, O_KEYS);
	test_strict();
	test_one_frame();
	test_essa_beside_keys();
	puts("test_vcpus: passed");
	return 0;
}
