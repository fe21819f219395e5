/* SPDX-License-Identifier: MIT */
/*
 * cmma: arch_free_page makes each page unused, arch_alloc_page makes it stable again, with
 * facility 147 stable and no-DAT (arch/s390/mm/page-states.c).
 */
#include "guest/essa.h"
#include "mech/mech.h"

static void hint(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc, uint64_t gfn,
		 uint64_t nr)
{
	if (!guest->use_cmma) /* cmma_init found none: the hooks do nothing */
		return;
	if (nr == 1) {
		essa_hint(guest, vcpu, orc, gfn);
		return;
	}
	essa_range(guest, vcpu, orc, gfn, nr, NULL);
	vcpu->hints += nr;
	vcpu->hint_pages += nr;
}

static void cmma_free(struct pgste_guest *guest, struct vcpu *vcpu, uint64_t gfn, uint64_t nr,
		      unsigned order)
{
	(void)order;
	hint(guest, vcpu, PGSTE_ORC_SET_UNUSED, gfn, nr);
}

static void cmma_alloc(struct pgste_guest *guest, struct vcpu *vcpu, uint64_t gfn, uint64_t nr,
		       unsigned order)
{
	(void)order;
	hint(guest, vcpu, alloc_orc(guest), gfn, nr);
}

const struct mech mech_cmma = {
	.name = "cmma",
	.cmma = true,
	.free = cmma_free,
	.alloc = cmma_alloc,
};
