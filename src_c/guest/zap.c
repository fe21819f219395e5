/* SPDX-License-Identifier: MIT */
/*
 * Zap: give up the swap entry of a page that the guest does not need (ptep_zap_unused in
 * pgtable, gmap_helper_zap_one_page in dat), of one page or of all.
 */
#include "guest/guest.h"
#include "memory/key.h"
#include "pgste/pte.h"

/* gmap_helper_zap_one_page goes without the lock's page if it is held; v7.0 waits for it. */
static bool zap_may(struct pgste_guest *guest, uint64_t gfn)
{
	return !guest->mm.two.bits || guest->mm.two.revision == PGSTE_REVISION_7_0 ||
	       host_trylock(&guest->mm, gfn);
}

/* The caller of a pgste_*_entries is alone with the guest, and left room. */
static void entry_note(struct pgste_entries *entries, uint64_t cold)
{
	if (entries->nr < entries->room)
		entries->at[entries->nr++] = (struct pgste_entry){
			.offset = cold >> PTE_PFRA_SHIFT,
			.type = (uint32_t)(cold & PTE_SWAP_TYPE) >> 2,
		};
}

/*
 * Zap a page that is swapped out, whatever its state, or if its state says so.  Of two vcpus that
 * try, one succeeds.  As in ptep_zap_unused nobody looks at its key meanwhile: in dat a key that
 * changes makes the PTE soft dirty.
 */
static unsigned zap_shared(struct pgste_guest *guest, uint64_t gfn, bool whatever,
			   uint64_t *slots_freed)
{
	const bool keys = guest->mm.extra & MM_SKEYS;
	const uint16_t rest = keys ? pgste_lock(&guest->mm, gfn) : 0;
	uint8_t state = __atomic_load_n(&guest->mm.state[gfn], __ATOMIC_RELAXED);
	bool may;

	do {
		may = whatever ? state & PGSTE_STATE_SWAP : state_zappable(state);
	} while (may && !pte_claim(&guest->mm, gfn, &state));
	if (may)
		*slots_freed += pte_zap_claimed(&guest->mm, gfn);
	if (keys)
		pgste_unlock(&guest->mm, gfn, rest);
	return may;
}

unsigned zap_entry(struct pgste_guest *guest, uint64_t gfn, uint64_t *slots_freed)
{
	const uint8_t state = __atomic_load_n(&guest->mm.state[gfn], __ATOMIC_RELAXED);

	if (!state_zappable(state) || !memslots_have(&guest->slots, gfn, 1) ||
	    !zap_may(guest, gfn))
		return 0; /* __gmap_zap, too, passes over what it cannot translate */
	if (guest->entries)
		entry_note(guest->entries, guest->mm.pte[gfn]);
	if (!guest->shared) {
		*slots_freed += pte_zap(&guest->mm, gfn);
		return 1;
	}
	return zap_shared(guest, gfn, false, slots_freed);
}

unsigned zap_swapped(struct pgste_guest *guest, uint64_t gfn, uint64_t *slots_freed)
{
	const uint8_t state = __atomic_load_n(&guest->mm.state[gfn], __ATOMIC_RELAXED);

	return state & PGSTE_STATE_SWAP ? zap_shared(guest, gfn, true, slots_freed) : 0;
}

int64_t pgste_zap(struct pgste_guest *guest, uint64_t gfn)
{
	uint64_t slots_freed = 0;
	unsigned zapped;

	if (gfn >= guest->mm.nr_pages)
		return PGSTE_E_GFN;
	guest_settle(guest);
	zapped = zap_entry(guest, gfn, &slots_freed);
	guest->mm.stats.zapped += zapped;
	guest->mm.stats.zap_slots_freed += slots_freed;
	return zapped;
}

/* Where in the table zaps are to be made; parts without any are passed over. */
struct zap_parts {
	const struct pgste_guest *guest;
	uint64_t first[MAX_THREADS], to[MAX_THREADS];
};

static void zap_search(void *data, unsigned part, uint64_t from, uint64_t to)
{
	struct zap_parts *z = data;

	z->to[part] = to;
	for (uint64_t end = from; end < to && end == from && !watch_stops();) {
		end = min_u64(from + WATCH_SLICE, to);
		from = scan_ops()->find_zappable(z->guest->mm.state, from, end);
	}
	z->first[part] = from;
}

/* Nothing but the state of a page decides, nobody else is there, and no entry is noted. */
static bool zaps_are_plain(const struct pgste_guest *guest)
{
	return guest->slots.whole && !guest->shared && !guest->entries && !guest->mm.two.bits;
}

/* Zaps of a run of pages, and counts them; the first page that is not of the run. */
static uint64_t zap_run(struct pgste_guest *guest, uint64_t gfn, uint64_t to, uint64_t *zapped)
{
	const uint64_t first = gfn;
	uint64_t slots_freed = 0, done = 0;

	if (zaps_are_plain(guest)) {
		for (; gfn < to && state_zappable(guest->mm.state[gfn]); gfn++)
			slots_freed += pte_zap(&guest->mm, gfn);
		done = gfn - first;
	} else {
		for (; gfn < to && state_zappable(guest->mm.state[gfn]); gfn++)
			done += zap_entry(guest, gfn, &slots_freed);
	}
	guest->mm.stats.zapped += done;
	guest->mm.stats.zap_slots_freed += slots_freed;
	*zapped += done;
	return gfn;
}

/* False: the scan is to end, and the guest not to be touched any more. */
static bool zap_range(struct pgste_guest *guest, uint64_t gfn, uint64_t to, uint64_t *zapped)
{
	const struct scan_ops *scan = scan_ops();
	uint64_t asked = *zapped;

	while (gfn < to) {
		const uint64_t end = min_u64(gfn + WATCH_SLICE, to);

		gfn = scan->find_zappable(guest->mm.state, gfn, end);
		/* zappable pages come in runs: no new search for the next one */
		if (gfn < end)
			gfn = zap_run(guest, gfn, min_u64(gfn + WATCH_STEPS, to), zapped);
		if (gfn == end || *zapped - asked >= WATCH_STEPS) {
			asked = *zapped;
			if (!watch_rest())
				return false;
		}
	}
	return true;
}

/*
 * The search runs on the threads up to the first page of each part; the zaps themselves are
 * made in ascending order by the caller's thread, as they share the host's swap slots.
 */
int64_t pgste_zap_scan(struct pgste_guest *guest, unsigned threads)
{
	struct zap_parts z = { .guest = guest };
	uint64_t zapped = 0;

	guest_settle(guest);
	threads = threads_useful(threads, guest->mm.nr_pages);
	threads_run(threads, guest->mm.nr_pages, zap_search, &z);
	for (unsigned i = 0; i < threads; i++)
		if (!zap_range(guest, z.first[i], z.to[i], &zapped))
			break;
	return (int64_t)zapped;
}
