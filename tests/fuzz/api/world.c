/* SPDX-License-Identifier: MIT */
/* Hosts and guests come and go. */
#include "api.h"

struct guest *take_guest(struct world *w)
{
	const unsigned first = take_byte(&w->in) % GUESTS;

	for (unsigned i = 0; i < GUESTS; i++)
		if (w->guests[(first + i) % GUESTS].g)
			return &w->guests[(first + i) % GUESTS];
	return NULL;
}

struct pgste_host *take_host(struct world *w)
{
	const unsigned first = take_byte(&w->in) % HOSTS;

	return w->hosts[first] ? w->hosts[first] : w->hosts[1 - first];
}

bool has_mechanism(const struct guest *guest, const char *name)
{
	return guest->config.mechanism && !strcmp(guest->config.mechanism, name);
}

/* Mostly small, so that memory runs out; sometimes as large as can be. */
static struct pgste_host_config take_host_config(struct world *w)
{
	const uint8_t form = take_byte(&w->in);
	struct pgste_host_config c = { 0 };

	c.nr_frames = 1 + take_byte(&w->in);
	c.nr_swap_slots = take_byte(&w->in);
	if (form & 1)
		c.nr_frames = 1 + c.nr_frames % 12;
	if (form & 2)
		c.nr_swap_slots %= 8;
	if (form == 4)
		c.nr_frames = c.nr_swap_slots = PGSTE_MAX_FRAMES;
	if (form & 16)
		c.reclaim = form & 32 ? PGSTE_RECLAIM_MGLRU : PGSTE_RECLAIM_LRU;
	pgste_host_defaults(&c);
	if (form & 16) {
		const uint8_t more = take_byte(&w->in);

		c.page_cluster = more & 7;
		c.rotational = more & 8;
		c.stale_stats = c.no_mm_walk = more & 16;
		c.write_delay = more & 32 ? more & 3 : 200;
		c.swappiness = more & 64 ? (uint8_t)(more * 3) : 60;
	}
	if (form & 8) {
		c.high = 1 + take_byte(&w->in) % c.nr_frames;
		c.low = take_byte(&w->in) % c.high;
		c.batch = 1 + take_byte(&w->in) % 8;
	}
	if (form >= 240) {
		uint64_t *const field[] = { &c.nr_frames, &c.nr_swap_slots, &c.low, &c.high };

		*field[form % 4] = form & 4 ? take_time(w) : 0;
		c.batch = form & 8 ? 0 : c.batch;
	}
	return c;
}

static bool host_config_fits(const struct pgste_host_config *c)
{
	return c->nr_frames >= 1 && c->nr_frames <= PGSTE_MAX_FRAMES &&
	       c->nr_swap_slots <= PGSTE_MAX_FRAMES && c->low < c->high &&
	       c->high <= c->nr_frames && c->batch >= 1 &&
	       c->swappiness <= PGSTE_MAX_SWAPPINESS && c->page_cluster <= PGSTE_MAX_CLUSTER;
}

struct outcome call_host_new(struct world *w)
{
	const unsigned i = take_byte(&w->in) % HOSTS;
	const struct pgste_host_config c = take_host_config(w);
	struct pgste_host *host = NULL;
	int64_t result;

	if (w->hosts[i])
		return NOTHING;
	result = CALL(w, pgste_host_new(&c, &host));
	/* a table of a hundred gigabytes is more than some machines give */
	REQUIRE(result == (host_config_fits(&c) ? PGSTE_OK : PGSTE_E_ARG) ||
		ended_early(w, result) || (result == PGSTE_E_NOMEM && c.nr_frames > 1 << 20));
	REQUIRE(!result == (host != NULL));
	w->hosts[i] = host;
	w->has_lru[i] = c.reclaim != PGSTE_RECLAIM_SIMPLE;
	return did(result);
}

void replay_end(struct world *w)
{
	pgste_replay_free(w->replay.r);
	free(w->replay.events);
	free(w->replay.accesses);
	free(w->replay.places);
	free(w->replay.times);
	w->replay = (struct replay){ 0 };
}

struct outcome call_host_free(struct world *w)
{
	const unsigned i = take_byte(&w->in) % HOSTS;
	bool busy = false;
	int64_t result;

