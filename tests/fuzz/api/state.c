/* SPDX-License-Identifier: MIT */
/*
 * Everything that the public interface shows of the world, as bytes that can be compared.
 * Structs with gaps are put field by field.
 */
#include "api.h"

#define SOME 64u /* blocks of a list that are looked at */

/* Room for a result at the end, which is written in place. */
static void *put_room(struct bytes *to, size_t nr_bytes)
{
	if (to->size + nr_bytes > to->room) {
		to->room = 2 * (to->size + nr_bytes);
		to->at = realloc(to->at, to->room);
		REQUIRE(to->at != NULL);
	}
	to->size += nr_bytes;
	return to->at + to->size - nr_bytes;
}

static void put(struct bytes *to, const void *from, size_t nr_bytes)
{
	void *room = put_room(to, nr_bytes);

	if (nr_bytes)
		memcpy(room, from, nr_bytes);
}

static void put_number(struct bytes *to, uint64_t number)
{
	put(to, &number, sizeof(number));
}

static void put_window(const struct guest *guest, uint64_t first, uint64_t nr, struct bytes *to)
{
	const struct pgste_gfns gfns = { .first = first, .nr = nr };
	uint64_t *words = malloc(2 * nr * sizeof(*words));
	uint32_t *tags = malloc(nr * sizeof(*tags));

	REQUIRE(words && tags);
	REQUIRE(pgste_get_words(guest->g, &gfns, words, words + nr) == PGSTE_OK);
	put(to, words, 2 * nr * sizeof(*words));
	REQUIRE(pgste_peek(guest->g, &gfns, tags) == PGSTE_OK);
	put(to, tags, nr * sizeof(*tags));
	REQUIRE(pgste_get_states(guest->g, &gfns, put_room(to, nr)) == PGSTE_OK);
	REQUIRE(pgste_get_free(guest->g, &gfns, put_room(to, nr)) == PGSTE_OK);
	free(words);
	free(tags);
}

static void put_pages(const struct guest *guest, struct bytes *to)
{
	const uint64_t nr = guest->nr_pages;

	if (nr <= WHOLE_PAGES) {
		put_window(guest, 0, nr, to);
		return;
	}
	put_window(guest, 0, 64, to);
	put_window(guest, nr < 4192 ? nr - 128 : 4064, 128, to); /* around the end of a chunk */
	put_window(guest, nr - 64, 64, to);
}

static void put_lists(const struct guest *guest, struct bytes *to)
{
	uint64_t list[PGSTE_CBRL_MAX];

	for (uint32_t v = 0; v < guest->config.nr_vcpus; v++) {
		const int64_t nr = pgste_cbrl(guest->g, v, list);

		REQUIRE(nr >= 0 && nr <= guest->config.cbrl_entries);
		for (int64_t i = 0; i < nr; i++)
			REQUIRE(list[i] < guest->nr_pages);
		put_number(to, (uint64_t)nr);
		put(to, list, (size_t)nr * sizeof(*list));
	}
}

static void put_blocks(const struct pgste_block *blocks, int64_t nr, struct bytes *to)
{
	REQUIRE(nr >= 0);
	put_number(to, (uint64_t)nr);
	for (int64_t i = 0; i < nr && i < SOME; i++) {
		put_number(to, blocks[i].gfn);
		put_number(to, blocks[i].order);
		put_number(to, blocks[i].reported);
	}
}

static void put_zone(const struct guest *guest, const struct pgste_reporting_zone *zone, uint32_t z,
		     struct bytes *to)
{
	struct pgste_block blocks[SOME];

	put_number(to, zone->first);
	put_number(to, zone->min);
	put_number(to, zone->low);
	put_number(to, zone->spare);
	for (unsigned t = 0; t < PGSTE_MIGRATETYPES; t++)
		for (unsigned o = 0; o <= PGSTE_MAX_ORDER; o++)
			put_blocks(blocks,
				   pgste_reporting_free_list(guest->g, z,
							     (enum pgste_migratetype)t, o,
							     blocks, SOME),
				   to);
}

static void put_reporting(const struct guest *guest, struct bytes *to)
{
	struct pgste_block blocks[SOME];
	struct pgste_reporting_state s;

	if (pgste_reporting_get_state(guest->g, &s))
		return;
	for (uint32_t z = 0; z < s.config.nr_zones; z++)
		put_zone(guest, &s.config.zones[z], z, to);
	for (uint64_t gfn = 0; gfn < guest->nr_pages && gfn < SOME * 4; gfn += 4)
		put_number(to, (uint64_t)pgste_reporting_type(guest->g, gfn));
	for (uint32_t v = 0; v < guest->config.nr_vcpus; v++)
		put_blocks(blocks, pgste_reporting_parked(guest->g, v, blocks, SOME), to);
	put_blocks(blocks, pgste_reporting_isolated(guest->g, blocks, SOME), to);
	put_number(to, s.config.order | (uint64_t)s.config.max_order << 8 |
		   (uint64_t)s.config.parked_order << 16 | (uint64_t)s.config.capacity << 24 |
		   (uint64_t)s.config.poison << 32 | (uint64_t)s.config.negotiated << 40 |
		   (uint64_t)s.config.inhibited << 41 | (uint64_t)s.status << 42);
	const uint64_t numbers[] = {
		s.config.parked_high, s.config.parked_batch, s.config.delay_ns, s.config.ack_ns,
		s.due_ns, s.pages_free, s.pages_parked, s.pages_isolated, s.blocks_isolated,
		s.passes, s.passes_skipped, s.blocks_reported,
	};

	put(to, numbers, sizeof(numbers));
}

