/* SPDX-License-Identifier: MIT */
/*
 * CMMA of a whole guest: reset (KVM_S390_VM_MEM_CLR_CMMA) and migration mode, in which CMMA
 * is off in the state description and every ESSA intercepts.
 */
#include "guest/guest.h"

static void clear_bits(struct pgste_guest *guest, uint8_t bits)
{
	for (uint64_t gfn = 0; gfn < guest->mm.nr_pages; gfn++)
		/* a page that has none of them is not written: its memory stays untouched */
		if (guest->mm.state[gfn] & bits)
			guest->mm.state[gfn] &= (uint8_t)~bits;
}

void pgste_reset_cmma(struct pgste_guest *guest)
{
	guest_settle(guest);
	clear_bits(guest, PGSTE_STATE_USAGE | PGSTE_STATE_NODAT |
		   (guest->mm.generation == PGSTE_GEN_DAT ? PGSTE_STATE_DIRTY : 0));
}

void pgste_set_migration(struct pgste_guest *guest, bool on)
{
	if (guest->migration == on)
		return;
	guest_settle(guest);
	guest->migration = on;
	guest->interpreted = on || guest->mm.generation == PGSTE_GEN_ZVM;
	guest->rows = essa_rows(guest->mm.generation, on);
	if (on)
		for (uint64_t gfn = 0; gfn < guest->mm.nr_pages; gfn++)
			guest->mm.state[gfn] |= PGSTE_STATE_DIRTY;
	else if (guest->mm.generation != PGSTE_GEN_DAT)
		clear_bits(guest, PGSTE_STATE_DIRTY);
}

bool pgste_get_migration(const struct pgste_guest *guest)
{
	return guest->migration;
}

int pgste_set_problem_state(struct pgste_guest *guest, uint32_t vcpu, bool on)
{
	if (vcpu >= guest->nr_vcpus)
		return PGSTE_E_ARG;
	guest->vcpus[vcpu].problem_state = on;
	return PGSTE_OK;
}
