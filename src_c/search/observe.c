/* SPDX-License-Identifier: MIT */
/*
 * What an observer of page 0 learns from an action: the questions of the search.
 * docs/guarantees.md has them in words.
 */
#include "search/observe.h"

/* What a load of the watched page would show; it may be refused. */
struct view {
	bool readable;
	uint32_t tag;
};

static struct view look(const struct search_system *s)
{
	struct view v = { .readable = true, .tag = content_of(&s->guest->mm, WATCHED) };

	if (s->guest->mm.rules)
		v.readable = s->guest->mm.rules->access(&s->guest->mm, WATCHED) == PGSTE_OK;
	return v;
}

bool has_content(const struct search_system *s, uint64_t gfn)
{
	return s->guest->mm.pte[gfn] != 0 || (s->guest->mm.state[gfn] & PGSTE_STATE_SWAP);
}

static void relabel(uint32_t *tag)
{
	if (tag && tag_label(*tag) == LABEL_NEW)
		*tag = tag_of(WATCHED, LABEL_OLD);
}

void content_is_old(struct search_system *s)
{
	relabel(page_tag(s, WATCHED));
	relabel(page_slot_tag(s, WATCHED));
}

static struct listed look_at_list(const struct vcpu *vcpu)
{
	struct listed l = {
		.nr = vcpu->nr,
		.appended = vcpu->appended,
		.processed = vcpu->processed,
	};

	for (uint32_t i = 0; i < vcpu->nr; i++)
		l.pages |= UINT32_C(1) << vcpu->cbrl[i];
	return l;
}

void note_before(const struct search_system *s, struct before *b)
{
	*b = (struct before){ .watched = s->watched, .state = s->guest->mm.state[WATCHED] };
	for (uint64_t gfn = 0; gfn < s->guest->mm.nr_pages; gfn++) {
		b->had_content[gfn] = has_content(s, gfn);
		b->zappable[gfn] = state_zappable(s->guest->mm.state[gfn]) ||
				   search_reporting_pending(s, gfn);
		b->content[gfn] = content_of(&s->guest->mm, gfn);
	}
	for (uint32_t v = 0; v < s->guest->nr_vcpus; v++)
		b->lists[v] = look_at_list(&s->guest->vcpus[v]);
}

static bool is_touch(enum pgste_action action)
{
	return action == PGSTE_ACTION_WRITE || action == PGSTE_ACTION_READ;
}

static bool is_plain_free(enum pgste_action action)
{
	return action == PGSTE_ACTION_FREE || action == PGSTE_ACTION_FREE_ELSEWHERE;
}

static bool is_free(enum pgste_action action)
{
	return is_plain_free(action) || action == PGSTE_ACTION_FREE_RACED;
}

static bool is_alloc(enum pgste_action action)
{
	return action == PGSTE_ACTION_ALLOC || action == PGSTE_ACTION_ALLOC_ELSEWHERE;
}

/* A raced free stores too, which may take another page's frame. */
static bool is_to_zap(enum pgste_action action)
{
	switch (action) {
	case PGSTE_ACTION_REPORT:
	case PGSTE_ACTION_ZAP:
	case PGSTE_ACTION_INTERCEPT:
	case PGSTE_ACTION_INTERCEPT_HELD:
	case PGSTE_ACTION_INTERCEPT_ELSEWHERE:
	case PGSTE_ACTION_ZAP_SCAN: return true;
	default: return is_plain_free(action) || is_alloc(action);
	}
}

/* Right after a free or alloc of the watched page. */
static void observe_call(struct search_system *s, enum pgste_action action, struct view v,
			 const struct before *b, uint64_t *found, uint64_t *premises)
{
	const bool freed = is_plain_free(action) && b->watched.phase != PHASE_FREE;
	const bool allocated = is_alloc(action) && b->watched.phase == PHASE_FREE &&
			       b->watched.store == STORE_NONE;

	ASK(ZERO_AFTER_FREE, freed, !v.readable || v.tag != 0);
	ASK(READABLE_AFTER_FREE, freed, v.readable);
	ASK(ZERO_AFTER_FREE_SWAPPED, freed && (b->state & PGSTE_STATE_SWAP),
	    !v.readable || v.tag != 0);
	ASK(ZAPPED_AT_ONCE, freed && b->had_content[WATCHED], has_content(s, WATCHED));
	ASK(ZERO_AFTER_ALLOC, allocated, !v.readable || v.tag != 0);
}

