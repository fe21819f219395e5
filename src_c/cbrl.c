/* SPDX-License-Identifier: MIT */
/*
 * The CBRL, each vcpu's list of pages queued for discard: 511 entries that ESSA appends and
 * one that is the host's.  handle_essa processes every recorded entry and resets the list.
 */
#include <string.h>

#include "internal.h"

/* Far enough ahead to hide a miss, near enough to stay within one list. */
#define PREFETCH 16u

void cbrl_append(struct vcpu *vcpu, uint64_t gfn)
{
	vcpu->cbrl[vcpu->nr++] = gfn;
	vcpu->appended++;
}

/* Zap every entry, reset the list: pages zapped. */
uint64_t cbrl_process(struct pgste_guest *guest, struct vcpu *vcpu)
{
	uint64_t slots_freed = 0, zapped = 0;
	const uint32_t nr = vcpu->nr;

	for (uint32_t i = 0; i < nr && i < PREFETCH; i++)
		__builtin_prefetch(&guest->state[vcpu->cbrl[i]], 1);
	for (uint32_t i = 0; i < nr; i++) {
		if (i + PREFETCH < nr)
			__builtin_prefetch(&guest->state[vcpu->cbrl[i + PREFETCH]], 1);
		zapped += zap_entry(guest, vcpu->cbrl[i], &slots_freed);
	}
	vcpu->nr = 0;
	vcpu->intercepts++;
	vcpu->processed += nr;
	vcpu->zapped += zapped;
	vcpu->zap_slots_freed += slots_freed;
	return zapped;
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
	return (int64_t)cbrl_process(guest, &guest->vcpus[vcpu]);
}
