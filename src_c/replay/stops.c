/* SPDX-License-Identifier: MIT */
/* A replay that looks at memory on its way: one call, however many looks. */
#include "replay/replay.h"

static struct pgste_replay_sample sample_now(const struct pgste_replay *r)
{
	const struct pgste_guest *guest = r->guests[0];
	const struct pgste_host *host = guest->mm.host;
	struct pgste_replay_sample sample = {
		.events = r->at,
		.frames = host->config.nr_frames - host->nr_free,
		.swap_slots = host->config.nr_swap_slots - host->nr_slots_free,
	};

	for (uint32_t v = 0; v < guest->nr_vcpus; v++) {
		sample.pages_allocated += guest->vcpus[v].pages_allocated;
		sample.pages_freed += guest->vcpus[v].pages_freed;
	}
	return sample;
}

/* Towards a stop; n events: it may not be reached. */
static int64_t run_towards(struct pgste_replay *r, uint64_t at, bool by_time, uint64_t n)
{
	if (by_time)
		return pgste_replay_run_until(r, at, n);
	return pgste_replay_run(r, at > r->at ? min_u64(at - r->at, n) : 0);
}

int64_t pgste_replay_run_stops(struct pgste_replay *r, const struct pgste_replay_stops *stops,
			       uint64_t *next, struct pgste_replay_sample *samples, uint64_t n)
{
	uint64_t done = 0;

	while (*next < stops->nr && done < n) {
		const int64_t nr = run_towards(r, READ_ONCE(stops->at[*next]), stops->by_time,
					       n - done);

		if (nr < 0)
			return nr;
		if (watch_stops_at(*next)) /* there may be more stops than events */
			return PGSTE_E_CANCELLED;
		done += (uint64_t)nr;
		if (done == n)
			break;
		if (stops->flush && stops->flush[*next])
			pgste_host_flush_stats(r->guests[0]->mm.host);
		samples[(*next)++] = sample_now(r);
	}
	return (int64_t)done;
}
