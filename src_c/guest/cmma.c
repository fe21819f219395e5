/* SPDX-License-Identifier: MIT */
/*
 * CMMA of a whole guest: enabling it, its reset (KVM_S390_VM_MEM_CLR_CMMA), and migration mode,
 * in which CMMA is off in the state description and every ESSA intercepts.
 */
#include "guest/cmma_log.h"
#include "guest/essa.h"
#include "guest/paths.h"

/* ---- CMMA and virtual CPUs ---- */

bool pgste_vcpus_created(const struct pgste_guest *guest)
{
	return guest->vcpus_created;
}

int pgste_enable_cmma(struct pgste_guest *guest)
{
	if (!guest->mech->cmma || guest->mm.generation == PGSTE_GEN_ZVM)
		return PGSTE_E_KVM_NXIO;
	if (guest->vcpus_created)
		return PGSTE_E_KVM_BUSY;
	guest->use_cmma = true;
	return PGSTE_OK;
}

int pgste_clear_cmma(struct pgste_guest *guest)
{
	if (!guest->mech->cmma || guest->mm.generation == PGSTE_GEN_ZVM)
		return PGSTE_E_KVM_NXIO;
	if (!guest->use_cmma)
		return PGSTE_E_KVM_INVAL;
	pgste_reset_cmma(guest);
	return PGSTE_OK;
}

bool pgste_cmma_enabled(const struct pgste_guest *guest)
{
	return guest->use_cmma;
}

bool pgste_uses_cmm(const struct pgste_guest *guest)
{
	return guest->uses_cmm;
}

static void clear_bits(struct pgste_guest *guest, uint8_t bits)
{
	/* a page that has none of them is not written: its memory stays untouched */
	for (uint64_t end, gfn = 0; slots_walk(guest, &gfn, &end);)
		for (; gfn < end; gfn++)
			if (guest->mm.state[gfn] & bits)
				guest->mm.state[gfn] &= (uint8_t)~bits;
}

void pgste_reset_cmma(struct pgste_guest *guest)
{
	guest_settle(guest);
	clear_bits(guest, PGSTE_STATE_USAGE | PGSTE_STATE_NODAT |
		   (guest->mm.generation == PGSTE_GEN_DAT ? PGSTE_STATE_DIRTY : 0));
}

/* ---- migration mode ---- */

static bool all_slots_log(const struct memslots *slots)
{
	for (uint32_t i = 0; i < slots->nr; i++)
		if (!slots->at[i].log_dirty)
			return false;
	return true;
}

static void set_mode(struct pgste_guest *guest, bool on)
{
	guest_settle(guest);
	guest->migration = on;
	guest_set_paths(guest);
}

int pgste_start_migration(struct pgste_guest *guest)
{
	if (guest->mm.generation == PGSTE_GEN_ZVM)
		return PGSTE_E_KVM_NXIO;
	if (guest->migration)
		return PGSTE_OK;
	if (guest->slots.nr == 0)
		return PGSTE_E_KVM_INVAL;
	if (guest->use_cmma) {
		if (!all_slots_log(&guest->slots))
			return PGSTE_E_KVM_INVAL;
		log_start(guest);
	}
	set_mode(guest, true);
	return PGSTE_OK;
}

int pgste_stop_migration(struct pgste_guest *guest)
{
	if (guest->mm.generation == PGSTE_GEN_ZVM)
		return PGSTE_E_KVM_NXIO;
	if (!guest->migration)
		return PGSTE_OK;
	set_mode(guest, false);
	if (!guest->use_cmma || guest->log_revision == PGSTE_LOG_DAT)
		return PGSTE_OK;
	log_clear(guest);
	if (guest->log_revision == PGSTE_LOG_DAT_NEW)
		guest->nr_dirty = 0;
	return PGSTE_OK;
}

/* z/VM knows no slots and no counter: the mode only marks pages dirty. */
static void set_zvm(struct pgste_guest *guest, bool on)
{
	if (guest->migration == on)
		return;
	set_mode(guest, on);
	if (on)
		dirty_set(guest->mm.state, guest->mm.nr_pages, false);
	else
		dirty_drop(guest->mm.state, guest->mm.nr_pages, false);
}

int pgste_set_migration(struct pgste_guest *guest, bool on)
{
	if (guest->mm.generation != PGSTE_GEN_ZVM)
		return on ? pgste_start_migration(guest) : pgste_stop_migration(guest);
	set_zvm(guest, on);
	return PGSTE_OK;
}

bool pgste_get_migration(const struct pgste_guest *guest)
{
	return guest->migration;
}

int pgste_set_problem_state(struct pgste_guest *guest, uint32_t vcpu, bool on)
{
	if (vcpu >= guest->nr_vcpus)
		return PGSTE_E_ARG;
	pgste_create_vcpus(guest);
	guest->vcpus[vcpu].problem_state = on;
	return PGSTE_OK;
}
