/* SPDX-License-Identifier: MIT */
/* The memory slots that a guest has to have, told without the library, and calls about them. */
#include "api.h"

#define NO_SLOT UINT32_MAX

static const struct pgste_slot *slot_at(const struct guest *guest, uint64_t gfn)
{
	for (unsigned i = 0; i < guest->nr_slots; i++)
		if (gfn >= guest->slots[i].base &&
		    gfn - guest->slots[i].base < guest->slots[i].pages)
			return &guest->slots[i];
	return NULL;
}

bool present(const struct guest *guest, uint64_t gfn, uint64_t nr)
{
	while (nr) {
		const struct pgste_slot *slot = slot_at(guest, gfn);
		uint64_t left;

		if (!slot)
			return false;
		left = slot->base + slot->pages - gfn;
		left = left < nr ? left : nr;
		gfn += left;
		nr -= left;
	}
	return true;
}

bool all_present(const struct guest *guest, const struct gfns *gfns, uint64_t nr)
{
	if (!gfns->values && nr == 1)
		return present(guest, gfns->arg.first, gfns->arg.nr);
	for (uint64_t i = 0; i < gfns->arg.nr; i++)
		if (!present(guest, gfn_of(gfns, i), nr))
			return false;
	return true;
}

/* ---- what KVM says ---- */

static bool overlaps(const struct guest *guest, uint64_t base, uint64_t pages, uint32_t but)
{
	for (unsigned i = 0; i < guest->nr_slots; i++) {
		const struct pgste_slot *s = &guest->slots[i];

		if (s->id != but && base < s->base + s->pages && s->base < base + pages)
			return true;
	}
	return false;
}

static bool host_overlaps(const struct guest *guest, uint64_t host, uint64_t pages)
{
	for (unsigned i = 0; i < guest->nr_slots; i++) {
		const struct pgste_slot *s = &guest->slots[i];

		if (host < s->host + s->pages && s->host < host + pages)
			return true;
	}
	return false;
}

static int place_error(const struct guest *guest, uint64_t base, uint64_t pages, uint32_t but)
{
	if (!pages || pages >= PGSTE_MAX_HOST_PAGE || base >= PGSTE_MAX_HOST_PAGE)
		return PGSTE_E_KVM_INVAL;
	if (overlaps(guest, base, pages, but))
		return PGSTE_E_KVM_EXIST;
	return base + pages > guest->nr_pages ? PGSTE_E_KVM_INVAL : PGSTE_OK;
}

static struct pgste_slot *by_id(struct guest *guest, uint32_t id)
{
	for (unsigned i = 0; i < guest->nr_slots; i++)
		if (guest->slots[i].id == id)
			return &guest->slots[i];
	return NULL;
}

int slots_add(struct guest *guest, struct pgste_slot *slot)
{
	int error = place_error(guest, slot->base, slot->pages, NO_SLOT);

	if (!error && (slot->host > PGSTE_MAX_HOST_PAGE - slot->pages ||
		       host_overlaps(guest, slot->host, slot->pages)))
		error = PGSTE_E_ARG;
	if (error)
		return error;
	for (slot->id = 0; by_id(guest, slot->id);)
		slot->id++;
	guest->slots[guest->nr_slots++] = *slot;
	return PGSTE_OK;
}

/* The library has just these, in order. */
void check_slots(const struct guest *guest)
{
	struct pgste_slot slots[MOST_SLOTS];
	const uint32_t nr = pgste_slots(guest->g, slots, MOST_SLOTS);

	REQUIRE(nr == guest->nr_slots && pgste_slots(guest->g, NULL, 0) == nr);
	for (uint32_t i = 0; i < nr; i++) {
		const struct pgste_slot *s = by_id((struct guest *)guest, slots[i].id);

		REQUIRE(s && s->base == slots[i].base && s->pages == slots[i].pages &&
			s->host == slots[i].host && s->log_dirty == slots[i].log_dirty);
		REQUIRE(!i || slots[i - 1].base < slots[i].base);
	}
}

/* ---- slots from the input ---- */

static struct pgste_slot take_slot(struct world *w, uint64_t nr_pages)
{
	static const uint64_t far[] = { 0, 1, 1000, PGSTE_MAX_HOST_PAGE - 8 };
	const uint8_t form = take_byte(&w->in);
	struct pgste_slot slot = { .log_dirty = form & 1, .id = 99 };
	const uint64_t quarter = nr_pages / 4 + 1;

	slot.base = form & 2 ? (form >> 6) * quarter : take_byte(&w->in) % (nr_pages + 2);
	slot.pages = form & 4 ? quarter - 1 : take_byte(&w->in) % (nr_pages + 2);
	slot.host = slot.base + far[form >> 3 & 3];
	if (form == 255)
		slot.pages = take_time(w);
	else if (form == 254)
		slot.base = take_time(w);
	else if (form == 253)
		slot.host = take_time(w);
	return slot;
}

