/* SPDX-License-Identifier: MIT */
/*
 * The actions of the search, each a call of the engine.  docs/guarantees.md has them in words.
 *
 * What may race with a store is cut where another vcpu could come in: between the pages of a
 * list or of the whole table, so that "zap" of one page at any time covers a store in the
 * middle of either, and between the guest's free and the moment its host hears of it.
 */
#include "pgste/pte.h"
#include "search/actions.h"
#include "search/observe.h"

/* ---- actions that apply: false if the system refuses one and nothing changes ---- */

/* A refusal says something of the system, memory that runs out does not. */
static int64_t noted(struct search_system *s, int64_t result)
{
	s->no_memory |= result == PGSTE_E_NOMEM;
	return result;
}

static int store(struct search_system *s, uint64_t gfn)
{
	const struct pgste_gfns one = { .first = gfn, .nr = 1 };
	const uint32_t tag = tag_of(gfn, LABEL_NEW);

	if (gfn == WATCHED)
		content_is_old(s);
	return (int)noted(s, pgste_write(s->guest, &one, &tag, 0));
}

/* free_pages_prepare: before its free init_on_free zeroes a page, page_poison makes it 0xaa. */
static int fill(struct search_system *s, uint64_t gfn)
{
	const struct pgste_gfns one = { .first = gfn, .nr = 1 };
	uint32_t tag = 0;

	if (s->config->poison == PGSTE_POISON_NONE)
		return PGSTE_OK;
	if (s->config->poison == PGSTE_POISON_PAGE_POISON)
		tag = tag_of(gfn, LABEL_POISON);
	return (int)noted(s, pgste_write(s->guest, &one, &tag, 0));
}

static int load(struct search_system *s, uint64_t gfn, uint32_t *tag)
{
	const struct pgste_gfns one = { .first = gfn, .nr = 1 };

	return (int)noted(s, pgste_read(s->guest, &one, tag));
}

static bool refused(int error, struct search_system *s, uint64_t *found)
{
	if (pgste_pgm_code(error)) {
		SHOW(TOUCH_WHILE_FREE, s->watched.phase == PHASE_FREE);
		SHOW(ANNOUNCE_REUSE, s->watched.phase == PHASE_TAKEN);
	}
	return error != PGSTE_OK;
}

static void stored(struct observed *w, enum store store)
{
	w->store = (uint8_t)store;
	w->read_zero = w->dropped = false;
}

static void stored_now(struct search_system *s)
{
	static const enum store when[] = {
		[PHASE_IN_USE] = STORE_IN_USE,
		[PHASE_FREE] = STORE_FREE,
		[PHASE_TAKEN] = STORE_TAKEN,
	};

	stored(&s->watched, when[s->watched.phase]);
	/* a page that waits for its report is one that the host is being told about */
	if (s->watched.phase == PHASE_FREE && search_reporting_pending(s, WATCHED))
		s->watched.store = STORE_RACED;
}

static bool do_write(struct search_system *s, uint64_t gfn, uint64_t *found)
{
	int error = store(s, gfn);

	if (gfn != WATCHED)
		return !error;
	if (refused(error, s, found))
		return false;
	stored_now(s);
	return true;
}

/* A device stores to the frame that it has, the page's or another. */
static bool do_dma_write(struct search_system *s)
{
	const struct pgste_gfns one = { .first = WATCHED, .nr = 1 };
	const uint32_t tag = tag_of(WATCHED, LABEL_NEW);

	content_is_old(s);
	if (s->apart)
		s->apart = 1 + LABEL_NEW;
	else
		pgste_poke(s->guest, &one, &tag, 0);
	stored_now(s);
	return true;
}

static bool do_read(struct search_system *s, uint64_t gfn, uint64_t *found)
{
	uint32_t tag = 0;
	int error = load(s, gfn, &tag);

	if (gfn != WATCHED)
		return !error;
	if (refused(error, s, found))
		return false;
	if (tag == 0 && s->watched.store == STORE_NONE)
		s->watched.read_zero = true;
	return true;
}

