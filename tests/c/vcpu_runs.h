/* SPDX-License-Identifier: MIT */
/* What large runs of several virtual CPUs share: one guest, its lock, threads that rest. */
#ifndef VCPU_RUNS_H
#define VCPU_RUNS_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_or_exit.h"
#include "pgste.h"

#define PAGES 2048u
#define VCPUS 3u
#define ROUNDS 3u
#define LONG 150000u /* gfns of a call that rests */

static struct pgste_host *host;
static struct pgste_guest *guest;
static pthread_rwlock_t lock;
static unsigned running;
static bool is_dat, has_keys;
static uint64_t turns, overtaken; /* calls of the host; how many a call of a vcpu let go first */

struct job {
	uint32_t vcpu, seed;
	uint64_t essa, frees, allocs;
	uint32_t *gfns;
	uint8_t *results;
};

static uint32_t draw(struct job *job)
{
	job->seed = job->seed * 1664525u + 1013904223u;
	return job->seed >> 8;
}

/* ---- rests ---- */

static bool go_on(void *data)
{
	(void)data;
	return true;
}

static bool rest_shared(void *data)
{
	const uint64_t before = __atomic_load_n(&turns, __ATOMIC_RELAXED);

	(void)data;
	pthread_rwlock_unlock(&lock);
	pthread_rwlock_rdlock(&lock);
	__atomic_fetch_add(&overtaken, __atomic_load_n(&turns, __ATOMIC_RELAXED) - before,
			   __ATOMIC_RELAXED);
	return true;
}

static bool rest_alone(void *data)
{
	(void)data;
	pthread_rwlock_unlock(&lock);
	pthread_rwlock_wrlock(&lock);
	return true;
}

static const struct pgste_watch shared = { .go_on = go_on, .rest = rest_shared };
static const struct pgste_watch alone = { .go_on = go_on, .rest = rest_alone };

/* ---- guests ---- */

enum { O_STRICT = 1, O_KEYS = 2, O_CALLER = 4, O_MIGRATES = 8 };

static void open_guest(enum pgste_generation generation, unsigned options, uint32_t entries)
{
	struct pgste_host_config hc = { .nr_frames = PAGES, .nr_swap_slots = 2 * PAGES };
	const struct pgste_guest_config gc = {
		.nr_pages = PAGES, .mechanism = "cmma", .nr_vcpus = VCPUS,
		.strict = options & O_STRICT, .storage_keys = options & O_KEYS,
		.own_memory = options & O_CALLER,
		.cbrl_entries = entries, .generation = generation, .nodat = true,
		.revision = generation == PGSTE_GEN_DAT ? PGSTE_REVISION_7_2 : 0,
		.log_revision = generation == PGSTE_GEN_DAT ? PGSTE_LOG_DAT_NEW : 0,
	};

	is_dat = generation == PGSTE_GEN_DAT;
	has_keys = options & O_KEYS;
	pgste_host_defaults(&hc);
	CHECK(pgste_host_new(&hc, &host) == 0);
	CHECK(pgste_guest_new(host, &gc, &guest) == 0);
}

static void close_guest(void)
{
	pgste_guest_free(guest);
	CHECK(pgste_host_free(host) == 0);
}

#endif
