/* SPDX-License-Identifier: MIT */
/* A copy of all that an action can change, from which each next action starts. */
#include <string.h>

#include "search/system.h"

void system_remember(const struct search_system *s, struct search_image *image)
{
	const struct pgste_host *host = s->host;
	const struct mm *mm = &s->guest->mm;
	const uint64_t nr = mm->nr_pages;

	image->free_frame = host->free_frame;
	image->free_slot = host->free_slot;
	image->fresh_frame = host->fresh_frame;
	image->fresh_slot = host->fresh_slot;
	image->nr_free = host->nr_free;
	image->nr_slots_free = host->nr_slots_free;
	image->nr_cached = host->nr_cached;
	image->nr_held = host->nr_held;
	memcpy(image->lists, host->lists, sizeof(image->lists));
	memcpy(image->frames, host->frames, s->config->nr_frames * sizeof(*image->frames));
	memcpy(image->slots, host->slots, s->config->nr_swap_slots * sizeof(*image->slots));
	memcpy(image->pte, mm->pte, nr * sizeof(*image->pte));
	memcpy(image->rest, mm->rest, nr * sizeof(*image->rest));
	memcpy(image->state, mm->state, nr);
	if (mm->two.bits)
		memcpy(image->bits, mm->two.bits, nr * sizeof(*image->bits));
	image->free = s->guest->free[0];
	for (uint32_t v = 0; v < s->guest->nr_vcpus; v++) {
		image->nr_listed[v] = s->guest->vcpus[v].nr;
		memcpy(image->cbrl[v], s->guest->vcpus[v].cbrl, sizeof(image->cbrl[v]));
	}
	image->watched = s->watched;
	image->notified = s->notified;
	image->migration = s->guest->migration;
}

static void put_back_host(struct search_system *s, const struct search_image *image)
{
	struct pgste_host *host = s->host;

	host->free_frame = image->free_frame;
	host->free_slot = image->free_slot;
	host->fresh_frame = image->fresh_frame;
	host->fresh_slot = image->fresh_slot;
	host->nr_free = image->nr_free;
	host->nr_slots_free = image->nr_slots_free;
	host->nr_cached = image->nr_cached;
	host->nr_held = image->nr_held;
	memcpy(host->lists, image->lists, sizeof(image->lists));
	memcpy(host->frames, image->frames, s->config->nr_frames * sizeof(*image->frames));
	memcpy(host->slots, image->slots, s->config->nr_swap_slots * sizeof(*image->slots));
}

void system_put_back(struct search_system *s, const struct search_image *image,
		     const uint64_t *key)
{
	struct mm *mm = &s->guest->mm;
	const uint64_t nr = mm->nr_pages;

	if (s->guest->mech == &mech_reporting) {
		system_restore(s, key);
		return;
	}
	put_back_host(s, image);
	memcpy(mm->pte, image->pte, nr * sizeof(*image->pte));
	memcpy(mm->rest, image->rest, nr * sizeof(*image->rest));
	memcpy(mm->state, image->state, nr);
	if (mm->two.bits)
		memcpy(mm->two.bits, image->bits, nr * sizeof(*image->bits));
	s->guest->free[0] = image->free;
	for (uint32_t v = 0; v < s->guest->nr_vcpus; v++) {
		s->guest->vcpus[v].nr = image->nr_listed[v];
		memcpy(s->guest->vcpus[v].cbrl, image->cbrl[v], sizeof(image->cbrl[v]));
	}
	s->watched = image->watched;
	s->notified = image->notified;
	system_set_migration(s->guest, image->migration);
}
