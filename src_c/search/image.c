/* SPDX-License-Identifier: MIT */
/* A copy of all that an action can change, from which each next action starts. */
#include <string.h>

#include "search/system.h"

/* One list of what is kept serves both ways, so that nothing is kept and not put back. */
static ALWAYS_INLINE void keep(void *live, void *kept, size_t size, bool back)
{
	memcpy(back ? live : kept, back ? kept : live, size);
}

#define KEEP(live, kept) keep(&(live), &(kept), sizeof(kept), back)
/* As memcpy of a size that is not known is a call, and a loop a branch for each. */
static ALWAYS_INLINE void keep_some(void *live, void *kept, size_t size, uint64_t nr, bool back)
{
	switch (nr) {
	case 1: keep(live, kept, size, back); break;
	case 2: keep(live, kept, 2 * size, back); break;
	case 3: keep(live, kept, 3 * size, back); break;
	default: break;
	}
}
_Static_assert(SEARCH_MAX_PAGES == 3, "so many, and no more");

#define KEEP_SOME(live, kept, nr) keep_some(live, kept, sizeof(*(live)), nr, back)

static ALWAYS_INLINE void keep_host(struct search_system *s, struct search_image *image, bool back)
{
	struct pgste_host *host = s->host;

	KEEP(host->free_frame, image->free_frame);
	KEEP(host->free_slot, image->free_slot);
	KEEP(host->fresh_frame, image->fresh_frame);
	KEEP(host->fresh_slot, image->fresh_slot);
	KEEP(host->nr_free, image->nr_free);
	KEEP(host->nr_slots_free, image->nr_slots_free);
	KEEP(host->nr_cached, image->nr_cached);
	KEEP(host->nr_held, image->nr_held);
	KEEP(host->lists, image->lists);
	KEEP_SOME(host->frames, image->frames, s->config->nr_frames);
	KEEP_SOME(host->slots, image->slots, s->config->nr_swap_slots);
}

/* All but the mode of migration. */
static ALWAYS_INLINE void keep_system(struct search_system *s, struct search_image *image,
				      bool back)
{
	struct mm *mm = &s->guest->mm;

	keep_host(s, image, back);
	KEEP_SOME(mm->pte, image->pte, mm->nr_pages);
	KEEP_SOME(mm->rest, image->rest, mm->nr_pages);
	KEEP_SOME(mm->state, image->state, mm->nr_pages);
	if (mm->two.bits)
		KEEP_SOME(mm->two.bits, image->bits, mm->nr_pages);
	KEEP(s->guest->free[0], image->free);
	for (uint32_t v = 0; v < s->guest->nr_vcpus; v++) {
		KEEP(s->guest->vcpus[v].nr, image->nr_listed[v]);
		KEEP(s->guest->vcpus[v].appended, image->appended[v]);
		KEEP(s->guest->vcpus[v].processed, image->processed[v]);
		KEEP_SOME(s->guest->vcpus[v].cbrl, image->cbrl[v], SEARCH_MAX_PAGES);
	}
	if (mm->file)
		KEEP_SOME(mm->file, image->file, mm->nr_pages);
	KEEP(s->watched, image->watched);
	KEEP(s->apart, image->apart);
	KEEP(s->notified, image->notified);
}

void system_remember(struct search_system *s, struct search_image *image)
{
	keep_system(s, image, false);
	search_reporting_remember(s, &image->reporting);
	image->migration = s->guest->migration;
}

void system_put_back(struct search_system *s, struct search_image *image)
{
	keep_system(s, image, true);
	search_reporting_put_back(s, &image->reporting);
	system_set_migration(s->guest, image->migration);
}