static bool do_free(struct search_system *s, uint64_t gfn, bool raced, uint32_t vcpu)
{
	if (fill(s, gfn))
		return false;
	if (gfn != WATCHED)
		return !pgste_free_page(s->guest, vcpu, gfn);
	if (raced && store(s, gfn))
		return false;
	s->watched = (struct observed){ .phase = PHASE_FREE };
	if (raced)
		stored(&s->watched, STORE_RACED);
	else
		content_is_old(s);
	return !pgste_free_page(s->guest, vcpu, gfn);
}

static bool do_alloc(struct search_system *s, uint64_t gfn, uint32_t vcpu)
{
	if (gfn == WATCHED)
		s->watched.phase = PHASE_IN_USE;
	return !pgste_alloc_page(s->guest, vcpu, gfn);
}

static bool do_take(struct search_system *s, uint64_t gfn)
{
	s->watched.phase = PHASE_TAKEN;
	/* the host hears nothing of it anyway: what is skipped is only the oracle's word */
	if (s->guest->mech == &mech_reporting)
		pgste_alloc_page(s->guest, 0, gfn);
	return true;
}

static bool do_swap_in(struct search_system *s, uint64_t gfn)
{
	uint32_t tag;

	return !load(s, gfn, &tag);
}

static bool do_age(struct search_system *s, uint64_t gfn)
{
	const struct pgste_gfns one = { .first = gfn, .nr = 1 };
	uint64_t before;
	uint8_t young;

	return !pgste_age(s->guest, &one, &young, &before);
}

/* A folio begins to be in something, or ends. */
static bool flip(struct search_system *s, uint64_t gfn, enum pgste_folio what)
{
	const struct pgste_gfns one = { .first = gfn, .nr = 1 };

	return pgste_set_folio(s->guest, &one, what, true) > 0 ||
	       pgste_set_folio(s->guest, &one, what, false) > 0;
}

/* All that holds a folio is dropped, and the host reclaims until nothing more can be reclaimed. */
static void run_short(struct search_system *s)
{
	const struct pgste_gfns all = { .nr = s->guest->mm.nr_pages };

	for (unsigned what = 0; what < PGSTE_FOLIO_SHARED; what++)
		if (what != PGSTE_FOLIO_PINNED || !s->config->pinned) /* a device does not let go */
			pgste_set_folio(s->guest, &all, (enum pgste_folio)what, false);
	for (unsigned tries = 0; tries < 4; tries++)
		pgste_host_reclaim(s->host, s->config->nr_frames);
}

static bool act_on_page(struct search_system *s, enum pgste_action action, uint64_t gfn,
			uint64_t *found)
{
	const struct pgste_gfns one = { .first = gfn, .nr = 1 };

	switch (action) {
	case PGSTE_ACTION_WRITE: return do_write(s, gfn, found);
	case PGSTE_ACTION_READ: return do_read(s, gfn, found);
	case PGSTE_ACTION_FREE: return do_free(s, gfn, false, 0);
	case PGSTE_ACTION_FREE_ELSEWHERE: return do_free(s, gfn, false, 1);
	case PGSTE_ACTION_FREE_RACED: return do_free(s, gfn, true, 0);
	case PGSTE_ACTION_ALLOC: return do_alloc(s, gfn, 0);
	case PGSTE_ACTION_ALLOC_ELSEWHERE: return do_alloc(s, gfn, 1);
	case PGSTE_ACTION_TAKE: return do_take(s, gfn);
	case PGSTE_ACTION_SWAP_OUT: return noted(s, pgste_swap_out(s->guest, &one)) > 0;
	case PGSTE_ACTION_SWAP_IN: return do_swap_in(s, gfn);
	case PGSTE_ACTION_ZAP: return pgste_zap(s->guest, gfn) > 0;
	case PGSTE_ACTION_PIN: return flip(s, gfn, PGSTE_FOLIO_PINNED);
	case PGSTE_ACTION_LOCK: return flip(s, gfn, PGSTE_FOLIO_LOCKED);
	case PGSTE_ACTION_WRITEBACK: return flip(s, gfn, PGSTE_FOLIO_WRITEBACK);
	case PGSTE_ACTION_FORK: return flip(s, gfn, PGSTE_FOLIO_SHARED);
	case PGSTE_ACTION_AGE: return do_age(s, gfn);
	case PGSTE_ACTION_DMA_WRITE: return do_dma_write(s);
	default: return search_notifier_act(s, action, gfn);
	}
}

