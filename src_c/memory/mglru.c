/* SPDX-License-Identifier: MIT */
/*
 * How far reclaim goes by generations, and when they age: lru_gen_shrink_lruvec and
 * lru_gen_shrink_node of mm/vmscan.c (Linux 6.12), with what calls them.  docs/reclaim.md.
 *
 * A host whose low watermark is 0 is a memory cgroup at its limit; others are a machine.
 */
#include "memory/mglru.h"

/* get_swappiness: without a batch of free slots no anonymous page is looked at. */
static unsigned usable_swappiness(const struct pgste_host *host)
{
	return host->nr_slots_free >= GEN_BATCH || host->nr_volatile ? host->config.swappiness : 0;
}

/* should_run_aging; *pages: those that there are to scan. */
static bool should_age(const struct mglru *g, bool can_swap, uint64_t *pages)
{
	const unsigned first = can_swap ? GEN_ANON : GEN_FILE;
	uint64_t young = 0, old = 0;

	*pages = 0;
	if (g->min_seq[first] + MIN_GENS > g->max_seq)
		return true;
	for (unsigned type = first; type < NR_TYPES; type++)
		for (uint64_t seq = g->min_seq[type]; seq <= g->max_seq; seq++) {
			const uint64_t nr = g->nr[gen_of(seq)][type];

			*pages += nr;
			young += seq == g->max_seq ? nr : 0;
			old += seq + MIN_GENS == g->max_seq ? nr : 0;
		}
	if (g->min_seq[first] + MIN_GENS < g->max_seq)
		return false;
	return young * MIN_GENS > *pages || old * (MIN_GENS + 2) < *pages;
}

/* try_to_inc_max_seq: page tables are walked first, where that is done at all. */
static void run_aging(struct pgste_host *host, bool can_swap)
{
	if (!host->config.no_mm_walk) {
		host->lru->gens->walk = true;
		if (can_swap) /* should_skip_vma */
			mglru_walk(host);
		for (uint32_t i = 0; i < host->room_mms; i++)
			if (host->mms[i])
				mm_was_walked(host->mms[i]);
	}
	mglru_inc_max_seq(host->lru->gens);
}

/* get_nr_to_scan */
static uint64_t nr_to_scan(struct pgste_host *host, const struct scan *sc, bool can_swap)
{
	uint64_t pages;

	if (!should_age(host->lru->gens, can_swap, &pages) || sc->priority == PRIORITY)
		return pages >> sc->priority;
	run_aging(host, can_swap);
	return 0;
}

/* should_abort_scan */
static bool aborts(const struct pgste_host *host, const struct scan *sc)
{
	if (!host->config.low)
		return false;
	return sc->reclaimed >= (sc->goal > 2 ? sc->goal : 2) ||
	       (sc->kswapd && host->nr_free > host->config.high + GEN_BATCH);
}

/* try_to_shrink_lruvec */
static void shrink_gens(struct pgste_host *host, struct scan *sc)
{
	const unsigned swappiness = usable_swappiness(host);
	uint64_t scanned = 0;

	for (;;) {
		const uint64_t goal = nr_to_scan(host, sc, swappiness);
		const uint64_t some = goal ? mglru_evict(host, sc, swappiness) : 0;

		scanned += some;
		if (!some || scanned >= goal || aborts(host, sc))
			return;
	}
}

void mglru_direct(struct pgste_host *host, uint64_t goal, bool proactive)
{
	struct scan sc = { .goal = goal };

	host->stats.reclaims++;
	for (unsigned round = 0; round < 2 && !sc.reclaimed; round++) /* memcg_full_walk */
		for (sc.priority = PRIORITY; sc.priority >= 0; sc.priority--) {
			host->lru->gens->walk = proactive; /* set_mm_walk */
			shrink_gens(host, &sc);
			if (sc.reclaimed >= goal)
				break;
		}
}

static int fls_long(uint64_t n)
{
	return n ? 64 - __builtin_clzll(n) : 0;
}

/* set_initial_priority: as far down as it takes by the share of inactive pages. */
static void set_priority(const struct pgste_host *host, struct scan *sc)
{
	struct pgste_host_stats levels;
	int priority;

	if (sc->priority != PRIORITY || sc->goal < GEN_BATCH)
		return;
	mglru_levels(host->lru->gens, &levels);
	priority = fls_long(levels.frames_lazyfree +
			(host->nr_slots_free ? levels.frames_inactive : 0)) -
		   1 - fls_long(sc->goal - 1);
	sc->priority = priority > PRIORITY     ? PRIORITY :
		       priority < PRIORITY / 2 ? PRIORITY / 2 :
						 priority;
}

void mglru_kswapd(struct pgste_host *host)
{
	const uint64_t high = host->config.high, batch = host->config.batch;
	struct scan sc = { .goal = high > batch ? high : batch, .priority = PRIORITY,
			   .kswapd = true };

	host->stats.reclaims++;
	while (sc.priority >= 1 && host->nr_free < high) {
		sc.scanned = sc.reclaimed = 0;
		host->lru->gens->walk = true; /* pgdat->mm_walk */
		set_priority(host, &sc);
		shrink_gens(host, &sc);
		if (!sc.reclaimed || (sc.scanned < sc.goal && sc.reclaimed < sc.goal))
			sc.priority--;
	}
}
