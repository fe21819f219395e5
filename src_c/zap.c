/* SPDX-License-Identifier: MIT */
/*
 * Zap: give up the swap entry of a page that the guest does not need (ptep_zap_unused in
 * pgtable, gmap_helper_zap_one_page in dat), of one page or of all.
 */
#include "internal.h"

/* Claim a zappable page by clearing SWAP; of two vcpus that try, one succeeds. */
static bool zap_claim(struct pgste_guest *guest, uint64_t gfn)
{
	uint8_t old = __atomic_load_n(&guest->state[gfn], __ATOMIC_RELAXED);
	uint8_t new;

	do {
		if (!state_zappable(old))
			return false;
		new = old & (uint8_t)~(PGSTE_STATE_SWAP | PGSTE_STATE_VALID);
	} while (!__atomic_compare_exchange_n(&guest->state[gfn], &old, new, true,
					      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	return true;
}

static unsigned zap_entry_shared(struct pgste_guest *guest, uint64_t gfn, uint64_t *slots_freed)
{
	uint64_t cold;

	if (!zap_claim(guest, gfn))
		return 0;
	/* the page is ours: nothing but a zap changes PTEs while vcpus run */
	cold = guest->pte[gfn];
	/* atomic, as another vcpu's zap_prefetch may look at it */
	__atomic_store_n(&guest->pte[gfn], 0, __ATOMIC_RELAXED);
	pthread_mutex_lock(&guest->host->lock);
	if (cold & COLD_FOREIGN)
		guest->nr_foreign--;
	else
		*slots_freed += slot_put_use(guest->host, (uint32_t)(cold >> PTE_PFRA_SHIFT));
	pthread_mutex_unlock(&guest->host->lock);
	return 1;
}

/* The PTE of a swapped page is about to be zapped: fetch its slot. */
void zap_prefetch(const struct pgste_guest *guest, uint64_t gfn)
{
	const uint64_t cold = __atomic_load_n(&guest->pte[gfn], __ATOMIC_RELAXED);

	if (!(cold & COLD_FOREIGN))
		__builtin_prefetch(&guest->host->slots[(uint32_t)(cold >> PTE_PFRA_SHIFT)], 1);
}

/* Zap one page if it may be: 1 or 0. */
unsigned zap_entry(struct pgste_guest *guest, uint64_t gfn, uint64_t *slots_freed)
{
	uint64_t cold;

	if (!state_zappable(__atomic_load_n(&guest->state[gfn], __ATOMIC_RELAXED)))
		return 0;
	if (guest->shared)
		return zap_entry_shared(guest, gfn, slots_freed);
	cold = guest->pte[gfn];
	pte_zap(guest, gfn);
	if (cold & COLD_FOREIGN)
		guest->nr_foreign--;
	else
		*slots_freed += slot_put_use(guest->host, (uint32_t)(cold >> PTE_PFRA_SHIFT));
	return 1;
}

int64_t pgste_zap(struct pgste_guest *guest, uint64_t gfn)
{
	uint64_t slots_freed = 0;
	unsigned zapped;

	if (gfn >= guest->nr_pages)
		return PGSTE_E_GFN;
	guest_settle(guest);
	zapped = zap_entry(guest, gfn, &slots_freed);
	guest->stats.zapped += zapped;
	guest->stats.zap_slots_freed += slots_freed;
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

	z->first[part] = scan_ops()->find_zappable(z->guest->state, from, to);
	z->to[part] = to;
}

static uint64_t zap_range(struct pgste_guest *guest, uint64_t gfn, uint64_t to,
			  uint64_t *slots_freed)
{
	const struct scan_ops *scan = scan_ops();
	uint64_t zapped = 0;

	for (; gfn < to; gfn++) {
		gfn = scan->find_zappable(guest->state, gfn, to);
		/* zappable pages come in runs: no new search for the next one */
		for (; gfn < to && state_zappable(guest->state[gfn]); gfn++)
			zapped += zap_entry(guest, gfn, slots_freed);
	}
	return zapped;
}

/*
 * The search runs on the threads up to the first page of each part; the zaps themselves are
 * made in ascending order by the caller's thread, as they share the host's swap slots.
 */
int64_t pgste_zap_scan(struct pgste_guest *guest, unsigned threads)
{
	struct zap_parts z = { .guest = guest };
	uint64_t slots_freed = 0, zapped = 0;

	guest_settle(guest);
	threads = threads_useful(threads, guest->nr_pages);
	threads_run(threads, guest->nr_pages, zap_search, &z);
	for (unsigned i = 0; i < threads; i++)
		zapped += zap_range(guest, z.first[i], z.to[i], &slots_freed);
	guest->stats.zapped += zapped;
	guest->stats.zap_slots_freed += slots_freed;
	return (int64_t)zapped;
}
