/* SPDX-License-Identifier: MIT */
/* The real storage keys of frames: a byte a frame, which exist once somebody uses one. */
#include "host/host.h"

bool keys_need(struct pgste_host *host)
{
	if (!host->keys)
		host->keys = table_new(host->config.nr_frames);
	return host->keys != NULL;
}

int pgste_set_frame_key(struct pgste_host *host, const struct pgste_gfns *frames,
			const uint8_t *keys, unsigned key_step)
{
	if (!keys || key_step > 1)
		return PGSTE_E_ARG;
	if (!gfns_below(frames, host->config.nr_frames))
		return PGSTE_E_GFN;
	if (!keys_need(host))
		return PGSTE_E_NOMEM;
	for (uint64_t frame, i = 0; i < frames->nr; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		if (!gfn_get(frames, i, host->config.nr_frames, &frame))
			return PGSTE_E_CHANGED;
		host->keys[frame] = READ_ONCE(keys[key_step ? i : 0]) & 0xfe;
	}
	return PGSTE_OK;
}

int pgste_frame_key(const struct pgste_host *host, const struct pgste_gfns *frames,
		    uint8_t *keys)
{
	if (!keys)
		return PGSTE_E_ARG;
	if (!gfns_below(frames, host->config.nr_frames))
		return PGSTE_E_GFN;
	for (uint64_t frame, i = 0; i < frames->nr; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		if (!gfn_get(frames, i, host->config.nr_frames, &frame))
			return PGSTE_E_CHANGED;
		keys[i] = key_get(host, frame);
	}
	return PGSTE_OK;
}
