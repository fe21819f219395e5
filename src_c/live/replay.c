/* SPDX-License-Identifier: MIT */
/*
 * Replay of page allocator events on live memory: docs/model.md section 9 with the kernel in
 * place of the model.  An alloc stores to each page of the block as its owner would, a free
 * becomes madvise, consecutive frees one call where they join.
 *
 * Whether old bytes were there is seen without a fault of its own: the tag is kept in two
 * words of a page, the second is looked at between the stores to the first and to it.
 */
#include "live/live.h"

/* A later word on another cache line. */
#define SECOND_WORD 64

static const char *const stats_names[] = {
#define NAME(name) #name,
	PGSTE_LIVE_REPLAY_STATS(NAME)
#undef NAME
};

const char *pgste_live_replay_stats_name(unsigned i)
{
	return i < sizeof(stats_names) / sizeof(stats_names[0]) ? stats_names[i] : NULL;
}

/* Store the next tag: whether the page held old bytes. */
static bool touch(struct pgste_live_replay *replay, uint64_t gfn)
{
	unsigned char *page = replay->live->base + gfn * replay->live->page_bytes;
	volatile uint32_t *first = (volatile uint32_t *)(void *)page;
	volatile uint32_t *second = (volatile uint32_t *)(void *)(page + SECOND_WORD);
	bool stale;

	if (++replay->tag == 0)
		replay->tag = 1;
	*first = replay->tag;
	stale = *second != 0;
	*second = replay->tag;
	return stale;
}

/* Tell the pending run. */
static int flush(struct pgste_live_replay *replay)
{
	uint64_t start, nr = replay->pending_nr;
	int ret;

	if (!nr)
		return PGSTE_OK;
	replay->pending_nr = 0;
	start = live_clock();
	ret = live_madvise(replay->live, replay->pending_gfn, nr, replay->advice);
	replay->stats.hint_ns += live_clock() - start;
	replay->stats.hints++;
	replay->stats.hint_pages += nr;
	return ret;
}

static int free_page(struct pgste_live_replay *replay, uint64_t gfn)
{
	int ret = PGSTE_OK;

	replay->in_use[gfn] = 0;
	if (replay->advice < 0)
		return PGSTE_OK;
	if (replay->pending_nr && replay->pending_gfn + replay->pending_nr != gfn)
		ret = flush(replay);
	if (!replay->pending_nr)
		replay->pending_gfn = gfn;
	replay->pending_nr++;
	return ret;
}

static int replay_free(struct pgste_live_replay *replay, uint64_t gfn, uint64_t nr)
{
	uint64_t end = gfn + nr;
	int ret = PGSTE_OK;

	for (; gfn < end && !ret; gfn++) {
		if (replay->in_use[gfn])
			ret = free_page(replay, gfn);
		else
			replay->stats.ignored_frees++;
	}
	return ret;
}

static int replay_alloc(struct pgste_live_replay *replay, uint64_t gfn, uint64_t nr)
{
	uint64_t start, stale = 0, i;
	int ret = flush(replay);

	for (i = 0; i < nr && !ret; i++) {
		if (!replay->in_use[gfn + i])
			continue;
		replay->stats.implied_frees++;
		ret = free_page(replay, gfn + i);
		if (!ret)
			ret = flush(replay);
	}
	if (ret)
		return ret;
	start = live_clock();
	for (i = 0; i < nr; i++) {
		replay->in_use[gfn + i] = 1;
		stale += touch(replay, gfn + i);
	}
	replay->stats.touch_ns += live_clock() - start;
	replay->stats.touched += nr;
	replay->stats.stale_pages += stale;
	replay->stats.stale_allocs += stale != 0;
	return PGSTE_OK;
}

static void load(struct pgste_live_replay *replay, uint64_t gfn)
{
	unsigned char *page = replay->live->base + gfn * replay->live->page_bytes;

	(void)*(volatile uint32_t *)(void *)page;
}

/* The accesses that come before the event that is next. */
static int access_pages(struct pgste_live_replay *replay)
{
	uint64_t start, access, gfn;

	if (replay->next_access == replay->nr_accesses ||
	    READ_ONCE(replay->places[replay->next_access]) > replay->stats.events)
		return PGSTE_OK;
	start = live_clock();
	for (; replay->next_access < replay->nr_accesses; replay->next_access++) {
		if (READ_ONCE(replay->places[replay->next_access]) > replay->stats.events)
			break;
		access = READ_ONCE(replay->accesses[replay->next_access]);
		gfn = PGSTE_EVENT_PFN(access);
		if (PGSTE_EVENT_KIND(access) < PGSTE_ACCESS_LOAD || gfn >= replay->live->nr_pages)
			return PGSTE_E_ARG;
		if (!replay->in_use[gfn]) {
			replay->stats.ignored_accesses++;
		} else if (PGSTE_EVENT_KIND(access) == PGSTE_ACCESS_STORE) {
			touch(replay, gfn);
			replay->stats.stores++;
		} else {
			load(replay, gfn);
			replay->stats.loads++;
		}
	}
	replay->stats.access_ns += live_clock() - start;
	return PGSTE_OK;
}

void pgste_live_replay_setup(struct pgste_live_replay *replay)
{
	uint64_t gfn;

	for (gfn = 0; gfn < replay->live->nr_pages; gfn++)
		if (replay->in_use[gfn])
			touch(replay, gfn);
}

int64_t pgste_live_replay_run(struct pgste_live_replay *replay, const uint64_t *events,
			      uint64_t nr, bool end)
{
	uint64_t i, event, gfn, pages, all = replay->live->nr_pages;
	unsigned kind, order;
	int ret;

	for (i = 0; i < nr; i++) {
		event = READ_ONCE(events[i]);
		kind = PGSTE_EVENT_KIND(event);
		order = PGSTE_EVENT_ORDER(event);
		gfn = PGSTE_EVENT_PFN(event);
		if (kind > PGSTE_EVENT_FREE || order > PGSTE_MAX_ORDER || gfn >= all ||
		    UINT64_C(1) << order > all - gfn)
			return PGSTE_E_ARG;
		pages = UINT64_C(1) << order;
		ret = access_pages(replay);
		if (ret)
			return ret;
		ret = kind == PGSTE_EVENT_FREE ? replay_free(replay, gfn, pages)
					       : replay_alloc(replay, gfn, pages);
		if (ret)
			return ret;
		replay->stats.events++;
	}
	if (end && ((ret = access_pages(replay)) || (ret = flush(replay))))
		return ret;
	return (int64_t)nr;
}
