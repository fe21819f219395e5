/* SPDX-License-Identifier: MIT */
/*
 * Which way ESSA takes, by what the guest is at the moment: its list or the host at once, and
 * whether there is something that the short way of essa_one() would miss.
 */
#include "guest/paths.h"

void guest_set_paths(struct pgste_guest *guest)
{
	guest->interpreted = guest->migration || guest->interpretation ||
			     guest->mm.generation == PGSTE_GEN_ZVM;
	guest->rows = essa_rows(guest->mm.generation, guest->migration);
	guest->special = guest->interpreted || guest->shared || !guest->slots.whole ||
			 !guest->uses_cmm || !guest->vcpus_created;
}

void essa_first(struct pgste_guest *guest)
{
	__atomic_store_n(&guest->vcpus_created, true, __ATOMIC_RELAXED);
	/* handle_essa notes it only where it is to switch CMMA on in the state description */
	if (!guest->migration)
		__atomic_store_n(&guest->uses_cmm, true, __ATOMIC_RELAXED);
	if (!guest->shared) /* where it is, special is always true */
		guest_set_paths(guest);
}

void pgste_create_vcpus(struct pgste_guest *guest)
{
	__atomic_store_n(&guest->vcpus_created, true, __ATOMIC_RELAXED);
	if (!guest->shared)
		guest_set_paths(guest);
}