static bool act_on_all(struct search_system *s, enum pgste_action action)
{
	switch (action) {
	case PGSTE_ACTION_RECLAIM: pgste_host_reclaim(s->host, 1); return true;
	case PGSTE_ACTION_INTERCEPT: pgste_intercept(s->guest, 0); return true;
	case PGSTE_ACTION_ZAP_SCAN: pgste_zap_scan(s->guest, 1); return true;
	case PGSTE_ACTION_REPORT: search_reporting_next(s); return true;
	case PGSTE_ACTION_RESET: pgste_reset_cmma(s->guest); return true;
	case PGSTE_ACTION_MIGRATE:
		pgste_set_migration(s->guest, !pgste_get_migration(s->guest));
		return true;
	case PGSTE_ACTION_INTERCEPT_ELSEWHERE: pgste_intercept(s->guest, 1); return true;
	default: return search_notifier_act(s, action, 0);
	}
}

static bool action_has_page(enum pgste_action action)
{
	return action < PGSTE_ACTION_RECLAIM;
}

/* Actions that can do nothing under a mechanism are left out; docs/guarantees.md. */
static bool belongs(const struct search_system *s, enum pgste_action action)
{
	const bool zvm = s->guest->mm.generation == PGSTE_GEN_ZVM;

	switch (action) {
	case PGSTE_ACTION_INTERCEPT:
	case PGSTE_ACTION_ZAP:
	case PGSTE_ACTION_ZAP_SCAN:
	case PGSTE_ACTION_MIGRATE: return s->guest->mech->cmma && !zvm;
	case PGSTE_ACTION_RESET: return s->guest->mech->cmma;
	case PGSTE_ACTION_REPORT: return s->guest->mech == &mech_reporting;
	case PGSTE_ACTION_PIN: return s->guest->mech == &mech_madv_free && !s->config->pinned;
	case PGSTE_ACTION_LOCK:
	case PGSTE_ACTION_WRITEBACK: return s->config->busy;
	/* fork copies what a device has pinned for the child; a file's pages are never copied */
	case PGSTE_ACTION_FORK:
		return s->config->busy && !s->config->pinned && !s->config->memfd;
	case PGSTE_ACTION_DMA_WRITE: return s->config->pinned;
	case PGSTE_ACTION_AGE: return !zvm;
	case PGSTE_ACTION_FREE_ELSEWHERE:
	case PGSTE_ACTION_ALLOC_ELSEWHERE:
	case PGSTE_ACTION_INTERCEPT_ELSEWHERE:
		return s->guest->mech->cmma && s->guest->nr_vcpus > 1;
	default: return search_notifier_belongs(s, action);
	}
}

/* Would the page's content go if the host ran short now?  The state is not kept. */
static bool pressure(struct search_system *s, uint64_t *found, uint64_t *premises)
{
	run_short(s);
	ASK(ZAPPED_UNDER_PRESSURE, true, has_content(s, WATCHED));
	return false;
}

/* What the host does to a page in use: where other pages are obedient, to the watched one only. */
static bool is_of_host(enum pgste_action action)
{
	return action == PGSTE_ACTION_AGE ||
	       (action >= PGSTE_ACTION_NOTIFY_NONE && action <= PGSTE_ACTION_END_SET);
}

bool action_belongs(const struct search_system *s, enum pgste_action action, uint64_t gfn)
{
	if ((gfn && !action_has_page(action)) ||
	    (gfn != WATCHED && s->config->obedient && is_of_host(action)))
		return false;
	if (gfn != WATCHED && (action == PGSTE_ACTION_FREE_RACED ||
			       action == PGSTE_ACTION_TAKE || action == PGSTE_ACTION_DMA_WRITE))
		return false;
	return belongs(s, action);
}

