/* SPDX-License-Identifier: MIT */
/*
 * How far reclaim goes, and in which lists: priorities, and the balance between anonymous and
 * lazyfree pages (mm/vmscan.c, Linux 6.18 without MGLRU; mm/memcontrol.c).  docs/reclaim.md.
 *
 * A host whose low watermark is 0 is a memory cgroup at its limit; others are a machine.
 */
#include "memory/mglru.h"
#include "memory/undo.h"
#include "memory/victims.h"
#include "memory/vmscan.h"

#define RETRIES 17u /* MAX_RECLAIM_RETRIES, and the first try */
/* In the order of enum lru_list. */
enum { ANON_INACTIVE, ANON_ACTIVE, FILE_INACTIVE, FILE_ACTIVE, NR_LISTS };

static bool is_low(const struct pgste_host *host, unsigned which)
{
	const uint64_t inactive = lru_size(host, which == COST_FILE ? PGSTE_LIST_LAZYFREE :
								      PGSTE_LIST_INACTIVE);
	const uint64_t active = lru_size(host, which == COST_FILE ? PGSTE_LIST_LAZYFREE_ACTIVE :
								    PGSTE_LIST_ACTIVE);

	return inactive * inactive_ratio(inactive + active) < active;
}

static bool is_machine(const struct pgste_host *host)
{
	return host->config.low > 0;
}

/* file_is_tiny: so few lazyfree pages that scanning them is in vain. */
static bool is_tiny(const struct pgste_host *host, const struct scan *sc)
{
	return is_machine(host) && !sc->deactivate[COST_ANON] &&
	       host->lists[PGSTE_LIST_LAZYFREE].nr + host->lists[PGSTE_LIST_LAZYFREE_ACTIVE].nr +
				host->nr_free <=
		       host->config.high &&
	       host->lists[PGSTE_LIST_INACTIVE].nr >> sc->priority;
}

/* The share of each kind, in share[0] + share[1]: calculate_pressure_balance. */
static void balance_by_cost(const struct pgste_host *host, uint64_t share[2])
{
	const uint64_t *cost = host->lru->cost;
	const uint64_t both = cost[COST_ANON] + cost[COST_FILE];
	const uint64_t anon = both + cost[COST_ANON], file = both + cost[COST_FILE];
	const uint64_t swappiness = host->config.swappiness;

	share[COST_ANON] = swappiness * (anon + file + 1) / (anon + 1);
	share[COST_FILE] = (PGSTE_MAX_SWAPPINESS - swappiness) * (anon + file + 1) / (file + 1);
}

/* get_scan_count: how many pages of each list. */
static void scan_count(const struct pgste_host *host, const struct scan *sc, bool trim,
		       uint64_t nr[NR_LISTS])
{
	static const enum pgste_frame_list lists[] = { PGSTE_LIST_INACTIVE, PGSTE_LIST_ACTIVE,
						       PGSTE_LIST_LAZYFREE,
						       PGSTE_LIST_LAZYFREE_ACTIVE };
	const uint8_t swappiness = host->config.swappiness;
	uint64_t share[2] = { 1, 1 }, whole = 1;

	if (!(host->nr_slots_free || host->nr_volatile) || (!swappiness && !is_machine(host))) {
		share[COST_ANON] = 0;
	} else if (sc->priority == 0 && swappiness) {
		/* SCAN_EQUAL */
	} else if (is_tiny(host, sc)) {
		share[COST_FILE] = 0;
	} else if (trim) {
		share[COST_ANON] = 0;
	} else {
		balance_by_cost(host, share);
		whole = share[COST_ANON] + share[COST_FILE];
	}
	for (unsigned i = 0; i < NR_LISTS; i++)
		nr[i] = (host->lists[lists[i]].nr >> sc->priority) * share[i / 2] / whole;
}

/* The goal is reached: stop one kind, and scan as much of the other as of this one. */
static bool stop_in_proportion(uint64_t nr[NR_LISTS], const uint64_t targets[NR_LISTS])
{
	const uint64_t anon = nr[ANON_INACTIVE] + nr[ANON_ACTIVE];
	const uint64_t file = nr[FILE_INACTIVE] + nr[FILE_ACTIVE];
	const unsigned few = file > anon ? ANON_INACTIVE : FILE_INACTIVE, many = 2 - few;
	const uint64_t left = min_u64(anon, file) * 100 / (targets[few] + targets[few + 1] + 1);

	if (!anon || !file)
		return true;
	nr[few] = nr[few + 1] = 0;
	for (unsigned i = many; i < many + 2; i++) {
		const uint64_t done = targets[i] - nr[i], all = targets[i] * (100 - left) / 100;

		nr[i] = all - min_u64(all, done);
	}
	return false;
}

