/* SPDX-License-Identifier: MIT */
/* Reclaim, zap, scans of the whole table, and looks at frames, slots and lists. */
#include "api.h"

static uint64_t frames_free(const struct pgste_host *host)
{
	struct pgste_host_stats stats;

	pgste_host_get_stats(host, &stats);
	return stats.frames_free;
}

struct outcome call_reclaim(struct world *w)
{
	struct pgste_host *host = take_host(w);
	const uint8_t form = take_byte(&w->in);
	const uint64_t n = form < 200 ? form % 40 : take_time(w);
	uint64_t before;
	int64_t result;

	if (!host)
		return NOTHING;
	before = frames_free(host);
	result = CALL(w, pgste_host_reclaim(host, n));
	REQUIRE(result >= 0 || ended_early(w, result));
	/* held-back frees that it issues may free frames beside it */
	REQUIRE(w->held || result < 0 || frames_free(host) == before + (uint64_t)result);
	return did(result);
}

/* Issues the frees that a replay holds back, on every host. */
struct outcome call_settle(struct world *w)
{
	for (unsigned i = 0; i < HOSTS; i++)
		if (w->hosts[i])
			(void)pgste_host_reclaim(w->hosts[i], 0);
	return did(0);
}

struct outcome call_rearm(struct world *w)
{
	struct pgste_host *host = take_host(w);
	const uint8_t rearm = take_byte(&w->in) % 4;
	int64_t result;

	if (!host)
		return NOTHING;
	if (rearm & 1)
		pgste_host_flush_stats(host);
	result = CALL(w, pgste_host_set_rearm(host, (enum pgste_rearm)rearm));
	REQUIRE(result == (rearm <= PGSTE_REARM_DISCARD ? PGSTE_OK : PGSTE_E_ARG));
	return did(result);
}

struct outcome call_reset_stats(struct world *w)
{
	struct pgste_host *host = take_host(w);
	struct guest *guest = take_guest(w);

	if (host && take_byte(&w->in) & 1)
		pgste_host_reset_stats(host);
	else if (guest)
		pgste_guest_reset_stats(guest->g);
	return did(0);
}

struct outcome call_zap(struct world *w)
{
	struct guest *guest = take_guest(w);
	uint64_t gfn, before;
	int64_t result;

	if (!guest)
		return NOTHING;
	gfn = take_gfn(w, guest);
	before = pgste_count_zappable(guest->g, 1);
	result = CALL(w, pgste_zap(guest->g, gfn));
	if (gfn >= guest->nr_pages)
		REQUIRE(result == PGSTE_E_GFN);
	else
		REQUIRE(result == 0 || (result == 1 && present(guest, gfn, 1)));
	if (result > 0 && !w->held)
		REQUIRE(pgste_count_zappable(guest->g, 1) == before - 1);
	return did(result);
}

struct outcome call_zap_scan(struct world *w)
{
	struct guest *guest = take_guest(w);
	const unsigned threads = take_threads(w);
	uint64_t before, left;
	int64_t result;

	if (!guest)
		return NOTHING;
	before = pgste_count_zappable(guest->g, 1);
	result = CALL(w, pgste_zap_scan(guest->g, threads));
	left = pgste_count_zappable(guest->g, threads);
	REQUIRE(result >= 0);
	REQUIRE(w->held || (uint64_t)result + left == before);
	REQUIRE(w->cancelled || guest->contended || left == 0);
	return did(result);
}

static bool is_zappable(uint8_t state)
{
	const unsigned usage = state & PGSTE_STATE_USAGE;

	return state & PGSTE_STATE_SWAP && (usage == PGSTE_USAGE_UNUSED ||
					    state & PGSTE_STATE_ZERO);
}

static uint8_t *all_states(const struct guest *guest)
{
	const struct pgste_gfns all = { .nr = guest->nr_pages };
	uint8_t *states = block_of_size(guest->nr_pages);

	REQUIRE(pgste_get_states(guest->g, &all, states) == PGSTE_OK);
	return states;
}

struct outcome call_count(struct world *w)
{
	struct guest *guest = take_guest(w);
	const unsigned threads = take_threads(w);
	struct pgste_state_counts c;
	uint64_t sums[4] = { 0 }, sum = 0, pages = 0;
	uint8_t *states;

