/* SPDX-License-Identifier: MIT */
/* Zaps that tell the swap entries which they gave up: zap.c notes them. */
#include "guest/guest.h"
#include "pgste/pte.h"
#include "pgste/scan.h"

static int64_t told(struct pgste_guest *guest, int64_t zapped)
{
	guest->entries = NULL;
	return zapped;
}

static bool tell_entries(struct pgste_guest *guest, struct pgste_entries *entries, uint64_t room)
{
	if (!entries || entries->room < room || (room && !entries->at))
		return false;
	entries->nr = 0;
	guest->entries = entries;
	return true;
}

int64_t pgste_intercept_entries(struct pgste_guest *guest, uint32_t vcpu,
				struct pgste_entries *entries)
{
	if (vcpu >= guest->nr_vcpus || !tell_entries(guest, entries, guest->vcpus[vcpu].nr))
		return PGSTE_E_ARG;
	return told(guest, pgste_intercept(guest, vcpu));
}

int64_t pgste_zap_entries(struct pgste_guest *guest, uint64_t gfn,
			  struct pgste_entries *entries)
{
	if (!tell_entries(guest, entries, 1))
		return PGSTE_E_ARG;
	return told(guest, pgste_zap(guest, gfn));
}

int64_t pgste_zap_scan_entries(struct pgste_guest *guest, unsigned threads,
			       struct pgste_entries *entries)
{
	guest_settle(guest); /* or more would be zappable */
	if (!tell_entries(guest, entries, pgste_count_zappable(guest, threads)))
		return PGSTE_E_ARG;
	return told(guest, pgste_zap_scan(guest, threads));
}
