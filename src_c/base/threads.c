/* SPDX-License-Identifier: MIT */
/*
 * Whole-table work cut into parts, a thread each; the caller's thread takes the first.  What
 * the parts find is put together in the order of the table, so that results are those of one
 * thread.
 */
#include <pthread.h>

#include "base/base.h"

/* Parts start on whole pages of state bytes. */
#define GRAIN UINT64_C(4096)

struct part {
	part_work *work;
	void *data;
	unsigned index;
	uint64_t from, to;
};

static void *part_run(void *data)
{
	const struct part *part = data;

	part->work(part->data, part->index, part->from, part->to);
	return NULL;
}

unsigned threads_useful(unsigned threads, uint64_t nr)
{
	const uint64_t most = min_u64(MAX_THREADS, nr / GRAIN);

	return threads < 2 || most < 2 ? 1 : (unsigned)min_u64(threads, most);
}

void threads_run(unsigned threads, uint64_t nr, part_work *work, void *data)
{
	struct part parts[MAX_THREADS];
	pthread_t ids[MAX_THREADS];
	bool started[MAX_THREADS] = { false };
	const uint64_t step = (nr / threads + GRAIN - 1) / GRAIN * GRAIN;

	for (unsigned i = 0; i < threads; i++)
		parts[i] = (struct part){
			.work = work,
			.data = data,
			.index = i,
			.from = min_u64(i * step, nr),
			.to = i + 1 == threads ? nr : min_u64((i + 1) * step, nr),
		};
	for (unsigned i = 1; i < threads; i++)
		started[i] = pthread_create(&ids[i], NULL, part_run, &parts[i]) == 0;
	part_run(&parts[0]);
	for (unsigned i = 1; i < threads; i++) {
		if (started[i])
			pthread_join(ids[i], NULL);
		else
			part_run(&parts[i]);
	}
}