	if (!guest)
		return NOTHING;
	memset(&c, 0xa5, sizeof(c));
	(void)CALL(w, (pgste_count_states(guest->g, threads, &c), 0));
	if (w->cancelled)
		return looked(0);
	states = all_states(guest);
	for (uint64_t i = 0; i < guest->nr_pages; i++) {
		if (!present(guest, i, 1))
			continue;
		pages++;
		sums[0] += !!(states[i] & PGSTE_STATE_NODAT);
		sums[1] += !!(states[i] & PGSTE_STATE_DIRTY);
		sums[2] += !!(states[i] & PGSTE_STATE_SWAP);
		sums[3] += is_zappable(states[i]);
	}
	for (unsigned usage = 0; usage < 4; usage++)
		sum += c.pages[usage][0] + c.pages[usage][1] + c.pages[usage][2];
	REQUIRE(sum == pages);
	REQUIRE(c.nodat == sums[0] && c.dirty == sums[1] && c.swap == sums[2]);
	REQUIRE(c.zappable == sums[3]);
	REQUIRE(pgste_count_zappable(guest->g, threads) == sums[3]);
	free(states);
	return looked(0);
}

/* The same by a plain loop. */
static void check_found(const struct guest *guest, uint64_t start, uint8_t mask, uint8_t value,
			const uint64_t *found, int64_t nr, uint64_t max)
{
	uint8_t *states = all_states(guest);
	uint64_t expected = 0;

	for (uint64_t i = start; i < guest->nr_pages && expected < max; i++) {
		if ((states[i] & mask) != value)
			continue;
		REQUIRE((int64_t)expected < nr && found[expected] == i);
		expected++;
	}
	REQUIRE(nr == (int64_t)expected);
	free(states);
}

struct outcome call_find(struct world *w)
{
	struct guest *guest = take_guest(w);
	const unsigned threads = take_threads(w);
	const uint8_t mask = take_byte(&w->in), form = take_byte(&w->in);
	uint8_t value = take_byte(&w->in);
	uint64_t start, max, *found;
	int64_t nr;

	if (!guest)
		return NOTHING;
	if (form & 1)
		value &= mask;
	start = take_gfn(w, guest);
	max = form & 2 ? guest->nr_pages : form >> 2;
	found = block_of_size(max * sizeof(*found));
	nr = CALL(w, pgste_find(guest->g, threads, start, mask, value, found, max));
	if (value & ~mask)
		REQUIRE(nr == PGSTE_E_ARG);
	else if (!ended_early(w, nr) && !w->cancelled)
		check_found(guest, start, mask, value, found, nr, max);
	free(found);
	return looked(nr);
}

/* Frames, slots and lists, those that do not exist as well. */
struct outcome call_look(struct world *w)
{
	struct pgste_host *host = take_host(w);
	struct pgste_host_stats stats;
	struct pgste_frame_info frame;
	struct pgste_slot_info slot;
	const uint64_t at = take_byte(&w->in);
	const int list = (int)(take_byte(&w->in) % 7) - 1;
	struct pgste_watermarks marks;
	struct pgste_generations gens;
	uint32_t *frames;
	int64_t nr;

	if (!host)
		return NOTHING;
	pgste_host_get_stats(host, &stats);
	REQUIRE(pgste_host_frame(host, at, &frame) == (at < stats.frames ? 0 : PGSTE_E_ARG));
	REQUIRE(pgste_host_slot(host, at, &slot) == (at < stats.swap_slots ? 0 : PGSTE_E_ARG));
	REQUIRE(pgste_host_frame(host, UINT64_MAX - at, &frame) == PGSTE_E_ARG);
	REQUIRE(pgste_host_slot(host, UINT64_MAX - at, &slot) == PGSTE_E_ARG);
	pgste_zone_watermarks(at << 24, pgste_min_free(at << 20), (unsigned)at, &marks);
	REQUIRE(marks.min <= marks.low && marks.low <= marks.high);
	frames = block_of_size(at * sizeof(*frames));
	nr = CALL(w, pgste_host_list(host, (enum pgste_frame_list)list, frames, at));
	REQUIRE(list >= PGSTE_LIST_ACTIVE && list < (int)PGSTE_NR_LISTS ? nr >= 0 :
									  nr == PGSTE_E_ARG);
	for (int64_t i = 0; i < nr && i < (int64_t)at; i++)
		REQUIRE(frames[i] < stats.frames);
	nr = pgste_host_generation(host, (unsigned)list, at & 1, frames, at);
	REQUIRE(list >= 0 && list < 4 && pgste_host_generations(host, &gens) == PGSTE_OK ?
			nr >= 0 : nr == PGSTE_E_ARG);
	for (int64_t i = 0; i < nr && i < (int64_t)at; i++)
		REQUIRE(frames[i] < stats.frames);
	free(frames);
	return looked(nr);
}
