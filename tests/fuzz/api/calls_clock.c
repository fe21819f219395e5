/* SPDX-License-Identifier: MIT */
/* The clock of a guest, free page reporting, and replays. */
#include "api.h"

#define MOST_EVENTS 64u

struct outcome call_advance(struct world *w)
{
	struct guest *guest = take_guest(w);
	const uint64_t ns = take_time(w);
	uint64_t now;
	int64_t result;

	if (!guest)
		return NOTHING;
	now = pgste_now(guest->g);
	result = CALL(w, pgste_advance(guest->g, ns));
	REQUIRE(now <= PGSTE_MAX_NS);
	if (ended_early(w, result))
		REQUIRE(pgste_now(guest->g) >= now && pgste_now(guest->g) - now <= ns);
	else if (ns > PGSTE_MAX_NS - now)
		REQUIRE(result == PGSTE_E_ARG && pgste_now(guest->g) == now);
	else
		REQUIRE(result == PGSTE_OK && pgste_now(guest->g) == now + ns);
	return did(result);
}

static bool zones_fit(const struct pgste_reporting_config *c, uint64_t nr_pages)
{
	for (uint32_t z = 0; z < c->nr_zones; z++)
		if (z >= PGSTE_REPORTING_ZONES || c->zones[z].first >= nr_pages ||
		    (z && c->zones[z].first == c->zones[z - 1].first) ||
		    c->zones[z].min > PGSTE_MAX_PAGES || c->zones[z].low > PGSTE_MAX_PAGES ||
		    c->zones[z].spare > PGSTE_MAX_PAGES)
			return false;
	if (!c->types)
		return true;
	for (uint64_t i = 0; i < c->nr_types; i++)
		if (c->types[i] >= PGSTE_MIGRATETYPES)
			return false;
	return c->pageblock_order >= PGSTE_PAGEBLOCK_ORDER_MIN &&
	       c->nr_types << c->pageblock_order >= nr_pages;
}

/* Up to three zones, the last of which may lie outside the guest, and the types of pageblocks. */
static void take_zones(struct world *w, const struct guest *guest, struct pgste_reporting_config *c,
		       bool marks, bool spare)
{
	static uint8_t types[1u << 16];
	const uint8_t form = take_byte(&w->in);

	c->nr_zones = 1 + (form & 3u) % 3;
	for (uint32_t z = 0; z < c->nr_zones; z++) {
		c->zones[z].first = z ? c->zones[z - 1].first + take_byte(&w->in) : 0;
		c->zones[z].spare = spare ? take_time(w) : 0;
	}
	if (zones_fit(c, guest->nr_pages))
		pgste_reporting_watermarks(guest->g, c);
	for (uint32_t z = 0; !marks && z < c->nr_zones; z++)
		c->zones[z].min = c->zones[z].low = 0;
	if ((form & 3) == 3)
		c->nr_zones = PGSTE_REPORTING_ZONES + 1;
	if (!(form & 4))
		return;
	c->pageblock_order = form >> 3 & 7;
	c->nr_types = ((guest->nr_pages - 1) >> c->pageblock_order) + 1;
	if (c->nr_types > sizeof(types))
		c->nr_types = sizeof(types);
	for (uint64_t i = 0; i < c->nr_types && i < 8; i++)
		types[i] = (uint8_t)(take_byte(&w->in) % (PGSTE_MIGRATETYPES + (form >> 7)));
	c->types = types;
}

static struct pgste_reporting_config take_report_config(struct world *w, const struct guest *guest)
{
	struct pgste_reporting_config c;
	const uint8_t form = take_byte(&w->in), more = take_byte(&w->in);

	pgste_reporting_defaults(guest->g, &c);
	c.max_order = form & 1 ? form >> 1 & 7 : 10;
	c.order = take_byte(&w->in) % (c.max_order + 1);
	c.parked_order = take_byte(&w->in) % (c.max_order + 1);
	c.capacity = 1 + take_byte(&w->in) % (form & 16 ? 3 : PGSTE_REPORTING_CAPACITY);
	c.parked_high = take_byte(&w->in) % 16;
	c.parked_batch = 1 + take_byte(&w->in) % 8;
	c.delay_ns = form & 32 ? take_time(w) : more;
	c.ack_ns = form & 64 ? take_time(w) : more & 1;
	take_zones(w, guest, &c, form & 128, more & 4);
	c.poison = (enum pgste_poison)(more >> 3 & 3); /* 3 is none */
	c.negotiated = more & 32;
	c.inhibited = more & 64;
	c.advice = more & 128 ? PGSTE_ADVICE_MADV_FREE : PGSTE_ADVICE_MADV_DONTNEED;
	if (more == 255)
		c.max_order = PGSTE_MAX_ORDER + (form & 1);
	else if (more == 254)
		c.capacity = form & 1 ? 0 : PGSTE_REPORTING_CAPACITY + 1;
	else if (more == 253)
		c.parked_batch = 0;
	else if (more == 252)
		c.order = c.max_order + 1;
	return c;
}

