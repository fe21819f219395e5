/* SPDX-License-Identifier: MIT */
/* What loops of ESSA have in common: a vcpu's list while they run, and one page atomically. */
#ifndef GUEST_ESSA_LIST_H
#define GUEST_ESSA_LIST_H

#include "guest/essa.h"

static ALWAYS_INLINE unsigned essa_one_shared(uint8_t *state, const uint16_t *row, uint8_t *was)
{
	uint8_t old = __atomic_load_n(state, __ATOMIC_RELAXED);
	unsigned entry;

	do {
		entry = row[old];
	} while (!__atomic_compare_exchange_n(state, &old, ESSA_NEW(entry), true,
					      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	*was = old;
	return entry;
}

static inline struct essa_list list_open(const struct pgste_guest *guest, struct vcpu *vcpu)
{
	return (struct essa_list){
		.entries = vcpu->cbrl,
		.nr = vcpu->nr,
		.limit = guest->cbrl_entries,
		/* unknown entries: assume that one is swapped */
		.seen = vcpu->nr ? PGSTE_STATE_SWAP : 0,
	};
}

/* A full list is processed before the next ESSA; its pages need no look if none is swapped. */
static inline void list_make_room(struct pgste_guest *guest, struct vcpu *vcpu,
				  struct essa_list *list)
{
	if (list->nr < list->limit)
		return;
	vcpu->nr = list->nr;
	if ((list->seen & PGSTE_STATE_SWAP) || guest->list_misses)
		cbrl_process(guest, vcpu);
	else
		cbrl_pass(vcpu);
	list->nr = 0;
	list->seen = 0;
}

/* Of pages in slots, on the normal path (essa_shared.c). */
void essa_range_shared(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc, uint64_t gfn,
		       uint64_t nr, uint8_t *results);

#endif
