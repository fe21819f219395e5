/* SPDX-License-Identifier: MIT */
/*
 * ESSA on one page, where it is needed inline: the scalar calls and replay are little more.
 * Arguments are checked by the callers.
 */
#ifndef GUEST_ESSA_H
#define GUEST_ESSA_H

#include "guest/guest.h"

/* Both paths, vcpus on several threads, and a gfn outside the guest (dat), which answers 0x10. */
unsigned essa_any(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc, uint64_t gfn);
/* Of pages inside the guest; results may be NULL. */
void essa_range(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc, uint64_t gfn,
		uint64_t nr, uint8_t *results);
/*
 * Some WATCH_STEPS gfns of an array from index *next on, which is moved to behind them.
 * PGSTE_E_CHANGED: a gfn is not inside the guest any more; those before are done.
 */
int essa_array(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc,
	       const struct pgste_gfns *gfns, uint64_t *next, uint8_t *results);
/*
 * The whole of a call, resting between parts; a gfn is outside only if `inside` is not said.
 * results may be NULL.  PGSTE_E_CHANGED, and PGSTE_E_CANCELLED, after which nothing may be touched.
 */
int essa_all(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc,
	     const struct pgste_gfns *gfns, bool inside, uint8_t *results);

static ALWAYS_INLINE bool page_exists(const struct pgste_guest *guest, uint64_t gfn)
{
	return gfn < guest->mm.nr_pages && memslots_have(&guest->slots, gfn, 1);
}

/* The result byte. */
static ALWAYS_INLINE unsigned essa_one(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc,
				       uint64_t gfn)
{
	unsigned entry;

	if (guest->special || gfn >= guest->mm.nr_pages || vcpu->nr >= guest->cbrl_entries)
		return essa_any(guest, vcpu, orc, gfn);
	vcpu->essa++;
	entry = guest->rows[orc].entry[guest->mm.state[gfn]];
	guest->mm.state[gfn] = ESSA_NEW(entry);
	if (ESSA_APPEND(entry))
		cbrl_append(vcpu, gfn);
	return ESSA_RESULT(entry);
}

/* What arch_free_page and arch_alloc_page do for one page: ESSA, counted as a hint. */
static ALWAYS_INLINE void essa_hint(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc,
				    uint64_t gfn)
{
	essa_one(guest, vcpu, orc, gfn);
	vcpu->hints++;
	vcpu->hint_pages++;
}

/* What arch_alloc_page issues: with facility 147 it makes the page no-DAT as well. */
static inline unsigned alloc_orc(const struct pgste_guest *guest)
{
	return guest->nodat ? PGSTE_ORC_SET_STABLE_NODAT : PGSTE_ORC_SET_STABLE;
}

#endif