static bool report_fits(const struct pgste_reporting_config *c, uint64_t nr_pages)
{
	return zones_fit(c, nr_pages) &&
	       c->max_order <= PGSTE_MAX_ORDER && c->order <= c->max_order &&
	       c->parked_order <= c->max_order && c->parked_batch >= 1 && c->capacity >= 1 &&
	       c->capacity <= PGSTE_REPORTING_CAPACITY && c->delay_ns <= PGSTE_MAX_NS &&
	       c->ack_ns <= PGSTE_MAX_NS &&
	       (unsigned)c->poison <= PGSTE_POISON_PAGE_POISON;
}

struct outcome call_configure(struct world *w)
{
	struct guest *guest = take_guest(w);
	struct pgste_reporting_config c;
	int64_t result;

	if (!guest)
		return NOTHING;
	c = take_report_config(w, guest);
	result = CALL(w, pgste_reporting_configure(guest->g, &c));
	if (!has_mechanism(guest, "reporting"))
		REQUIRE(result == PGSTE_E_NAME);
	else if (!report_fits(&c, guest->nr_pages))
		REQUIRE(result == PGSTE_E_ARG);
	else
		REQUIRE(result == PGSTE_OK || result == PGSTE_E_BUSY || ended_early(w, result));
	return did(result);
}

static int64_t look_at_type(struct world *w, const struct guest *guest)
{
	const uint64_t gfn = take_time(w);
	const int64_t type = CALL(w, pgste_reporting_type(guest->g, gfn));

	if (!has_mechanism(guest, "reporting"))
		REQUIRE(type == PGSTE_E_NAME);
	else if (gfn >= guest->nr_pages)
		REQUIRE(type == PGSTE_E_ARG);
	else
		REQUIRE(type >= 0 && type < (int)PGSTE_MIGRATETYPES);
	return type;
}

struct outcome call_report(struct world *w)
{
	struct guest *guest = take_guest(w);
	const unsigned form = take_byte(&w->in), max = form >> 2;
	struct pgste_block *blocks = block_of_size(max * sizeof(*blocks));
	uint32_t vcpu, zone = 0;
	enum pgste_migratetype type = PGSTE_MIGRATE_UNMOVABLE;
	struct pgste_reporting_state state;
	unsigned order;
	int64_t nr = 0;

	if (!guest) {
		free(blocks);
		return NOTHING;
	}
	if ((form & 3) == 3) {
		free(blocks);
		return looked(look_at_type(w, guest));
	}
	vcpu = take_vcpu(w, guest);
	order = take_order(w);
	switch (form & 3) {
	case 0:
		zone = take_byte(&w->in) & 3;
		type = (enum pgste_migratetype)(take_byte(&w->in) & 7);
		nr = CALL(w, pgste_reporting_free_list(guest->g, zone, type, order, blocks, max));
		break;
	case 1: nr = CALL(w, pgste_reporting_parked(guest->g, vcpu, blocks, max)); break;
	default: nr = CALL(w, pgste_reporting_isolated(guest->g, blocks, max)); break;
	}
	if (!has_mechanism(guest, "reporting"))
		REQUIRE(nr == PGSTE_E_NAME);
	else if ((form & 3) == 0 &&
		 (order > PGSTE_MAX_ORDER || (unsigned)type >= PGSTE_MIGRATETYPES ||
		  pgste_reporting_get_state(guest->g, &state) ||
		  zone >= state.config.nr_zones))
		REQUIRE(nr == PGSTE_E_ARG);
	else if ((form & 3) == 1 && vcpu >= guest->config.nr_vcpus)
		REQUIRE(nr == PGSTE_E_ARG);
	else
		REQUIRE(nr >= 0);
	for (int64_t i = 0; i < nr && i < (int64_t)max; i++)
		REQUIRE(blocks[i].gfn + (UINT64_C(1) << blocks[i].order) <= guest->nr_pages);
	free(blocks);
	return looked(nr);
}

/* ---- replays ---- */

