/* SPDX-License-Identifier: MIT */
/*
 * Key operations of large runs (test_vcpus.c).  The last pages have keys whose F and C follow from
 * ACC, and nobody stores to them: whoever sees such a key must find it whole, be the page mapped or
 * not, and whatever others set meanwhile.
 */
#ifndef KEY_RUNS_H
#define KEY_RUNS_H

#include "vcpu_runs.h"

#define KEYED 256u
#define FIRST_KEYED (PAGES - KEYED)

static uint8_t whole_key(unsigned acc)
{
	acc &= 15;
	return (uint8_t)(acc << 4 | (acc * 7 >> 1 & 1 ? PGSTE_KEY_FP : 0) |
			 (acc & 2 ? PGSTE_KEY_R : 0) | ((acc ^ acc >> 2) & 1 ? PGSTE_KEY_C : 0));
}

static bool is_whole(uint8_t key)
{
	return !((key ^ whole_key(key >> 4)) & (PGSTE_KEY_FP | PGSTE_KEY_C));
}

static void check_whole(const uint8_t *keys, uint64_t nr)
{
	for (uint64_t i = 0; i < nr; i++)
		CHECK(is_whole(keys[i]));
}

static void one_key_call(struct job *job, const struct pgste_gfns *pages, uint8_t key)
{
	const unsigned how = draw(job);
	const bool mr = how & 8, mc = how & 16, told = mr || mc || is_dat;
	uint8_t old[8];

	switch (how % 4) {
	case 0:
		CHECK(pgste_set_storage_key(guest, pages, &key, 0, false) == 0);
		break;
	case 1:
		CHECK(pgste_cond_set_storage_key(guest, pages, &key, 0, mr, mc, false,
						 job->results, old) == 0);
		if (told && pages->first >= FIRST_KEYED)
			check_whole(old, pages->nr);
		break;
	case 2:
		CHECK(pgste_insert_storage_key(guest, pages, job->results) == 0);
		if (pages->first >= FIRST_KEYED)
			check_whole(job->results, pages->nr);
		break;
	default:
		CHECK(pgste_reset_reference(guest, pages, job->results) == 0);
		for (uint64_t i = 0; i < pages->nr; i++)
			CHECK(job->results[i] < 4);
		break;
	}
}

static void key_calls(struct job *job)
{
	const struct pgste_gfns array = { .type = PGSTE_GFN_U32, .data = job->gfns, .nr = LONG };
	uint8_t key = whole_key(draw(job));

	for (unsigned i = 0; i < 2000; i++) {
		const struct pgste_gfns keyed = { .first = FIRST_KEYED + draw(job) % (KEYED - 7),
						  .nr = 8 };
		const struct pgste_gfns other = { .first = draw(job) % FIRST_KEYED, .nr = 1 };

		one_key_call(job, &keyed, whole_key(draw(job)));
		one_key_call(job, &other, (uint8_t)draw(job));
		(void)rest_shared(NULL);
	}
	for (unsigned i = 0; i < LONG; i++)
		job->gfns[i] = FIRST_KEYED + draw(job) % KEYED;
	CHECK(pgste_set_storage_key(guest, &array, &key, 0, false) == 0);
	CHECK(pgste_get_storage_key(guest, &array, job->results) == 0);
	check_whole(job->results, LONG);
}

static void change_keys(const struct pgste_gfns *pages, uint8_t key)
{
	CHECK(pgste_set_storage_key(guest, pages, &key, 0, false) == 0);
}

/* With nobody else in; the host loads from these pages now and then, so that some are mapped. */
static void make_keys_whole(void)
{
	for (unsigned i = 0; i < KEYED; i++) {
		const struct pgste_gfns one = { .first = FIRST_KEYED + i, .nr = 1 };
		const uint8_t key = whole_key(i);
		uint32_t tag;

		CHECK(pgste_set_storage_key(guest, &one, &key, 0, false) == 0);
		CHECK(i % 2 || pgste_read(guest, &one, &tag) == 0);
	}
}

/* Of a mapped page ACC and F are in both places; and a key has nothing of a lock. */
static void check_keys(void)
{
	for (unsigned i = 0; i < PAGES; i++) {
		const struct pgste_gfns one = { .first = i, .nr = 1 };
		struct pgste_gfns frame = { .nr = 1 };
		uint64_t pgste, pte;
		uint8_t seen, real;

		CHECK(pgste_get_words(guest, &one, &pgste, &pte) == 0);
		CHECK(pgste_get_storage_key(guest, &one, &seen) == 0);
		CHECK(!(pgste & PGSTE_PCL));
		CHECK(i < FIRST_KEYED || is_whole(seen));
		frame.first = pte >> PTE_PFRA_SHIFT;
		if (pte & PTE_INVALID)
			continue;
		CHECK(pgste_frame_key(host, &frame, &real) == 0);
		CHECK(!((real ^ pgste >> 56) & (PGSTE_KEY_ACC | PGSTE_KEY_FP)));
	}
}

