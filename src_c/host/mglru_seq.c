/* SPDX-License-Identifier: MIT */
/*
 * Tiers and the controller that protects them, refaults, and how generations begin and end
 * (mm/vmscan.c and mm/workingset.c, Linux 6.12 with CONFIG_LRU_GEN).  docs/reclaim.md.
 */
#include "host/lru.h"

unsigned tier_from_refs(unsigned refs)
{
	return refs ? 32u - (unsigned)__builtin_clz(refs) : 0;
}

unsigned mglru_refs(const struct pgste_host *host, uint32_t frame)
{
	return host->lru->flags[frame] & FRAME_WORKINGSET ? 1 : 0;
}

/* lru_gen_eviction */
void mglru_evicted(struct pgste_host *host, uint32_t frame)
{
	struct mglru *g = host->lru->gens;
	const unsigned refs = mglru_refs(host, frame);
	const uint32_t seq = (uint32_t)(g->min_seq[GEN_ANON] & AGE_MASK);

	host->lru->shadows[host->frames[frame].slot] = seq << 2 | (refs ? 2u : 0) | 1;
	g->evicted[GEN_ANON][tier_from_refs(refs)]++;
}

/* lru_gen_refault, in a fault */
void mglru_refault(struct pgste_host *host, uint32_t slot, uint32_t frame)
{
	struct mglru *g = host->lru->gens;
	const uint32_t shadow = host->lru->shadows[slot];

	if (!shadow)
		return;
	host->lru->shadows[slot] = 0;
	host->stats.refaults++;
	if (shadow >> 2 != (g->min_seq[GEN_ANON] & AGE_MASK))
		return;
	g->refaulted[GEN_ANON][tier_from_refs(shadow & 2 ? 1 : 0)]++;
	host->stats.refaults_activated++;
	host->lru->flags[frame] |= FRAME_WORKINGSET;
}

/* ---- the controller ---- */

struct position {
	uint64_t refaulted, total, gain;
};

static struct position read_position(const struct mglru *g, unsigned type, unsigned tier,
				     uint64_t gain)
{
	return (struct position){
		.refaulted = g->avg_refaulted[type][tier] + g->refaulted[type][tier],
		.total = g->avg_total[type][tier] + g->evicted[type][tier] +
			 g->protected[type][tier],
		.gain = gain,
	};
}

/* positive_ctrl_err: few refaults, or no larger a share of them than at the set point. */
static bool is_positive(struct position sp, struct position pv)
{
	return pv.refaulted < GEN_BATCH || pv.refaulted * (sp.total + GEN_BATCH) * sp.gain <=
						   (sp.refaulted + 1) * pv.total * pv.gain;
}

static unsigned last_tier(const struct mglru *g, struct position sp, unsigned type, uint64_t gain)
{
	for (unsigned tier = 1; tier < NR_TIERS; tier++)
		if (!is_positive(sp, read_position(g, type, tier, gain)))
			return tier - 1;
	return NR_TIERS - 1;
}

unsigned mglru_tier_idx(const struct mglru *g, unsigned type)
{
	return last_tier(g, read_position(g, type, 0, 1), type, 2);
}

unsigned mglru_type_to_scan(const struct mglru *g, unsigned swappiness, unsigned *tier_idx)
{
	const uint64_t gain[] = { swappiness, PGSTE_MAX_SWAPPINESS - swappiness };
	const struct position anon = read_position(g, GEN_ANON, 0, gain[GEN_ANON]);
	const struct position file = read_position(g, GEN_FILE, 0, gain[GEN_FILE]);
	const unsigned type = is_positive(anon, file) ? GEN_FILE : GEN_ANON;

	*tier_idx = last_tier(g, type == GEN_FILE ? anon : file, type, gain[type]);
	return type;
}

/* ---- the ends of generations ---- */

/* reset_ctrl_pos: what was counted goes into the averages. */
static void carry_over(struct mglru *g, unsigned type)
{
	for (unsigned tier = 0; tier < NR_TIERS; tier++) {
		const struct position p = read_position(g, type, tier, 0);

		g->avg_refaulted[type][tier] = p.refaulted / 2;
		g->avg_total[type][tier] = p.total / 2;
		g->refaulted[type][tier] = g->evicted[type][tier] = g->protected[type][tier] = 0;
	}
}

bool mglru_try_to_inc_min_seq(struct mglru *g, bool can_swap)
{
	uint64_t seq[NR_TYPES] = { g->min_seq[GEN_ANON], g->min_seq[GEN_FILE] };
	bool success = false;

	for (unsigned type = can_swap ? GEN_ANON : GEN_FILE; type < NR_TYPES; type++)
		while (seq[type] + MIN_GENS <= g->max_seq && !g->lists[gen_of(seq[type])][type].nr)
			seq[type]++;
	if (can_swap) {
		seq[GEN_ANON] = min_u64(seq[GEN_ANON], seq[GEN_FILE]);
		seq[GEN_FILE] = g->min_seq[GEN_FILE];
		if (seq[GEN_FILE] < seq[GEN_ANON])
			seq[GEN_FILE] = seq[GEN_ANON];
	}
	for (unsigned type = can_swap ? GEN_ANON : GEN_FILE; type < NR_TYPES; type++) {
		if (seq[type] == g->min_seq[type])
			continue;
		carry_over(g, type);
		g->min_seq[type] = seq[type];
		success = true;
	}
	return success;
}

/*
 * inc_max_seq.  A kind may have all generations where it cannot be swapped alone: the oldest ends
 * then, its pages stay where they are (inc_min_seq), and will be the youngest.
 */
void mglru_inc_max_seq(struct mglru *g)
{
	for (unsigned type = NR_TYPES; type-- > 0;) {
		if (nr_gens(g, type) != NR_GENS)
			continue;
		carry_over(g, type);
		g->min_seq[type]++;
	}
	g->max_seq++;
}
