/* SPDX-License-Identifier: MIT */
/*
 * Questions about memory slots against arrays that are filled slot by slot: which host page a
 * guest page is, which guest page a host page, which pages come next, which blocks are covered.
 */
#include <stdlib.h>

#include "check.h"
#include "guest/guest.h"

#define PAGES 200u
#define HOST_PAGES 1000u

static uint64_t host_of[PAGES], guest_at[HOST_PAGES];

static unsigned random_below(unsigned n)
{
	return (unsigned)rand() % n;
}

static void forget(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		host_of[i] = PGSTE_NO_HOST_PAGE;
	for (unsigned i = 0; i < HOST_PAGES; i++)
		guest_at[i] = PGSTE_NO_HOST_PAGE;
}

static void note(const struct pgste_slot *slot)
{
	for (uint64_t i = 0; i < slot->pages; i++) {
		host_of[slot->base + i] = slot->host + i;
		guest_at[slot->host + i] = slot->base + i;
	}
}

static bool covered(uint64_t gfn, uint64_t nr)
{
	for (uint64_t i = gfn; i < gfn + nr; i++)
		if (i >= PAGES || host_of[i] == PGSTE_NO_HOST_PAGE)
			return false;
	return true;
}

static void check_lookups(const struct pgste_guest *guest)
{
	const struct memslots *slots = &guest->slots;

	for (uint64_t gfn = 0; gfn < PAGES + 5; gfn++) {
		uint64_t next = gfn, end = 0, first = gfn;
		bool found;

		CHECK(slot_host_gfn(guest, gfn) ==
		      (gfn < PAGES ? host_of[gfn] : PGSTE_NO_HOST_PAGE));
		while (first < PAGES && host_of[first] == PGSTE_NO_HOST_PAGE)
			first++;
		found = memslots_next(slots, &next, &end);
		CHECK(found == (first < PAGES));
		if (found) {
			CHECK(next == first);
			CHECK(covered(next, end - next) && !covered(next, end - next + 1));
		}
		for (uint64_t nr = 0; nr < 20; nr++)
			CHECK(memslots_cover(slots, gfn, nr) == (nr == 0 || covered(gfn, nr)));
	}
	for (uint64_t page = 0; page < HOST_PAGES; page++)
		CHECK(slot_guest_gfn(guest, page) == guest_at[page]);
	CHECK(slot_guest_gfn(guest, PGSTE_MAX_HOST_PAGE - 1) == PGSTE_NO_HOST_PAGE);
}

static void fill(struct pgste_guest *guest)
{
	for (unsigned tries = 0; tries < 20; tries++) {
		struct pgste_slot slot = { .base = random_below(PAGES),
					   .pages = 1 + random_below(30),
					   .host = random_below(HOST_PAGES - 30) };
		const int error = pgste_slot_add(guest, &slot);

		CHECK(error == PGSTE_OK || error == PGSTE_E_KVM_EXIST ||
		      error == PGSTE_E_KVM_INVAL || error == PGSTE_E_ARG);
		if (!error)
			note(&slot);
	}
}

int main(void)
{
	const struct pgste_host_config memory = { .nr_frames = 1, .high = 1, .batch = 1 };
	struct pgste_host *host;

	CHECK(pgste_host_new(&memory, &host) == PGSTE_OK);
	for (unsigned round = 0; round < 50; round++) {
		const struct pgste_slot none = { 0 };
		const struct pgste_guest_config config = {
			.nr_pages = PAGES, .mechanism = "cmma", .nr_vcpus = 1, .cbrl_entries = 1,
			.slots = &none,
		};
		struct pgste_guest *guest;

		CHECK(pgste_guest_new(host, &config, &guest) == PGSTE_OK);
		forget();
		check_lookups(guest);
		fill(guest);
		check_lookups(guest);
		pgste_guest_free(guest);
	}
	pgste_host_free(host);
	return checks_failed();
}