static uint64_t take_event(struct world *w, uint64_t base, uint64_t nr_pages)
{
	const uint8_t form = take_byte(&w->in);
	const unsigned order = form & 128 ? form >> 1 & 7 : 0;
	const uint64_t at = (nr_pages <= 256 ? take_byte(&w->in) : take(&w->in, 3)) % nr_pages;

	if (form == 0x7f)
		return PGSTE_EVENT(at & 3, take_byte(&w->in) & 63, base + at);
	return PGSTE_EVENT(form & 1, order, base + (at >> order << order));
}

/* Does every event lie in slots of each guest that the replay drives? */
static bool events_present(const struct replay *r, uint64_t base, struct pgste_guest **guests,
			   const struct world *w)
{
	for (unsigned k = 0; k < GUESTS; k++) {
		bool driven = false;

		for (unsigned i = 0; i < r->nr_guests; i++)
			driven |= guests[i] == w->guests[k].g;
		for (uint64_t i = 0; driven && i < r->nr; i++)
			if (!present(&w->guests[k], PGSTE_EVENT_PFN(r->events[i]) - base,
				     UINT64_C(1) << PGSTE_EVENT_ORDER(r->events[i])))
				return false;
	}
	return true;
}

/* Does every event lie in the smallest of the guests? */
static bool events_fit(const uint64_t *events, uint64_t nr, uint64_t base, uint64_t nr_pages)
{
	for (uint64_t i = 0; i < nr; i++) {
		const uint64_t pfn = PGSTE_EVENT_PFN(events[i]);

		if (PGSTE_EVENT_KIND(events[i]) > 1 || PGSTE_EVENT_ORDER(events[i]) > 39)
			return false;
		if (pfn < base ||
		    pfn - base + (UINT64_C(1) << PGSTE_EVENT_ORDER(events[i])) > nr_pages)
			return false;
	}
	return true;
}

static void take_events(struct world *w, struct replay *r, uint64_t base, uint64_t nr_pages)
{
	const uint8_t form = take_byte(&w->in);
	uint64_t time = form & 64 ? take_time(w) : 0;

	r->nr = form % MOST_EVENTS;
	r->events = block_of_size(r->nr * sizeof(*r->events));
	r->times = form & 128 ? block_of_size(r->nr * sizeof(*r->times)) : NULL;
	for (uint64_t i = 0; i < r->nr; i++) {
		r->events[i] = take_event(w, base, nr_pages);
		if (!r->times)
			continue;
		r->times[i] = time;
		time += i % 8 ? 1000 : take_time(w); /* may go back */
	}
}

/* An access of the first page of each event, before it; one behind the end is refused first. */
static void set_accesses(struct replay *r)
{
	r->accesses = block_of_size(r->nr * sizeof(*r->accesses));
	r->places = block_of_size(r->nr * sizeof(*r->places));
	for (uint64_t i = 0; i < r->nr; i++) {
		r->accesses[i] = (r->events[i] & ~UINT64_C(0xff)) | PGSTE_ACCESS_LOAD | (i & 1);
		r->places[i] = i;
	}
	if (!r->nr)
		return;
	r->places[r->nr - 1] = r->nr + 1;
	REQUIRE(pgste_replay_set_accesses(r->r, r->accesses, r->places, r->nr) == PGSTE_E_ARG);
	r->places[r->nr - 1] = r->nr;
	REQUIRE(pgste_replay_set_accesses(r->r, r->accesses, r->places, r->nr) == PGSTE_OK);
}

struct outcome call_replay_new(struct world *w)
{
	const unsigned form = take_byte(&w->in), host = form & 1;
	const uint64_t base = (uint64_t)(form >> 1 & 3) * 1000;
	struct pgste_guest *guests[GUESTS + 1];
	uint64_t nr_pages = UINT64_MAX;
	bool twice = false;
	struct replay r = { .host = host };
	int64_t result;

