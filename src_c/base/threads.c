/* SPDX-License-Identifier: MIT */
/*
 * Whole-table work cut into parts, a thread each; the caller's thread takes the first.  What
 * the parts find is put together in the order of the table, so that results are those of one
 * thread.
 */
#include <pthread.h>
#include <time.h>

#include "base/base.h"
#include "pgste/watch.h"

/* Parts start on whole pages of state bytes. */
#define GRAIN UINT64_C(4096)
#define WAIT_NS 20000000 /* between two questions to a caller that waits */

/* What the parts of one call share.  The caller is asked, and the others hear its answer. */
struct team {
	const struct pgste_watch *watch; /* the caller's, or NULL */
	bool stops;
	unsigned running; /* parts on other threads */
	pthread_mutex_t lock;
	pthread_cond_t ended;
};

struct part {
	part_work *work;
	void *data;
	struct team *team;
	unsigned index;
	uint64_t from, to;
};

static bool team_goes_on(void *data)
{
	struct team *team = data;

	return !__atomic_load_n(&team->stops, __ATOMIC_RELAXED);
}

static bool team_asks(void *data)
{
	struct team *team = data;

	if (team_goes_on(team) && !team->watch->go_on(team->watch->data))
		__atomic_store_n(&team->stops, true, __ATOMIC_RELAXED);
	return team_goes_on(team);
}

static void *part_run(void *data)
{
	const struct part *part = data;
	const struct pgste_watch watch = { .go_on = team_goes_on, .data = part->team };

	(void)pgste_set_watch(&watch);
	part->work(part->data, part->index, part->from, part->to);
	(void)pgste_set_watch(NULL);
	pthread_mutex_lock(&part->team->lock);
	part->team->running--;
	pthread_cond_signal(&part->team->ended);
	pthread_mutex_unlock(&part->team->lock);
	return NULL;
}

/* The caller is asked while it waits for the other parts, too. */
static void team_wait(struct team *team)
{
	pthread_mutex_lock(&team->lock);
	while (team->running) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += WAIT_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		if (pthread_cond_timedwait(&team->ended, &team->lock, &until) == 0 || !team->watch)
			continue;
		pthread_mutex_unlock(&team->lock);
		team_asks(team);
		pthread_mutex_lock(&team->lock);
	}
	pthread_mutex_unlock(&team->lock);
}

unsigned threads_useful(unsigned threads, uint64_t nr)
{
	const uint64_t most = min_u64(MAX_THREADS, nr / GRAIN);

	return threads < 2 || most < 2 ? 1 : (unsigned)min_u64(threads, most);
}

/* One part on each thread; those that the OS does not give are done here. */
static void team_run(struct team *team, struct part *parts, unsigned threads)
{
	pthread_t ids[MAX_THREADS];
	bool started[MAX_THREADS] = { false };

	for (unsigned i = 1; i < threads; i++) {
		pthread_mutex_lock(&team->lock);
		team->running++; /* before the thread can end */
		pthread_mutex_unlock(&team->lock);
		started[i] = pthread_create(&ids[i], NULL, part_run, &parts[i]) == 0;
		if (!started[i]) {
			pthread_mutex_lock(&team->lock);
			team->running--;
			pthread_mutex_unlock(&team->lock);
		}
	}
	for (unsigned i = 0; i < threads; i++)
		if (!started[i])
			parts[i].work(parts[i].data, i, parts[i].from, parts[i].to);
	team_wait(team);
	for (unsigned i = 1; i < threads; i++)
		if (started[i])
			pthread_join(ids[i], NULL);
}

void threads_run(unsigned threads, uint64_t nr, part_work *work, void *data)
{
	struct team team = {
		.watch = pgste_set_watch(NULL),
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.ended = PTHREAD_COND_INITIALIZER,
	};
	const struct pgste_watch asks = { .go_on = team_asks, .data = &team };
	struct part parts[MAX_THREADS];
	const uint64_t step = (nr / threads + GRAIN - 1) / GRAIN * GRAIN;

	for (unsigned i = 0; i < threads; i++)
		parts[i] = (struct part){
			.work = work,
			.data = data,
			.team = &team,
			.index = i,
			.from = min_u64(i * step, nr),
			.to = i + 1 == threads ? nr : min_u64((i + 1) * step, nr),
		};
	(void)pgste_set_watch(team.watch ? &asks : NULL);
	team_run(&team, parts, threads);
	(void)pgste_set_watch(team.watch);
	pthread_cond_destroy(&team.ended);
	pthread_mutex_destroy(&team.lock);
}