/* ---- pages of a caller's memory with one frame: each R that was set is taken once ---- */

static void *set_reference(void *data)
{
	struct job *job = data;
	const struct pgste_gfns page = { .first = job->vcpu, .nr = 1 };
	const uint8_t key = 0x20 | PGSTE_KEY_R;
	uint8_t rc;

	for (unsigned i = 0; i < 300000; i++) {
		CHECK(pgste_cond_set_storage_key(guest, &page, &key, 0, false, true, false, &rc,
						 NULL) == 0);
		job->frees += rc;
	}
	return NULL;
}

static void *take_reference(void *data)
{
	struct job *job = data;
	const struct pgste_gfns page = { .first = job->vcpu, .nr = 1 };
	uint8_t cc;

	for (unsigned i = 0; i < 300000; i++) {
		CHECK(pgste_reset_reference(guest, &page, &cc) == 0);
		job->frees += cc >> 1;
	}
	return NULL;
}

static void run_these(struct job *jobs, unsigned nr, void *(*const bodies[])(void *))
{
	pthread_t threads[VCPUS];

	for (unsigned i = 0; i < nr; i++)
		CHECK(pthread_create(&threads[i], NULL, bodies[i], &jobs[i]) == 0);
	for (unsigned i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
}

static void test_one_frame(void)
{
	const struct pgste_gfns pages = { .nr = VCPUS }, frame = { .first = 5, .nr = 1 };
	const uint64_t words = 5 << PTE_PFRA_SHIFT | PTE_PRESENT | PTE_WRITE | PTE_YOUNG;
	struct job jobs[VCPUS] = { { .vcpu = 0 }, { .vcpu = 1 }, { .vcpu = 2 } };
	/* one that takes could do so without an atomic step */
	void *(*const bodies[])(void *) = { set_reference, take_reference, take_reference };
	const uint8_t key = 0x20;
	uint8_t real;

	open_guest(PGSTE_GEN_DAT, O_KEYS | O_CALLER, 511);
	CHECK(pgste_map_pte(guest, &pages, &words, 0) == 0);
	CHECK(pgste_set_storage_key(guest, &pages, &key, 0, false) == 0);
	run_these(jobs, VCPUS, bodies);
	CHECK(pgste_frame_key(host, &frame, &real) == 0);
	CHECK(jobs[0].frees > 0);
	CHECK(jobs[0].frees == jobs[1].frees + jobs[2].frees + !!(real & PGSTE_KEY_R));
	close_guest();
}

/* ---- C of the key and what ESSA changes share a byte: neither undoes the other's change ---- */

#define BESIDE 16u

static void *change_c(void *data)
{
	const struct pgste_gfns pages = { .nr = BESIDE };

	(void)data;
	while (__atomic_load_n(&running, __ATOMIC_ACQUIRE)) {
		change_keys(&pages, PGSTE_KEY_C);
		change_keys(&pages, 0);
	}
	return NULL;
}

/* Each finds NODAT as the one before left it. */
static void *change_nodat(void *data)
{
	struct job *job = data;
	const struct pgste_gfns pages = { .nr = BESIDE };
	uint8_t results[BESIDE];

	for (unsigned i = 0; i < 100000; i++) {
		const unsigned orc = i % 2 ? PGSTE_ORC_SET_STABLE : PGSTE_ORC_SET_STABLE_NODAT;

		CHECK(pgste_essa(guest, job->vcpu, orc, &pages, results) == 0);
		for (unsigned page = 0; page < BESIDE; page++)
			CHECK(!(results[page] & PGSTE_RESULT_NODAT) == !(i % 2));
	}
	__atomic_store_n(&running, 0, __ATOMIC_RELEASE);
	return NULL;
}

static void test_essa_beside_keys(void)
{
	struct job jobs[2] = { { .vcpu = 0 }, { .vcpu = 1 } };
	void *(*const bodies[])(void *) = { change_c, change_nodat };

	open_guest(PGSTE_GEN_PGTABLE, O_KEYS, 511);
	running = 1;
	run_these(jobs, 2, bodies);
	CHECK(!pgste_validate(host));
	close_guest();
}

#endif
