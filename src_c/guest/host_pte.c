/* SPDX-License-Identifier: MIT */
/*
 * The host's page table as callers see and change it: arguments are checked, and frees that the
 * mechanism holds back are issued first.  memory/host_pte.c does the work.
 */
#include "guest/guest.h"

#define NAME(NAME, name) name,
static const char *const revisions[] = { PGSTE_REVISIONS(NAME) };
static const char *const rewrites[] = { PGSTE_REWRITES(NAME) };
#undef NAME

const char *pgste_revision_name(unsigned i)
{
	return i < PGSTE_NR_REVISIONS ? revisions[i] : NULL;
}

const char *pgste_rewrite_name(unsigned i)
{
	return i < PGSTE_NR_REWRITES ? rewrites[i] : NULL;
}

const char *pgste_host_pte_stats_name(unsigned i)
{
#define NAME(field) #field,
	static const char *const names[] = { PGSTE_HOST_PTE_STATS(NAME) };
#undef NAME

	return i < sizeof(names) / sizeof(*names) ? names[i] : NULL;
}

void pgste_host_pte_get_stats(const struct pgste_guest *guest,
			      struct pgste_host_pte_stats *stats)
{
	*stats = guest->mm.two.counts.stats;
}

int pgste_get_host_ptes(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
			uint64_t *words)
{
	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	for (uint64_t gfn, i = 0; i < gfns->nr; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		if (!gfn_get(gfns, i, guest->mm.nr_pages, &gfn))
			return PGSTE_E_CHANGED;
		words[i] = host_word(&guest->mm, gfn);
	}
	return PGSTE_OK;
}

int pgste_set_host_ptes(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			const uint64_t *words, unsigned step)
{
	if (!guest->mm.two.bits || !words || step > 1)
		return PGSTE_E_ARG;
	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	guest_settle(guest);
	for (uint64_t gfn, i = 0; i < gfns->nr; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		if (!gfn_get(gfns, i, guest->mm.nr_pages, &gfn))
			return PGSTE_E_CHANGED;
		host_load(&guest->mm, gfn, READ_ONCE(words[step ? i : 0]));
	}
	return PGSTE_OK;
}

int64_t pgste_notifier_unmap(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			     enum pgste_rewrite rewrite)
{
	int64_t unmapped = 0;

	if (!guest->mm.two.bits || rewrite >= PGSTE_NR_REWRITES)
		return PGSTE_E_ARG;
	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	guest_settle(guest);
	for (uint64_t gfn, i = 0; i < gfns->nr; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		if (!gfn_get(gfns, i, guest->mm.nr_pages, &gfn))
			return PGSTE_E_CHANGED;
		unmapped += host_notified(&guest->mm, gfn, rewrite);
	}
	return unmapped;
}

int pgste_hold_host_locks(struct pgste_guest *guest, const struct pgste_gfns *gfns, bool on)
{
	struct two_tables *two = &guest->mm.two;

	if (!two->bits)
		return PGSTE_E_ARG;
	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	if (!two->held)
		two->held = table_new(held_bytes(&guest->mm));
	if (!two->held)
		return PGSTE_E_NOMEM;
	for (uint64_t gfn, i = 0; i < gfns->nr; i++) {
		uint64_t table, bit;

		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		if (!gfn_get(gfns, i, guest->mm.nr_pages, &gfn))
			return PGSTE_E_CHANGED;
		table = gfn / PGSTE_LOCK_PAGES;
		bit = UINT64_C(1) << table % 64;
		two->held[table / 64] = on ? two->held[table / 64] | bit :
					     two->held[table / 64] & ~bit;
	}
	return PGSTE_OK;
}

int pgste_set_contention(struct pgste_guest *guest, uint64_t rate)
{
	if (!guest->mm.two.bits || rate > UINT64_C(1) << 32)
		return PGSTE_E_ARG;
	guest->mm.two.rate = rate;
	guest->mm.two.counts.tried = 0;
	return PGSTE_OK;
}
