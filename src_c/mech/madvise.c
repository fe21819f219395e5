/* SPDX-License-Identifier: MIT */
/*
 * madv_dontneed and madv_free: the hypervisor advises its kernel about each range that the
 * guest frees.  Blocks that follow one another become one call; nothing is said at alloc.
 */
#include "mech/mech.h"

static void hold(struct pgste_guest *guest, struct vcpu *vcpu, uint64_t gfn, uint64_t nr,
		 unsigned order)
{
	(void)vcpu, (void)order;
	if (guest->pending_nr && guest->pending_gfn + guest->pending_nr == gfn) {
		guest->pending_nr += nr;
		return;
	}
	guest_settle(guest);
	guest->pending_gfn = gfn;
	guest->pending_nr = nr;
}

static void issue(struct pgste_guest *guest,
		  void (*advise)(struct mm *mm, uint64_t gfn))
{
	for (uint64_t i = 0; i < guest->pending_nr; i++)
		advise(&guest->mm, guest->pending_gfn + i);
	guest->mm.stats.hints++;
	guest->mm.stats.hint_pages += guest->pending_nr;
	guest->pending_nr = 0;
}

static void flush_dontneed(struct pgste_guest *guest)
{
	issue(guest, madvise_dontneed);
}

static void flush_free(struct pgste_guest *guest)
{
	issue(guest, madvise_free);
}

const struct mech mech_madv_dontneed = {
	.name = "madv_dontneed",
	.kvm_only = true,
	.free = hold,
	.flush = flush_dontneed,
};

const struct mech mech_madv_free = {
	.name = "madv_free",
	.kvm_only = true,
	.free = hold,
	.flush = flush_free,
};