	if (w->replay.r)
		replay_end(w);
	for (unsigned i = 0; i < GUESTS; i++) {
		if (!w->guests[i].g || w->guests[i].host != host || !(form >> (3 + i) & 1))
			continue;
		guests[r.nr_guests++] = w->guests[i].g;
		nr_pages = w->guests[i].nr_pages < nr_pages ? w->guests[i].nr_pages : nr_pages;
	}
	if (r.nr_guests && form == 255) {
		guests[r.nr_guests++] = guests[0];
		twice = true;
	}
	take_events(w, &r, base, nr_pages == UINT64_MAX ? 1 : nr_pages);
	result = CALL(w, pgste_replay_new(guests, r.nr_guests, base, r.events, r.times, r.nr,
					  &r.r));
	if (!r.nr_guests || twice || !events_fit(r.events, r.nr, base, nr_pages) ||
	    !events_present(&r, base, guests, w))
		REQUIRE(result == PGSTE_E_ARG || ended_early(w, result));
	else
		REQUIRE(result == PGSTE_OK || result == PGSTE_E_NO_FRAME ||
			result == PGSTE_E_FOREIGN || ended_early(w, result) ||
			pgste_pgm_code((int)result));
	REQUIRE(!result == (r.r != NULL));
	if (!result && r.nr % 2)
		set_accesses(&r);
	w->replay = r;
	w->held = true;
	if (result)
		replay_end(w);
	return (struct outcome){ .result = result, .partial = result != PGSTE_E_ARG };
}

static struct outcome run_until(struct world *w, uint64_t n)
{
	const uint64_t at = pgste_replay_position(w->replay.r);
	const uint64_t last = w->replay.nr ? w->replay.times[w->replay.nr - 1] : 0;
	const uint64_t ns = take_byte(&w->in) * (last / 128);
	const int64_t result = CALL(w, pgste_replay_run_until(w->replay.r, ns, n));

	REQUIRE(result == PGSTE_E_NO_FRAME || result == PGSTE_E_FOREIGN ||
		result == PGSTE_E_GFN || pgste_pgm_code((int)result) || result >= 0 ||
		ended_early(w, result) || (result < 0 && result == w->replay.error));
	w->replay.error = result;
	if (result >= 0) {
		REQUIRE((uint64_t)result <= n);
		REQUIRE(pgste_replay_position(w->replay.r) == at + (uint64_t)result);
	}
	w->held = true;
	return (struct outcome){ .result = result, .partial = true };
}

/* Stops need not ascend here: those that lie behind are reached at once. */
static struct outcome run_stops(struct world *w, uint64_t n)
{
	const uint64_t last = w->replay.nr ? w->replay.times[w->replay.nr - 1] : 0;
	struct pgste_replay_sample samples[3];
	uint64_t at[3], next = 0;
	uint8_t flush[3];
	const struct pgste_replay_stops stops = { at, flush, 3, take_byte(&w->in) % 2 };
	int64_t result;

	for (unsigned i = 0; i < 3; i++) {
		flush[i] = take_byte(&w->in);
		at[i] = flush[i] * (stops.by_time ? last / 128 : 1);
	}
	result = CALL(w, pgste_replay_run_stops(w->replay.r, &stops, &next, samples, n));
	REQUIRE(next <= 3 && (result < 0 || (uint64_t)result <= n));
	REQUIRE(!next || samples[next - 1].events <= pgste_replay_position(w->replay.r));
	w->replay.error = result;
	w->held = true;
	return (struct outcome){ .result = result, .partial = true };
}

struct outcome call_replay_run(struct world *w)
{
	const uint8_t form = take_byte(&w->in);
	const uint64_t n = form < 250 ? form % 20 : UINT64_MAX;
	struct pgste_replay_stats stats;
	uint64_t at;
	int64_t result;

	if (!w->replay.r)
		return NOTHING;
	at = pgste_replay_position(w->replay.r);
	if ((form == 251 || form == 252) && w->replay.times)
		return run_stops(w, n);
	if (form >= 253 && w->replay.times)
		return run_until(w, n);
	result = CALL(w, pgste_replay_run(w->replay.r, n));
	REQUIRE(result == PGSTE_E_NO_FRAME || result == PGSTE_E_FOREIGN ||
		result == PGSTE_E_GFN || pgste_pgm_code((int)result) || result >= 0 ||
		ended_early(w, result) || (result < 0 && result == w->replay.error));
	w->replay.error = result;
	if (result >= 0) {
		const uint64_t left = w->replay.nr - at;

		REQUIRE((uint64_t)result == (n < left ? n : left));
		REQUIRE(pgste_replay_position(w->replay.r) == at + (uint64_t)result);
	}
	pgste_replay_get_stats(w->replay.r, &stats);
	REQUIRE(stats.events == pgste_replay_position(w->replay.r) * w->replay.nr_guests);
	REQUIRE(stats.stale_allocs <= stats.stale_pages);
	REQUIRE(stats.seconds >= 0 && stats.frame_seconds >= 0 && stats.swap_seconds >= 0);
	w->held = true;
	return (struct outcome){ .result = result, .partial = true };
}

struct outcome call_replay_free(struct world *w)
{
	replay_end(w);
	return NOTHING;
}