/* ---- which apply: putting the system back after one that does nothing takes time ---- */

/* A page that is obedient is stored to, loaded and freed in use only, and allocated free only. */
static bool in_protocol(const struct search_system *s, uint64_t gfn, bool free)
{
	return gfn == WATCHED || !s->config->obedient || page_is_free(s->guest, gfn) == free;
}

/* A fault waits until the notifier of its page has ended. */
static bool is_blocked(const struct search_system *s, uint64_t gfn)
{
	return s->notified == gfn + 1;
}

/* The host still has something of a page freed; zeros count if the guest put them there. */
static bool has_kept(const struct search_system *s)
{
	if (s->watched.phase != PHASE_FREE || s->watched.store != STORE_NONE)
		return false;
	return content_of(&s->guest->mm, WATCHED) ||
	       (s->config->poison == PGSTE_POISON_INIT_ON_FREE && has_content(s, WATCHED));
}

bool action_applies(const struct search_system *s, enum pgste_action action, uint64_t gfn)
{
	const uint8_t state = s->guest->mm.state[gfn];

	switch (action) {
	case PGSTE_ACTION_WRITE:
	case PGSTE_ACTION_READ: return in_protocol(s, gfn, false) && !is_blocked(s, gfn);
	case PGSTE_ACTION_FREE:
	case PGSTE_ACTION_FREE_ELSEWHERE: return in_protocol(s, gfn, false);
	case PGSTE_ACTION_ALLOC:
	case PGSTE_ACTION_ALLOC_ELSEWHERE: return in_protocol(s, gfn, true);
	case PGSTE_ACTION_FREE_RACED:
		return s->watched.phase != PHASE_FREE && !is_blocked(s, gfn);
	case PGSTE_ACTION_TAKE: return s->watched.phase == PHASE_FREE;
	case PGSTE_ACTION_PRESSURE: return has_kept(s);
	case PGSTE_ACTION_SWAP_OUT:
	case PGSTE_ACTION_PIN:
	case PGSTE_ACTION_LOCK:
	case PGSTE_ACTION_WRITEBACK:
	case PGSTE_ACTION_FORK: return pte_is_present(s->guest->mm.pte[gfn], state);
	case PGSTE_ACTION_SWAP_IN: return (state & PGSTE_STATE_SWAP) && !is_blocked(s, gfn);
	case PGSTE_ACTION_ZAP: return state_zappable(state);
	case PGSTE_ACTION_AGE: return page_is_young(&s->guest->mm, gfn);
	case PGSTE_ACTION_REPORT: return search_reporting_due(s);
	default: return search_notifier_applies(s, action, gfn);
	}
}

/*
 * A frame that a device has pinned is not swapped, so a page that is in memory no longer was
 * dropped, and the device keeps the frame with what was in it.  A file has the same frame still,
 * or finds it in the swap cache, unless a hole was punched.
 */
static void frame_outlives(struct search_system *s, enum pgste_action action,
			   const struct before *b)
{
	enum label label = tag_label(b->content[WATCHED]);

	if (!s->config->pinned || s->apart || page_tag(s, WATCHED) || has_content(s, WATCHED))
		return;
	if (action == PGSTE_ACTION_FREE_RACED)
		label = LABEL_NEW; /* it was stored just before */
	else if (action == PGSTE_ACTION_FREE && label == LABEL_NEW)
		label = LABEL_OLD; /* of before the free */
	s->apart = (uint8_t)(1 + label);
}

bool action_do(struct search_system *s, struct pgste_step step, const struct before *before,
	       uint64_t *found, uint64_t *premises)
{
	const enum pgste_action action = (enum pgste_action)step.action;
	const bool page = action_has_page(action);

	if (action == PGSTE_ACTION_PRESSURE)
		return pressure(s, found, premises);
	if (!(page ? act_on_page(s, action, step.gfn, found) : act_on_all(s, action)))
		return false;
	frame_outlives(s, action, before);
	observe(s, action, page ? step.gfn : SEARCH_MAX_PAGES, before, found, premises);
	return true;
}