/* shrink_lruvec */
static uint64_t shrink_lists(struct pgste_host *host, struct scan *sc, uint64_t nr[NR_LISTS])
{
	const bool at_once = is_machine(host) && !sc->kswapd && sc->priority == PRIORITY;
	uint64_t targets[NR_LISTS], reclaimed = 0;

	for (unsigned i = 0; i < NR_LISTS; i++)
		targets[i] = nr[i];
	while (nr[ANON_INACTIVE] || nr[FILE_INACTIVE] || nr[FILE_ACTIVE]) {
		for (unsigned i = 0; i < NR_LISTS; i++) {
			const uint64_t some = min_u64(nr[i], host->config.batch);

			nr[i] -= some;
			if (some && i % 2 == 0)
				reclaimed += shrink_inactive(host, sc, i / 2, some);
			else if (some && sc->deactivate[i / 2])
				shrink_active(host, i / 2, some);
			else if (some)
				sc->skipped = true;
		}
		if (reclaimed >= sc->goal && !at_once && stop_in_proportion(nr, targets))
			break;
	}
	return reclaimed;
}

static void age_anon(struct pgste_host *host)
{
	if (host->config.nr_swap_slots && is_low(host, COST_ANON))
		shrink_active(host, COST_ANON, host->config.batch);
}

/* shrink_node, prepare_scan_control first: pages reclaimed. */
static uint64_t shrink_node(struct pgste_host *host, struct scan *sc)
{
	uint64_t nr[NR_LISTS], reclaimed;
	bool trim;

	sc->deactivate[COST_ANON] = sc->forced || is_low(host, COST_ANON) ||
				    lru_activations(host) != host->lru->activated_before;
	sc->deactivate[COST_FILE] = sc->forced || is_low(host, COST_FILE);
	trim = lru_size(host, PGSTE_LIST_LAZYFREE) >> sc->priority &&
	       !sc->deactivate[COST_FILE] && !sc->no_trim;
	scan_count(host, sc, trim, nr);
	reclaimed = shrink_lists(host, sc, nr);
	age_anon(host);
	if (!reclaimed && trim)
		sc->trim_failed = true;
	sc->reclaimed += reclaimed;
	return reclaimed;
}

/* do_try_to_free_pages */
static void direct(struct pgste_host *host, uint64_t goal, bool proactive)
{
	struct scan sc = { .goal = goal };

	if (has_gens(host)) {
		mglru_direct(host, goal, proactive);
		return;
	}
	host->stats.reclaims++;
	for (;;) {
		for (sc.priority = PRIORITY; sc.priority >= 0; sc.priority--) {
			shrink_node(host, &sc);
			if (sc.reclaimed >= goal)
				break;
		}
		host->lru->activated_before = lru_activations(host);
		if (sc.reclaimed || !sc.skipped || sc.forced)
			return;
		sc.forced = true;
		sc.skipped = false;
	}
}

/* balance_pgdat, on the spot. */
static void kswapd(struct pgste_host *host)
{
	const uint64_t high = host->config.high, batch = host->config.batch;
	struct scan sc = { .goal = high > batch ? high : batch, .kswapd = true };

	host->stats.reclaims++;
	for (;;) {
		for (sc.priority = PRIORITY; sc.priority >= 1 && host->nr_free < high;) {
			age_anon(host);
			sc.scanned = 0;
			if (!shrink_node(host, &sc) || sc.scanned < sc.goal)
				sc.priority--;
		}
		host->lru->activated_before = lru_activations(host);
		if (sc.reclaimed || sc.priority >= 1 || sc.no_trim || !sc.trim_failed)
			return;
		sc.no_trim = true;
	}
}

/*
 * Reclaim may write every page that has no slot before the first write ends, and without a free
 * slot it looks at no page at all.  What is read ahead takes frames as well.
 */
bool lru_may_run_dry(const struct pgste_host *host, uint64_t nr)
{
	const uint64_t slots = host->nr_slots_free, cluster = host->config.page_cluster;
	const uint64_t used = host->config.nr_frames - host->nr_free;
	uint64_t least = 0;

	if (nr > PGSTE_MAX_FRAMES || host->nr_held != host->lru->nr_writing)
		return true;
	if (nr << cluster <= host->nr_free)
		return false;
	if (has_gens(host))
		least = GEN_BATCH; /* with fewer it looks at no anonymous page */
	return !host->config.swappiness || slots < least + used - host->nr_cached + (nr << cluster);
}

void lru_make_room(struct pgste_host *host)
{
	writes_step(host);
	if (is_machine(host) && host->nr_free <= host->config.low)
		has_gens(host) ? mglru_kswapd(host) : kswapd(host);
	for (unsigned tries = 0; tries < RETRIES && !host->nr_free; tries++) {
		direct(host, host->config.batch, false);
		if (!host->nr_free)
			writes_finish(host); /* reclaim_throttle */
	}
}

/* Rounds as those of memory.reclaim (user_proactive_reclaim). */
int64_t lru_reclaim(struct pgste_host *host, uint64_t n, bool rests)
{
	uint64_t freed = 0;

	n = min_u64(n, host->config.nr_frames);
	for (unsigned idle = 0; freed < n && idle < RETRIES;) {
		const uint64_t before = host->nr_free;
		const uint64_t goal = min_u64((n - freed) / 4, UINT64_C(1) << 16);

		direct(host, goal > host->config.batch ? goal : host->config.batch, true);
		idle = host->nr_free > before ? 0 : idle + 1;
		if (idle)
			writes_finish(host);
		freed += host->nr_free - before;
		if (rests && !watch_rest())
			return PGSTE_E_CANCELLED;
	}
	return (int64_t)freed;
}
