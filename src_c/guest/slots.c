/* SPDX-License-Identifier: MIT */
/*
 * Memory slots come, move and go: KVM's checks in KVM's order (__kvm_set_memory_region,
 * kvm_arch_prepare_memory_region), what that does to migration mode and the CMMA log, and what
 * becomes of the pages.
 *
 * Memory belongs to the host's addresses.  So a slot that moves takes its pages along, and one
 * that is deleted leaves them where they are, for a slot that may come back to the same
 * addresses.  In pgtable the PGSTEs lie with the host's PTEs; in dat they belong to the guest's
 * tables, and stay at their gfns or are freed with a table.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/cmma_log.h"
#include "guest/paths.h"
#include "guest/slots.h"
#include "memory/key.h"

/* ---- the array ---- */

static bool make_room(struct pgste_slot **at, uint32_t nr, uint32_t *room)
{
	const uint32_t wanted = *room ? 2 * *room : 8;
	struct pgste_slot *more;

	if (nr < *room)
		return true;
	more = realloc(*at, wanted * sizeof(**at));
	if (!more)
		return false;
	*at = more;
	*room = wanted;
	return true;
}

static void insert(struct memslots *slots, const struct pgste_slot *slot)
{
	const uint32_t i = memslots_above(slots, slot->base);

	memmove(&slots->at[i + 1], &slots->at[i], (slots->nr - i) * sizeof(*slots->at));
	slots->at[i] = *slot;
	slots->nr++;
}

static void take_out(struct memslots *slots, uint32_t i)
{
	slots->nr--;
	memmove(&slots->at[i], &slots->at[i + 1], (slots->nr - i) * sizeof(*slots->at));
}

/* After every change of the slots. */
static void settle(struct pgste_guest *guest)
{
	const struct memslots *slots = &guest->slots;

	guest->slots.whole = slots->nr == 1 && slots->at[0].base == 0 &&
			     slots->at[0].pages == guest->mm.nr_pages;
	guest->list_misses = false;
	for (uint32_t i = 0; i < slots->nr; i++)
		guest->list_misses |= guest->mm.two.revision == PGSTE_REVISION_7_0 &&
				      slots->at[i].host != slots->at[i].base;
	guest_set_paths(guest);
}

/* The place of a slot in the array; nr if no slot has the id. */
static uint32_t place_of(const struct memslots *slots, uint32_t id)
{
	uint32_t i = 0;

	while (i < slots->nr && slots->at[i].id != id)
		i++;
	return i;
}

static uint32_t lowest_free_id(const struct memslots *slots)
{
	uint64_t used[PGSTE_MAX_SLOTS / 64 + 1] = { 0 };
	uint32_t word = 0;

	for (uint32_t i = 0; i < slots->nr; i++)
		used[slots->at[i].id / 64] |= UINT64_C(1) << slots->at[i].id % 64;
	while (!~used[word]) /* at most PGSTE_MAX_SLOTS ids are used */
		word++;
	return word * 64 + (uint32_t)__builtin_ctzll(~used[word]);
}

/* ---- pages ---- */

static void forget_pgste(struct pgste_guest *guest, uint64_t gfn)
{
	guest->mm.state[gfn] &= PGSTE_STATE_VALID | PGSTE_STATE_SWAP;
	rest_set(&guest->mm, gfn, 0);
	if (guest->odd)
		guest->odd[gfn] = 0;
}

/* A page that was never used is not written: its memory stays untouched. */
static bool has_pgste(const struct pgste_guest *guest, uint64_t gfn)
{
	return guest->mm.state[gfn] || guest->mm.rest[gfn] || (guest->odd && guest->odd[gfn]);
}

/* Other memory of the host comes to these pages: what was there is none of the guest's now. */
static void renew_pages(struct pgste_guest *guest, uint64_t gfn, uint64_t nr)
{
	for (const uint64_t end = gfn + nr; gfn < end; gfn++) {
		if (guest->mm.pte[gfn] || guest->mm.state[gfn])
			pte_drop(&guest->mm, gfn);
		if (guest->mm.generation != PGSTE_GEN_DAT && has_pgste(guest, gfn))
			forget_pgste(guest, gfn);
	}
}

/*
 * dat_set_slot, when a slot comes and when it goes: tables of pages that are all in it are freed.
 * Of other tables its pages lose their PTEs and keep their PGSTEs, but for CMMA_D since the fix.
 */
static void tables_change(struct pgste_guest *guest, uint64_t gfn, uint64_t nr)
{
	const uint64_t end = gfn + nr;
	const uint64_t whole = (gfn + TABLE_PAGES - 1) & ~(TABLE_PAGES - 1);
	const uint64_t whole_end = end & ~(TABLE_PAGES - 1);

	for (; gfn < end; gfn++) {
		if (!guest->mm.pte[gfn] && !has_pgste(guest, gfn))
			continue;
		pte_forget(&guest->mm, gfn);
		if (gfn >= whole && gfn < whole_end) {
			forget_pgste(guest, gfn);
			continue;
		}
		guest->mm.rest[gfn] &= (uint16_t)~REST_DAT_SD;
		if (guest->log_revision == PGSTE_LOG_DAT_NEW)
			guest->mm.state[gfn] &= (uint8_t)~PGSTE_STATE_DIRTY;
	}
}