/* The life of the watched page's content. */
static void observe_content(struct search_system *s, enum pgste_action action, struct view v,
			    const struct before *b, uint64_t *found, uint64_t *premises)
{
	const struct observed w = s->watched;
	const bool none = w.store == STORE_NONE;
	const bool dropped = b->had_content[WATCHED] && !has_content(s, WATCHED);
	bool lost;

	ASK(ZAPPED_EVER, w.phase == PHASE_FREE && none, dropped);
	s->watched.dropped |= dropped;
	ASK(STALE, v.readable && none,
	    v.tag != 0 && tag_label(v.tag) != LABEL_POISON);
	ASK(ZERO_AFTER_ZAP, v.readable && none && (w.dropped || dropped), v.tag != 0);
	ASK(STALE_AFTER_ZERO, v.readable && none && w.read_zero, v.tag != 0);
	lost = v.readable && v.tag != tag_of(WATCHED, LABEL_NEW);
	ASK(LOST_AFTER_ALLOC, w.store == STORE_IN_USE, lost);
	ASK(LOST_BEFORE_ALLOC, w.store == STORE_FREE && w.phase == PHASE_IN_USE, lost);
	ASK(LOST_WITHOUT_ALLOC, w.store == STORE_TAKEN && w.phase == PHASE_TAKEN, lost);
	ASK(LOST_RACING, w.store == STORE_RACED, lost);
	premises[PGSTE_QUESTION_ANNOUNCE_REUSE] += w.phase == PHASE_TAKEN;
	premises[PGSTE_QUESTION_TOUCH_WHILE_FREE] +=
		b->watched.phase == PHASE_FREE && is_touch(action);
	SHOW(ANNOUNCE_REUSE, *found >> PGSTE_QUESTION_LOST_WITHOUT_ALLOC & 1);
	/* a store known to be lost is not looked for any longer */
	if (lost && !none && (w.store != STORE_FREE || w.phase == PHASE_IN_USE)) {
		s->watched.store = STORE_NONE;
		content_is_old(s);
	}
}

/* The list of a vcpu. */
static void observe_list(struct search_system *s, uint32_t v, const struct before *b,
			 uint64_t *found, uint64_t *premises)
{
	const struct listed *was = &b->lists[v], is = look_at_list(&s->guest->vcpus[v]);
	const uint32_t gone = was->pages & ~is.pages;

	for (uint64_t gfn = 0; gone && gfn < s->guest->mm.nr_pages; gfn++)
		ASK(ENTRY_LOST, gone >> gfn & 1, state_zappable(s->guest->mm.state[gfn]));
	SHOW(ENTRY_LOST, is.nr + (is.processed - was->processed) !=
				 was->nr + (is.appended - was->appended));
	ASK(ENTRY_TWICE, is.processed != was->processed, pgste_validate(s->host) != NULL);
}

/* Pages that an action was not about, and what outlives a page's being in use. */
static void observe_others(struct search_system *s, enum pgste_action action, uint64_t about,
			   struct view v, const struct before *b, uint64_t *found,
			   uint64_t *premises)
{
	const bool may_zap = s->guest->mech != &mech_none && is_to_zap(action);
	const bool had_zero = (b->state & (PGSTE_STATE_USAGE | PGSTE_STATE_ZERO)) ==
			      PGSTE_STATE_ZERO && b->content[WATCHED] != 0;

	for (uint64_t gfn = 0; gfn < s->guest->mm.nr_pages; gfn++) {
		const uint32_t tag = content_of(&s->guest->mm, gfn);

		ASK(ZAP_HARMS, may_zap && gfn != about && !b->zappable[gfn] && b->had_content[gfn],
		    tag != b->content[gfn]);
		SHOW(ZAP_HARMS, tag != 0 && tag != tag_of(gfn, tag_label(tag)));
	}
	ASK(STABLE_ZERO, had_zero && b->watched.phase == PHASE_IN_USE &&
	    !(about == WATCHED && (is_free(action) || action == PGSTE_ACTION_WRITE)),
	    v.tag == 0);
}

void observe(struct search_system *s, enum pgste_action action, uint64_t about,
	     const struct before *b, uint64_t *found, uint64_t *premises)
{
	const struct view v = look(s);

	if (about == WATCHED)
		observe_call(s, action, v, b, found, premises);
	for (uint32_t v = 0; v < s->guest->nr_vcpus; v++)
		observe_list(s, v, b, found, premises);
	observe_others(s, action, about, v, b, found, premises);
	observe_content(s, action, v, b, found, premises);
}
