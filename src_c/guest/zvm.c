/* SPDX-License-Identifier: MIT */
/*
 * z/VM with the whole of guest page hinting (Schwidefsky, Franke and Raj, 2006 to 2009), of
 * which Linux on KVM kept only the unused half.  docs/model.md section 10.
 *
 * A page has a guest state (stable, unused, volatile, potentially volatile: USAGE) and a host
 * state, which the state byte tells without a table walk:
 *
 *   r  resident        VALID              ageing clears YOUNG and leaves the page valid
 *   p  preserved       SWAP               on a paging device
 *   z  logically zero  neither            nothing is kept
 *
 * Sr Sp Sz Ur Uz Vr Vz Pr are possible.  A page that becomes U or V while it is p loses its
 * content at once (Up, Vp), P means "V unless changed" and so is never p or z.  Whether the
 * guest changed a page is its storage key's change bit, GC.
 */
#include "guest/guest.h"

/* The state byte after a request: what ESSA's table needs to know of z/VM. */
struct zvm_change zvm_request(unsigned orc, uint8_t state)
{
	const bool resident = state & PGSTE_STATE_VALID;
	struct zvm_change c = { .usage = state & PGSTE_STATE_USAGE };

	c.nodat = state & PGSTE_STATE_NODAT;
	switch (orc) {
	case PGSTE_ORC_SET_STABLE:
		c.usage = PGSTE_USAGE_STABLE;
		c.nodat = false;
		break;
	case PGSTE_ORC_SET_UNUSED:
		c.usage = PGSTE_USAGE_UNUSED;
		break;
	case PGSTE_ORC_SET_VOLATILE:
		c.usage = PGSTE_USAGE_VOLATILE;
		break;
	case PGSTE_ORC_SET_POT_VOLATILE:
		c.usage = resident ? PGSTE_USAGE_POT_VOLATILE : PGSTE_USAGE_VOLATILE;
		break;
	case PGSTE_ORC_SET_STABLE_RESIDENT:
		c.usage = PGSTE_USAGE_STABLE;
		break;
	case PGSTE_ORC_SET_STABLE_IF_RESIDENT:
		/* here it means "stable unless discarded" (K3): it fails for Vz alone */
		if (resident || (state & PGSTE_STATE_USAGE) != PGSTE_USAGE_VOLATILE)
			c.usage = PGSTE_USAGE_STABLE;
		break;
	case PGSTE_ORC_SET_STABLE_NODAT:
		c.usage = PGSTE_USAGE_STABLE;
		c.nodat = true;
		break;
	default:
		break;
	}
	c.lost = (state & PGSTE_STATE_SWAP) && c.usage != PGSTE_USAGE_STABLE;
	return c;
}

/*
 * The paging slot of a page that became unused or volatile is given up with the request,
 * which has cleared SWAP: of two vcpus that ask, one comes here.
 */
void zvm_lose(struct pgste_guest *guest, struct vcpu *vcpu, uint64_t gfn)
{
	vcpu->zapped++;
	vcpu->zap_slots_freed += pte_zap_claimed(&guest->mm, gfn);
}

/* ---- what the usage means for memory ---- */

static int zvm_access(struct mm *mm, uint64_t gfn)
{
	const uint8_t state = mm->state[gfn];
	const unsigned usage = state & PGSTE_STATE_USAGE;
	int error = PGSTE_OK;

	if (usage == PGSTE_USAGE_UNUSED)
		error = PGSTE_E_PGM_ADDRESSING;
	else if (usage == PGSTE_USAGE_VOLATILE && !(state & PGSTE_STATE_VALID))
		error = PGSTE_E_PGM_DISCARD;
	if (error)
		guest_of(mm)->fault_gfn = gfn;
	return error;
}

/* A store changes the page, for its storage key as well. */
static void zvm_stored(struct mm *mm, uint64_t gfn)
{
	mm->state[gfn] |= PGSTE_STATE_GC;
}

static bool zvm_drops(const struct mm *mm, uint64_t gfn)
{
	const uint8_t state = mm->state[gfn];

	switch (state & PGSTE_STATE_USAGE) {
	case PGSTE_USAGE_STABLE: return false;
	case PGSTE_USAGE_POT_VOLATILE: return !(state & PGSTE_STATE_GC);
	default: return true;
	}
}

/* The guest state when a page stops being resident: Pr becomes Vz if clean, else Sp. */
static void zvm_evicted(struct mm *mm, uint64_t gfn, bool dropped)
{
	uint8_t state = mm->state[gfn];

	if ((state & PGSTE_STATE_USAGE) != PGSTE_USAGE_POT_VOLATILE)
		return;
	state &= (uint8_t)~PGSTE_STATE_USAGE;
	mm->state[gfn] = state | (dropped ? PGSTE_USAGE_VOLATILE : PGSTE_USAGE_STABLE);
}

const struct usage_rules zvm_rules = {
	.access = zvm_access,
	.stored = zvm_stored,
	.drops = zvm_drops,
	.evicted = zvm_evicted,
};

uint64_t pgste_fault_gfn(const struct pgste_guest *guest)
{
	return guest->fault_gfn;
}

int pgste_set_changed(struct pgste_guest *guest, const struct pgste_gfns *gfns, bool on)
{
	uint64_t batch[GFN_BATCH];
	int taken;

	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	guest_settle(guest);
	for (uint64_t i = 0; i < gfns->nr; i += (unsigned)taken) {
		taken = mm_take(&guest->mm, gfns, i, NEED_STATE, batch);
		if (taken < 0)
			return taken;
		for (int k = 0; k < taken; k++) {
			uint8_t *state = &guest->mm.state[batch[k]];

			*state = (uint8_t)((*state & ~PGSTE_STATE_GC) |
					   (on ? PGSTE_STATE_GC : 0));
		}
	}
	return PGSTE_OK;
}
