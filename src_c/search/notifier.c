/* SPDX-License-Identifier: MIT */
/*
 * Actions of the search that only a guest with two tables knows: operations of the host with
 * their MMU notifiers, in one step or in two, and locks that are held.  docs/dat.md.
 */
#include "search/system.h"

static bool rewrite_allowed(const struct search_system *s, enum pgste_rewrite rewrite)
{
	return s->config->notifiers >> rewrite & 1;
}

/* Where UNUSED outlives the operation, it matters that a trylock failed. */
static bool unused_may_linger(const struct search_system *s)
{
	return s->config->notifiers && (unused_lingers(s->config->revision) ||
					rewrite_allowed(s, PGSTE_REWRITE_NONE));
}

bool search_notifier_belongs(const struct search_system *s, enum pgste_action action)
{
	switch (action) {
	case PGSTE_ACTION_NOTIFY_NONE:
	case PGSTE_ACTION_END_NONE: return rewrite_allowed(s, PGSTE_REWRITE_NONE);
	case PGSTE_ACTION_NOTIFY_XCHG:
	case PGSTE_ACTION_END_XCHG: return rewrite_allowed(s, PGSTE_REWRITE_XCHG);
	case PGSTE_ACTION_NOTIFY_SET:
	case PGSTE_ACTION_END_SET: return rewrite_allowed(s, PGSTE_REWRITE_SET);
	case PGSTE_ACTION_NOTIFY_START:
	case PGSTE_ACTION_SWAP_OUT_HELD: return s->config->notifiers;
	case PGSTE_ACTION_NOTIFY_HELD: return unused_may_linger(s);
	/* v7.0 waits for the lock */
	case PGSTE_ACTION_INTERCEPT_HELD:
		return s->config->notifiers && s->config->revision != PGSTE_REVISION_7_0;
	default: return true;
	}
}

static bool guest_maps(const struct mm *mm, uint64_t gfn)
{
	return pte_is_present(mm->pte[gfn], mm->state[gfn]) && !pte_is_apart(mm, gfn);
}

bool search_notifier_applies(const struct search_system *s, enum pgste_action action,
			     uint64_t gfn)
{
	const struct mm *mm = &s->guest->mm;

	switch (action) {
	case PGSTE_ACTION_NOTIFY_HELD:
	case PGSTE_ACTION_SWAP_OUT_HELD: return guest_maps(mm, gfn) && page_is_unused(mm, gfn);
	case PGSTE_ACTION_NOTIFY_START: return !s->notified && guest_maps(mm, gfn);
	case PGSTE_ACTION_INTERCEPT_HELD: return s->guest->vcpus[0].nr;
	case PGSTE_ACTION_END_NONE:
	case PGSTE_ACTION_END_XCHG:
	case PGSTE_ACTION_END_SET: return s->notified == gfn + 1;
	default: return true;
	}
}

static bool notify_page(struct search_system *s, uint64_t gfn, enum pgste_rewrite rewrite)
{
	const struct pgste_gfns one = { .first = gfn, .nr = 1 };

	return pgste_notifier_unmap(s->guest, &one, rewrite) >= 0;
}

static void hold_locks(struct search_system *s, bool on)
{
	const struct pgste_gfns all = { .nr = s->guest->mm.nr_pages };

	s->no_memory |= pgste_hold_host_locks(s->guest, &all, on) == PGSTE_E_NOMEM;
}

/* The operation writes the host's PTE, if that is still present, and its notifier ends. */
static bool notifier_ends(struct search_system *s, uint64_t gfn, enum pgste_rewrite rewrite)
{
	const struct pgste_gfns one = { .first = gfn, .nr = 1 };
	const bool clears = rewrite == PGSTE_REWRITE_SET ||
			    (rewrite == PGSTE_REWRITE_XCHG &&
			     !unused_lingers(s->config->revision));
	uint64_t word;

	s->notified = 0;
	pgste_get_host_ptes(s->guest, &one, &word);
	if (clears && (word & PTE_PRESENT)) {
		word &= ~PTE_UNUSED;
		pgste_set_host_ptes(s->guest, &one, &word, 0);
	}
	return true;
}

static bool act_held(struct search_system *s, enum pgste_action action, uint64_t gfn)
{
	const struct pgste_gfns one = { .first = gfn, .nr = 1 };
	const enum pgste_rewrite least = rewrite_allowed(s, PGSTE_REWRITE_NONE) ?
					 PGSTE_REWRITE_NONE : PGSTE_REWRITE_XCHG;
	bool done = true;

	hold_locks(s, true);
	if (action == PGSTE_ACTION_INTERCEPT_HELD)
		pgste_intercept(s->guest, 0);
	else if (action == PGSTE_ACTION_SWAP_OUT_HELD)
		done = pgste_swap_out(s->guest, &one) > 0;
	else
		done = notify_page(s, gfn, least);
	hold_locks(s, false);
	return done;
}

bool search_notifier_act(struct search_system *s, enum pgste_action action, uint64_t gfn)
{
	switch (action) {
	case PGSTE_ACTION_NOTIFY_NONE: return notify_page(s, gfn, PGSTE_REWRITE_NONE);
	case PGSTE_ACTION_NOTIFY_XCHG: return notify_page(s, gfn, PGSTE_REWRITE_XCHG);
	case PGSTE_ACTION_NOTIFY_SET: return notify_page(s, gfn, PGSTE_REWRITE_SET);
	case PGSTE_ACTION_NOTIFY_START:
		s->notified = (uint8_t)(gfn + 1);
		return notify_page(s, gfn, PGSTE_REWRITE_NONE);
	case PGSTE_ACTION_END_NONE: return notifier_ends(s, gfn, PGSTE_REWRITE_NONE);
	case PGSTE_ACTION_END_XCHG: return notifier_ends(s, gfn, PGSTE_REWRITE_XCHG);
	case PGSTE_ACTION_END_SET: return notifier_ends(s, gfn, PGSTE_REWRITE_SET);
	case PGSTE_ACTION_NOTIFY_HELD:
	case PGSTE_ACTION_SWAP_OUT_HELD:
	case PGSTE_ACTION_INTERCEPT_HELD: return act_held(s, action, gfn);
	default: return false;
	}
}
