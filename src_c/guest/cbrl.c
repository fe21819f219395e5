/* SPDX-License-Identifier: MIT */
/*
 * The CBRL, each vcpu's list of pages queued for discard: 511 entries that ESSA appends and
 * one that is the host's.  handle_essa processes every recorded entry and resets the list.
 */
#include <string.h>

#include "guest/paths.h"

/* Slots ahead of the one that is given up. */
#define CBRL_AHEAD 16u

/*
 * The entries whose pages are swapped out, in order.  Few lists have any; picked without a
 * branch, as the pages of a list have nothing to do with each other.
 */
static uint32_t swapped_entries(const uint8_t *state, const uint64_t *list, uint32_t nr,
				uint64_t *swapped)
{
	uint32_t nr_swapped = 0;

	for (uint32_t i = 0; i < nr; i++) {
		swapped[nr_swapped] = list[i];
		nr_swapped += __atomic_load_n(&state[list[i]], __ATOMIC_RELAXED) >> 7;
	}
	return nr_swapped;
}
_Static_assert(PGSTE_STATE_SWAP == 1 << 7, "swapped_entries() shifts it down");

/*
 * _essa_clear_cbrl of v7.0 where host addresses are not the guest's: it looks at the page of the
 * entry, and hands the guest address to a function that wants a host address, so that the page
 * which is mapped there is zapped, if any.
 */
static uint64_t process_missing(struct pgste_guest *guest, const struct vcpu *vcpu,
				uint64_t *slots_freed)
{
	struct mm *mm = &guest->mm;
	uint64_t zapped = 0;

	for (uint32_t i = 0; i < vcpu->nr; i++) {
		const uint64_t gfn = vcpu->cbrl[i], other = slot_guest_gfn(guest, gfn);
		const uint8_t state = __atomic_load_n(&mm->state[gfn], __ATOMIC_RELAXED);
		const uint64_t cold = __atomic_load_n(&mm->pte[gfn], __ATOMIC_RELAXED);

		if ((pte_is_present(cold, state) && !pte_is_apart(mm, gfn)) ||
		    other >= mm->nr_pages || !state_zappable(state | PGSTE_STATE_SWAP))
			continue;
		zapped += zap_swapped(guest, other, slots_freed);
	}
	return zapped;
}

/* Zap every entry, reset the list: pages zapped. */
uint64_t cbrl_process(struct pgste_guest *guest, struct vcpu *vcpu)
{
	uint64_t swapped[PGSTE_CBRL_MAX + 1], slots_freed = 0, zapped = 0;
	const uint32_t nr = vcpu->nr;
	const bool misses = guest->list_misses;
	const uint32_t nr_swapped =
		misses ? 0 : swapped_entries(guest->mm.state, vcpu->cbrl, nr, swapped);

	if (misses)
		zapped = process_missing(guest, vcpu, &slots_freed);
	for (uint32_t i = 0; i < nr_swapped; i++)
		__builtin_prefetch(&guest->mm.pte[swapped[i]], 1);
	for (uint32_t i = 0; i < nr_swapped; i++) {
		if (i + CBRL_AHEAD < nr_swapped)
			zap_prefetch(guest, swapped[i + CBRL_AHEAD]);
		zapped += zap_entry(guest, swapped[i], &slots_freed);
	}
	vcpu->nr = 0;
	vcpu->intercepts++;
	vcpu->processed += nr;
	vcpu->zapped += zapped;
	vcpu->zap_slots_freed += slots_freed;
	return zapped;
}

/* The same for a list without a page that is swapped out: there is nothing to zap. */
void cbrl_pass(struct vcpu *vcpu)
{
	vcpu->intercepts++;
	vcpu->processed += vcpu->nr;
	vcpu->nr = 0;
}

int64_t pgste_cbrl(const struct pgste_guest *guest, uint32_t vcpu, uint64_t *gfns)
{
	if (vcpu >= guest->nr_vcpus)
		return PGSTE_E_ARG;
	memcpy(gfns, guest->vcpus[vcpu].cbrl, guest->vcpus[vcpu].nr * sizeof(*gfns));
	return guest->vcpus[vcpu].nr;
}

int64_t pgste_intercept(struct pgste_guest *guest, uint32_t vcpu)
{
	if (vcpu >= guest->nr_vcpus)
		return PGSTE_E_ARG;
	guest_runs(guest);
	return (int64_t)cbrl_process(guest, &guest->vcpus[vcpu]);
}