/* The guest's tables for these pages go (dat), or the bitmap of the slot (pgtable). */
static void leave_pages(struct pgste_guest *guest, uint64_t gfn, uint64_t nr)
{
	if (guest->mm.generation == PGSTE_GEN_DAT)
		tables_change(guest, gfn, nr);
	else
		for (const uint64_t end = gfn + nr; gfn < end; gfn++)
			guest->mm.state[gfn] &= (uint8_t)~PGSTE_STATE_DIRTY;
}

/* ---- slots that are gone ---- */

/*
 * Take the pages of a slot out of those that are gone; room for one more was made.  Pages stay
 * as they are if they are to be at the same host pages again.
 */
static void gone_cut(struct pgste_guest *guest, const struct pgste_slot *by)
{
	struct memslots *slots = &guest->slots;
	const uint64_t base = by->base, end = by->base + by->pages;

	for (uint32_t i = 0; i < slots->nr_gone;) {
		struct pgste_slot was = slots->gone[i];
		const uint64_t was_end = was.base + was.pages;
		const uint64_t from = was.base > base ? was.base : base;
		const uint64_t to = min_u64(was_end, end);

		if (from >= to) {
			i++;
			continue;
		}
		if (was.host - was.base != by->host - by->base)
			renew_pages(guest, from, to - from);
		slots->gone[i] = slots->gone[--slots->nr_gone];
		if (was.base < from) {
			slots->gone[slots->nr_gone] = was;
			slots->gone[slots->nr_gone++].pages = from - was.base;
		}
		if (to < was_end) {
			was.host += to - was.base;
			was.base = to;
			was.pages = was_end - to;
			slots->gone[slots->nr_gone++] = was;
		}
		/* what was put behind does not overlap any more */
	}
}

/* ---- KVM's checks ---- */

static bool overlaps(const struct memslots *slots, uint64_t base, uint64_t pages, uint32_t but)
{
	for (uint32_t i = memslots_above(slots, base);
	     i < slots->nr && slots->at[i].base < base + pages; i++)
		if (slots->at[i].id != but)
			return true;
	return false;
}

static bool host_overlaps(const struct memslots *slots, uint64_t host, uint64_t pages)
{
	for (uint32_t i = 0; i < slots->nr; i++)
		if (host < slots->at[i].host + slots->at[i].pages &&
		    slots->at[i].host < host + pages)
			return true;
	return false;
}

/* The arguments alone; no sum of theirs can wrap after it. */
static bool sane(uint64_t base, uint64_t pages)
{
	return pages >= 1 && pages < PGSTE_MAX_HOST_PAGE && base < PGSTE_MAX_HOST_PAGE;
}

static bool beyond(const struct pgste_guest *guest, uint64_t base, uint64_t pages)
{
	return base + pages > guest->mm.nr_pages;
}

static int check_new(const struct pgste_guest *guest, const struct pgste_slot *slot)
{
	const struct memslots *slots = &guest->slots;

	if (!sane(slot->base, slot->pages) || slots->nr >= PGSTE_MAX_SLOTS)
		return PGSTE_E_KVM_INVAL;
	if (overlaps(slots, slot->base, slot->pages, UINT32_MAX))
		return PGSTE_E_KVM_EXIST;
	if (beyond(guest, slot->base, slot->pages))
		return PGSTE_E_KVM_INVAL;
	if (slot->host > PGSTE_MAX_HOST_PAGE - slot->pages ||
	    host_overlaps(slots, slot->host, slot->pages))
		return PGSTE_E_ARG;
	return PGSTE_OK;
}

/* Migration mode needs dirty logging of every slot; a slot without it ends the mode. */
static void may_stop_migration(struct pgste_guest *guest, const struct pgste_slot *slot)
{
	if (guest->migration && !slot->log_dirty)
		pgste_stop_migration(guest);
}

/* ---- calls ---- */

/* The caller sees to the id, and settles. */
static int add(struct pgste_guest *guest, const struct pgste_slot *slot)
{
	struct memslots *slots = &guest->slots;
	const int error = check_new(guest, slot);

	if (error)
		return error;
	if (!make_room(&slots->at, slots->nr, &slots->room) ||
	    !make_room(&slots->gone, slots->nr_gone + 1, &slots->room_gone))
		return PGSTE_E_NOMEM;
	guest_settle(guest);
	may_stop_migration(guest, slot);
	gone_cut(guest, slot);
	insert(slots, slot);
	return PGSTE_OK;
}