unsigned take_slots(struct world *w, uint64_t nr_pages, struct pgste_slot *slots)
{
	const unsigned nr = take_byte(&w->in) % 5;

	/* of a guest that is refused for its size, any will do */
	for (unsigned i = 0; i < nr; i++)
		slots[i] = take_slot(w, nr_pages < PGSTE_MAX_PAGES ? nr_pages : 8);
	return nr;
}

/* ---- calls ---- */

static struct outcome add(struct world *w, struct guest *guest)
{
	struct pgste_slot slot = take_slot(w, guest->nr_pages), expected = slot;
	struct guest after = *guest;
	int64_t result;
	int error = PGSTE_E_KVM_NXIO;

	if (guest->nr_slots == MOST_SLOTS)
		return NOTHING;
	if (is_kvm(guest))
		error = slots_add(&after, &expected);
	result = CALL(w, pgste_slot_add(guest->g, &slot));
	REQUIRE(result == error || ended_early(w, result));
	REQUIRE(result || slot.id == expected.id);
	if (!result)
		*guest = after;
	REQUIRE(result || slot.log_dirty || !pgste_get_migration(guest->g));
	check_slots(guest);
	return did(result);
}

static uint32_t take_id(struct world *w, const struct guest *guest)
{
	const uint8_t byte = take_byte(&w->in);

	if (!guest->nr_slots || byte >= 240)
		return byte == 255 ? UINT32_MAX : byte;
	return guest->slots[byte % guest->nr_slots].id;
}

static struct outcome move(struct world *w, struct guest *guest)
{
	const uint32_t id = take_id(w, guest);
	const uint8_t form = take_byte(&w->in);
	const uint64_t base = form < 240 ? form % (guest->nr_pages + 2) : take_time(w);
	struct pgste_slot *slot = by_id(guest, id);
	int64_t result;
	int error = PGSTE_E_KVM_NXIO;

	if (is_kvm(guest))
		error = slot ? place_error(guest, base, slot->pages, id) : PGSTE_E_KVM_INVAL;
	result = CALL(w, pgste_slot_move(guest->g, id, base));
	REQUIRE(result == error || ended_early(w, result));
	if (!result && slot)
		slot->base = base;
	check_slots(guest);
	return did(result);
}

static struct outcome delete(struct world *w, struct guest *guest)
{
	const uint32_t id = take_id(w, guest);
	struct pgste_slot *slot = by_id(guest, id);
	const int64_t result = CALL(w, pgste_slot_delete(guest->g, id));

	if (!is_kvm(guest))
		REQUIRE(result == PGSTE_E_KVM_NXIO);
	else
		REQUIRE(result == (slot ? PGSTE_OK : PGSTE_E_KVM_INVAL) || ended_early(w, result));
	if (!result && slot)
		*slot = guest->slots[--guest->nr_slots];
	check_slots(guest);
	return did(result);
}

static struct outcome log_dirty(struct world *w, struct guest *guest)
{
	const uint32_t id = take_id(w, guest);
	const bool on = take_byte(&w->in) & 1;
	struct pgste_slot *slot = by_id(guest, id);
	const int64_t result = CALL(w, pgste_slot_log(guest->g, id, on));

	if (!is_kvm(guest))
		REQUIRE(result == PGSTE_E_KVM_NXIO);
	else
		REQUIRE(result == (slot ? PGSTE_OK : PGSTE_E_KVM_INVAL));
	if (!result && slot)
		slot->log_dirty = on;
	REQUIRE(result || on || !pgste_get_migration(guest->g));
	check_slots(guest);
	return did(result);
}

static struct outcome look(struct world *w, struct guest *guest)
{
	struct gfns gfns = take_gfns(w, guest, 0);
	uint64_t *hosts = block_of_size(gfns.nr * sizeof(*hosts)), bad;
	const int64_t result = CALL(w, pgste_host_gfns(guest->g, &gfns.arg, hosts));

	if (!all_below(&gfns, guest->nr_pages))
		REQUIRE(result == PGSTE_E_GFN);
	else
		REQUIRE(result == PGSTE_OK || ended_early(w, result));
	for (uint64_t i = 0; !result && i < gfns.nr; i++) {
		const struct pgste_slot *slot = slot_at(guest, gfn_of(&gfns, i));

		REQUIRE(hosts[i] == (slot ? slot->host + (gfn_of(&gfns, i) - slot->base) :
					    PGSTE_NO_HOST_PAGE));
	}
	if (all_below(&gfns, guest->nr_pages))
		REQUIRE(pgste_slots_cover(guest->g, &gfns.arg, 1, &bad) ==
			all_present(guest, &gfns, 1));
	free(hosts);
	gfns_free(&gfns);
	return looked(result);
}

struct outcome call_slots(struct world *w)
{
	struct guest *guest = take_guest(w);

	if (!guest)
		return NOTHING;
	switch (take_byte(&w->in) % 8) {
	case 0: case 1: return add(w, guest);
	case 2: case 3: return move(w, guest);
	case 4: return delete(w, guest);
	case 5: return log_dirty(w, guest);
	default: return look(w, guest);
	}
}
