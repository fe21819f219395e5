/* SPDX-License-Identifier: MIT */
/* Which way ESSA takes, by what the guest is at the moment (paths.c). */
#ifndef GUEST_PATHS_H
#define GUEST_PATHS_H

#include "guest/guest.h"

/*
 * The way that ESSA takes, and essa_one's short way, after a change of what they depend on.  With
 * nobody else in: what vcpus that share a guest find out in their calls changes no way.
 */
void guest_set_paths(struct pgste_guest *guest);

/* The first ESSA of a guest, or one while it is not known to use CMMA. */
void essa_first(struct pgste_guest *guest);
static inline bool essa_is_first(const struct pgste_guest *guest)
{
	return (!__atomic_load_n(&guest->uses_cmm, __ATOMIC_RELAXED) && !guest->migration) ||
	       !__atomic_load_n(&guest->vcpus_created, __ATOMIC_RELAXED);
}

/* A vcpu does something, so there are some. */
static inline void guest_runs(struct pgste_guest *guest)
{
	if (!__atomic_load_n(&guest->vcpus_created, __ATOMIC_RELAXED))
		pgste_create_vcpus(guest);
}

#endif