int pgste_slot_add(struct pgste_guest *guest, struct pgste_slot *slot)
{
	struct pgste_slot new = *slot;
	int error;

	if (guest->mm.generation == PGSTE_GEN_ZVM)
		return PGSTE_E_KVM_NXIO;
	new.id = lowest_free_id(&guest->slots);
	error = add(guest, &new);
	if (error)
		return error;
	slot->id = new.id;
	settle(guest);
	if (guest->mm.generation == PGSTE_GEN_DAT)
		tables_change(guest, slot->base, slot->pages);
	return PGSTE_OK;
}

int pgste_slot_delete(struct pgste_guest *guest, uint32_t id)
{
	struct memslots *slots = &guest->slots;
	const uint32_t i = place_of(slots, id);

	if (guest->mm.generation == PGSTE_GEN_ZVM)
		return PGSTE_E_KVM_NXIO;
	if (i == slots->nr)
		return PGSTE_E_KVM_INVAL;
	if (!make_room(&slots->gone, slots->nr_gone + 1, &slots->room_gone))
		return PGSTE_E_NOMEM;
	guest_settle(guest);
	log_slot_goes(guest, &slots->at[i]);
	leave_pages(guest, slots->at[i].base, slots->at[i].pages);
	slots->gone[slots->nr_gone++] = slots->at[i];
	take_out(slots, i);
	settle(guest);
	return PGSTE_OK;
}

/* Bits of PGSTEs that no kernel defines go with the words that they are of. */
static void move_odd(struct pgste_guest *guest, uint64_t from, uint64_t to, uint64_t nr)
{
	memmove(guest->odd + to, guest->odd + from, nr * sizeof(*guest->odd));
	for (uint64_t gfn = from; gfn < from + nr; gfn++)
		if (gfn - to >= nr)
			guest->odd[gfn] = 0;
}

int pgste_slot_move(struct pgste_guest *guest, uint32_t id, uint64_t base)
{
	struct memslots *slots = &guest->slots;
	const uint32_t i = place_of(slots, id);
	struct pgste_slot slot;
	uint64_t from;

	if (guest->mm.generation == PGSTE_GEN_ZVM)
		return PGSTE_E_KVM_NXIO;
	if (i == slots->nr || !sane(base, slots->at[i].pages))
		return PGSTE_E_KVM_INVAL;
	slot = slots->at[i];
	from = slot.base;
	if (base == from)
		return PGSTE_OK;
	if (overlaps(slots, base, slot.pages, id))
		return PGSTE_E_KVM_EXIST;
	if (beyond(guest, base, slot.pages))
		return PGSTE_E_KVM_INVAL;
	if (!make_room(&slots->gone, slots->nr_gone + 1, &slots->room_gone))
		return PGSTE_E_NOMEM;
	guest_settle(guest);
	may_stop_migration(guest, &slot);
	log_slot_goes(guest, &slot);
	if (guest->mm.generation == PGSTE_GEN_DAT)
		leave_pages(guest, from, slot.pages);
	take_out(slots, i);
	slot.base = base;
	gone_cut(guest, &slot);
	if (base < from)
		renew_pages(guest, base, min_u64(slot.pages, from - base));
	else
		renew_pages(guest, base + slot.pages - min_u64(slot.pages, base - from),
			    min_u64(slot.pages, base - from));
	mm_move(&guest->mm, from, base, slot.pages);
	if (guest->mm.generation == PGSTE_GEN_DAT)
		tables_change(guest, base, slot.pages);
	else if (guest->odd)
		move_odd(guest, from, base, slot.pages);
	insert(slots, &slot);
	settle(guest);
	return PGSTE_OK;
}

int pgste_slot_log(struct pgste_guest *guest, uint32_t id, bool on)
{
	const uint32_t i = place_of(&guest->slots, id);

	if (guest->mm.generation == PGSTE_GEN_ZVM)
		return PGSTE_E_KVM_NXIO;
	if (i == guest->slots.nr)
		return PGSTE_E_KVM_INVAL;
	guest->slots.at[i].log_dirty = on;
	may_stop_migration(guest, &guest->slots.at[i]);
	return PGSTE_OK;
}

/* ---- life ---- */

int slots_init(struct pgste_guest *guest, const struct pgste_guest_config *config)
{
	struct pgste_slot all = { .pages = guest->mm.nr_pages, .log_dirty = true };
	int error = PGSTE_OK;

	if (guest->mm.generation == PGSTE_GEN_ZVM || !config->slots) {
		if (!make_room(&guest->slots.at, 0, &guest->slots.room))
			return PGSTE_E_NOMEM;
		insert(&guest->slots, &all);
	}
	for (uint32_t i = 0; config->slots && i < config->nr_slots && !error; i++) {
		struct pgste_slot slot = config->slots[i];

		slot.id = i;
		error = add(guest, &slot);
	}
	settle(guest);
	return error;
}

void slots_exit(struct pgste_guest *guest)
{
	free(guest->slots.at);
	free(guest->slots.gone);
}