	for (unsigned k = 0; k < GUESTS; k++)
		busy |= w->guests[k].g && w->guests[k].host == i;
	result = CALL(w, pgste_host_free(w->hosts[i]));
	REQUIRE(result == (busy ? PGSTE_E_BUSY : PGSTE_OK));
	if (!busy)
		w->hosts[i] = NULL;
	return did(result);
}

static uint64_t take_nr_pages(struct world *w)
{
	const uint8_t form = take_byte(&w->in);

	if (form < 128)
		return 1 + form % 24;
	if (form < 240)
		return form - 127u + take_byte(&w->in) % 90u;
	switch (form & 7) {
	case 0: return 8192 + 77;	/* large enough for threads */
	case 1: return (UINT64_C(64) << 12) + 4096 + 5; /* more chunks than bits in a word */
	case 2: return 0;
	case 3: return PGSTE_MAX_PAGES + 1;
	case 4: return UINT64_MAX;
	default: return 4096 + (form & 7);
	}
}

/* What only some guests have; slots has room for MOST_SLOTS. */
static void take_options(struct world *w, struct pgste_guest_config *c, struct pgste_slot *slots)
{
	const uint8_t form = take_byte(&w->in), more = take_byte(&w->in);

	c->cmma_later = (form & 3) == 1;
	c->interpretation = (form & 12) == 4;
	c->storage_keys = form & 16;
	c->own_memory = form >= 240;
	c->revision = (enum pgste_revision)(more & 3); /* 3 is none */
	c->log_revision = (enum pgste_log_revision)(more >> 2 & 3);
	c->allow_cow_sharing = more & 32;
	c->mlock = (more & 192) == 192;
	if (!(more & 16))
		return;
	c->nr_slots = take_slots(w, c->nr_pages, slots);
	c->slots = slots;
}

static struct pgste_guest_config take_guest_config(struct world *w, struct pgste_slot *slots)
{
	static const char *const unknown[] = { "", "KSM", "none ", NULL };
	struct pgste_guest_config c = { .nr_pages = take_nr_pages(w) };
	const uint8_t form = take_byte(&w->in), numbers = take_byte(&w->in);
	uint8_t generation;

	c.mechanism = form < 250 ? pgste_mechanism_name(form % 5) : unknown[form % 4];
	generation = take_byte(&w->in);
	c.generation = (enum pgste_generation)(generation % 3);
	if (generation >= 96)
		take_options(w, &c, slots);
	c.nr_vcpus = 1u + (numbers & 1u) * (numbers >> 1 & 3u);
	c.cbrl_entries = numbers & 8 ? PGSTE_CBRL_MAX : 1u + (numbers >> 4);
	c.nodat = form / 5 & 1;
	c.strict = (form / 10 & 3) == 0;
	if (take_byte(&w->in) < 250)
		return c;
	switch (numbers & 7) {
	case 0: c.generation = (enum pgste_generation)3; break;
	case 1: c.generation = (enum pgste_generation)-1; break;
	case 2: c.nr_vcpus = 0; break;
	case 3: c.nr_vcpus = PGSTE_MAX_VCPUS + 1; break;
	case 4: c.nr_vcpus = PGSTE_MAX_VCPUS; break;
	case 5: c.cbrl_entries = 0; break;
	case 6: c.cbrl_entries = PGSTE_CBRL_MAX + 1; break;
	default: c.cbrl_entries = UINT32_MAX; break;
	}
	return c;
}

static bool options_fit(const struct pgste_guest_config *c)
{
	const bool dat = c->generation == PGSTE_GEN_DAT, zvm = c->generation == PGSTE_GEN_ZVM;

	if ((unsigned)c->revision > PGSTE_REVISION_7_0 ||
	    (unsigned)c->log_revision > PGSTE_LOG_DAT_NEW)
		return false;
	if ((c->allow_cow_sharing || c->mlock) && (zvm || c->own_memory))
		return false;
	return dat || (!c->revision && !c->log_revision &&
		       !(zvm && (c->slots || c->cmma_later || c->interpretation ||
				 c->storage_keys || c->own_memory)));
}

