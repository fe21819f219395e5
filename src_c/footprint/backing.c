/* SPDX-License-Identifier: MIT */
/*
 * Host memory behind the guest's pages, anonymous and private: pages of 4 KiB, or transparent
 * huge pages (mm/huge_memory.c).  The first touch of an empty place maps a folio there.  Discarding
 * a part of one splits its mapping, and its memory stays until none of its pages is mapped; from
 * then on pages come one by one, as the page table is there.  Nothing collapses them again.
 */
#include "footprint/footprint.h"

int backing_new(struct backing *b, uint8_t *pages, uint64_t nr_pages, unsigned order)
{
	b->pages = pages;
	b->order = order;
	if (!order)
		return PGSTE_OK;
	b->nr_places = nr_pages >> order;
	b->places = table_new(b->nr_places * sizeof(*b->places));
	return b->places ? PGSTE_OK : PGSTE_E_NOMEM;
}

void backing_counts(struct backing *b, uint64_t page)
{
	if (b->places)
		b->places[page >> b->order].counted++;
}

void backing_free(struct backing *b)
{
	table_free(b->places, b->nr_places * sizeof(*b->places));
}

void backing_touch(struct backing *b, uint64_t page)
{
	struct place *place = b->places ? &b->places[page >> b->order] : NULL;

	if (b->pages[page] & (FP_MAPPED | FP_PART) || (place && place->state == PLACE_FOLIO))
		return;
	b->result->faults++;
	if (place && place->state == PLACE_EMPTY) {
		place->state = PLACE_FOLIO;
		b->held += place->counted;
		return;
	}
	/* it counts: a page that does not is never free, and so never touched */
	b->pages[page] |= FP_MAPPED;
	b->held++;
}

static void folio_goes(struct backing *b, struct place *place, enum place_state state)
{
	place->state = state;
	b->held -= place->counted;
	b->result->given += place->counted;
}

static void folio_splits(struct backing *b, struct place *place, uint64_t number)
{
	const uint64_t first = number << b->order, size = UINT64_C(1) << b->order;

	b->result->splits++;
	place->state = PLACE_PARTS;
	place->mapped = (uint32_t)size;
	for (uint64_t page = first; page < first + size; page++)
		b->pages[page] |= FP_PART;
}

void backing_take(struct backing *b, uint64_t page)
{
	uint8_t *bits = &b->pages[page];
	struct place *place;

	if (*bits & FP_MAPPED) {
		*bits &= (uint8_t)~FP_MAPPED;
		b->held--;
		b->result->given++;
	}
	if (*bits & FP_PART) {
		*bits &= (uint8_t)~FP_PART;
		place = &b->places[page >> b->order];
		if (!--place->mapped)
			folio_goes(b, place, PLACE_TABLE);
	}
}

void backing_discard(struct backing *b, uint64_t first, uint64_t nr)
{
	const uint64_t end = first + nr, size = UINT64_C(1) << b->order;
	uint64_t next;

	b->result->discards++;
	for (uint64_t page = first; page < end; page = next) {
		struct place *place = b->places ? &b->places[page >> b->order] : NULL;

		next = place ? min_u64((page | (size - 1)) + 1, end) : end;
		if (place && place->state == PLACE_EMPTY)
			continue;
		if (place && place->state == PLACE_FOLIO) {
			if (next - page == size) {
				folio_goes(b, place, PLACE_EMPTY);
				continue;
			}
			folio_splits(b, place, page >> b->order);
		}
		for (; page < next; page++)
			backing_take(b, page);
	}
}