/* What the guest and its slots have of a page more: its key, and the host's own PTE. */
static void put_more(const struct guest *guest, uint64_t first, uint64_t nr, struct bytes *to)
{
	const struct pgste_gfns gfns = { .first = first, .nr = nr };
	uint64_t words[64];

	REQUIRE(pgste_get_host_ptes(guest->g, &gfns, words) == PGSTE_OK);
	put(to, words, nr * sizeof(*words));
	REQUIRE(pgste_host_gfns(guest->g, &gfns, words) == PGSTE_OK);
	put(to, words, nr * sizeof(*words));
	for (uint64_t i = first; i < first + nr && pgste_uses_storage_keys(guest->g); i++) {
		const struct pgste_gfns one = one_page(i);
		uint8_t key = 0;
		const int error = pgste_get_storage_key(guest->g, &one, &key);

		if (!present(guest, i, 1))
			REQUIRE(error == (guest->opened ? error : PGSTE_E_PGM_ADDRESSING));
		else
			REQUIRE(!error || (error == PGSTE_E_STATE && guest->opened));
		put(to, &key, 1);
	}
}

static void put_slots(const struct guest *guest, struct bytes *to)
{
	struct pgste_slot slots[MOST_SLOTS];
	const uint32_t nr = pgste_slots(guest->g, slots, MOST_SLOTS);
	struct pgste_host_pte_stats stats;

	for (uint32_t i = 0; i < nr && i < MOST_SLOTS; i++) {
		put_number(to, slots[i].base);
		put_number(to, slots[i].pages);
		put_number(to, slots[i].host);
		put_number(to, slots[i].id | (uint64_t)slots[i].log_dirty << 32);
	}
	pgste_host_pte_get_stats(guest->g, &stats);
	put(to, &stats, sizeof(stats));
	put_number(to, pgste_cmma_dirty_count(guest->g));
	put_number(to, (uint64_t)pgste_notifications(guest->g, NULL, NULL, 0));
	put_number(to, (uint64_t)pgste_cmma_enabled(guest->g) |
		   (uint64_t)pgste_uses_storage_keys(guest->g) << 1 |
		   (uint64_t)pgste_allows_cow_sharing(guest->g) << 2);
}

static void put_guest(const struct guest *guest, struct bytes *to)
{
	const uint64_t nr = guest->nr_pages;
	struct pgste_guest_stats stats;

	put_pages(guest, to);
	put_more(guest, 0, nr < 64 ? nr : 64, to);
	put_more(guest, nr < 96 ? 0 : nr - 32, nr < 32 ? nr : 32, to);
	put_slots(guest, to);
	put_lists(guest, to);
	put_reporting(guest, to);
	pgste_guest_get_stats(guest->g, &stats);
	put(to, &stats, sizeof(stats));
	put_number(to, pgste_now(guest->g));
	put_number(to, pgste_get_migration(guest->g));
	put_number(to, pgste_guest_number(guest->g));
	REQUIRE(pgste_guest_pages(guest->g) == guest->nr_pages);
}

static void put_host(const struct pgste_host *host, struct bytes *to)
{
	struct pgste_host_stats stats;
	struct pgste_frame_info f;
	struct pgste_slot_info slot;
	struct pgste_generations gens;
	uint32_t list[1024];

	pgste_host_get_stats(host, &stats);
	put(to, &stats, sizeof(stats));
	for (uint64_t i = 0; i < stats.frames && i < 1024; i++) {
		REQUIRE(pgste_host_frame(host, i, &f) == PGSTE_OK);
		put_number(to, (uint64_t)f.list | (uint64_t)f.guest << 8 |
			   (uint64_t)f.referenced << 32 | (uint64_t)f.dirty << 33 |
			   (uint64_t)f.pinned << 34);
		put_number(to, f.gfn);
		put_number(to, f.tag | (uint64_t)f.slot << 32);
		REQUIRE(pgste_frame_key(host, &(struct pgste_gfns){ .first = i, .nr = 1 },
					put_room(to, 1)) == PGSTE_OK);
	}
	for (uint64_t i = 0; i < stats.swap_slots && i < 1024; i++) {
		REQUIRE(pgste_host_slot(host, i, &slot) == PGSTE_OK);
		put(to, &slot, sizeof(slot));
	}
	for (int l = PGSTE_LIST_ACTIVE; l < (int)PGSTE_NR_LISTS; l++) {
		const int64_t nr = pgste_host_list(host, (enum pgste_frame_list)l, list, 1024);

		REQUIRE(nr >= 0);
		put_number(to, (uint64_t)nr);
		put(to, list, (nr < 1024 ? (size_t)nr : 1024) * sizeof(*list));
	}
	if (pgste_host_generations(host, &gens) == PGSTE_OK)
		put(to, &gens, sizeof(gens));
}

void state_take(const struct world *w, struct bytes *to)
{
	to->size = 0;
	for (unsigned i = 0; i < HOSTS; i++)
		if (w->hosts[i])
			put_host(w->hosts[i], to);
	for (unsigned i = 0; i < GUESTS; i++)
		if (w->guests[i].g)
			put_guest(&w->guests[i], to);
}