/* What pgste_guest_new has to say of it; the slots are added to guest as it goes. */
static int guest_error(const struct pgste_guest_config *c, bool on_lru, struct guest *guest)
{
	int error = PGSTE_OK;

	bool known = false, kvm_only;

	for (unsigned i = 0; c->mechanism && pgste_mechanism_name(i); i++)
		known |= !strcmp(pgste_mechanism_name(i), c->mechanism);
	if (!known)
		return PGSTE_E_NAME;
	kvm_only = strcmp(c->mechanism, "none") && strcmp(c->mechanism, "cmma");
	if (c->nr_pages < 1 || c->nr_pages > PGSTE_MAX_PAGES || c->nr_vcpus < 1 ||
	    c->nr_vcpus > PGSTE_MAX_VCPUS || c->cbrl_entries < 1 ||
	    c->cbrl_entries > PGSTE_CBRL_MAX || (unsigned)c->generation > PGSTE_GEN_ZVM ||
	    (kvm_only && c->generation == PGSTE_GEN_ZVM) || !options_fit(c) ||
	    (c->mlock && on_lru))
		return PGSTE_E_ARG;
	if (!c->slots)
		guest->slots[guest->nr_slots++] =
			(struct pgste_slot){ .pages = c->nr_pages, .log_dirty = true };
	for (uint32_t i = 0; c->slots && i < c->nr_slots && !error; i++)
		error = slots_add(guest, &(struct pgste_slot){ c->slots[i].base,
							       c->slots[i].pages,
							       c->slots[i].host, 0,
							       c->slots[i].log_dirty });
	return error;
}

struct outcome call_guest_new(struct world *w)
{
	const unsigned host = take_byte(&w->in) % HOSTS;
	struct pgste_slot slots[MOST_SLOTS];
	const struct pgste_guest_config c = take_guest_config(w, slots);
	struct guest guest = { .host = host, .config = c, .nr_pages = c.nr_pages };
	struct pgste_guest *g = NULL;
	int64_t result;

	for (unsigned i = 0; i < GUESTS; i++) {
		if (w->guests[i].g || !w->hosts[host])
			continue;
		result = CALL(w, pgste_guest_new(w->hosts[host], &c, &g));
		REQUIRE(result == guest_error(&c, w->has_lru[host], &guest) ||
			ended_early(w, result) ||
			(c.mlock && result == PGSTE_E_NO_FRAME));
		REQUIRE(!result == (g != NULL));
		guest.g = g;
		guest.config.slots = NULL; /* they are not kept */
		guest.cmma = has_mechanism(&guest, "cmma") && !c.cmma_later;
		if (g) {
			w->guests[i] = guest;
			check_slots(&guest);
		}
		return did(result);
	}
	return NOTHING;
}

static void guest_end(struct world *w, struct guest *guest)
{
	if (w->replay.r && w->replay.host == guest->host)
		replay_end(w);
	pgste_guest_free(guest->g);
	*guest = (struct guest){ 0 };
}

struct outcome call_guest_free(struct world *w)
{
	struct guest *guest = take_guest(w);

	if (guest && take_byte(&w->in) & 1)
		guest_end(w, guest);
	return did(0);
}

void world_free(struct world *w)
{
	const bool at_once = w->hash & 1; /* nothing is given back then */

	replay_end(w);
	for (unsigned i = 0; i < HOSTS && at_once; i++)
		if (w->hosts[i])
			pgste_host_ends(w->hosts[i]);
	for (unsigned i = 0; i < GUESTS; i++)
		if (w->guests[i].g)
			guest_end(w, &w->guests[i]);
	for (unsigned i = 0; i < HOSTS; i++) {
		struct pgste_host_stats stats;

		if (!w->hosts[i])
			continue;
		pgste_host_get_stats(w->hosts[i], &stats);
		REQUIRE(at_once || stats.frames_free == stats.frames);
		REQUIRE(at_once || stats.swap_slots_free == stats.swap_slots);
		REQUIRE(at_once || !pgste_validate(w->hosts[i]));
		REQUIRE(pgste_host_free(w->hosts[i]) == PGSTE_OK);
	}
	REQUIRE(faults_nr_tables() == 0);
	free(w->before.at);
	free(w->after.at);
}
