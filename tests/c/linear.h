/* SPDX-License-Identifier: MIT */
/*
 * Is there an order?  Calls of several threads on one page, each with its moments of begin and
 * end and what it answered, are held against a page that does one thing after another: some
 * order of the steps, in which no call comes before one that had ended when it began, must give
 * every answer and the page as it was left.  The rules of the page are written from the
 * kernel's text (spec/essa.md sections 2, 3 and 5), not from the engine.
 */
#ifndef LINEAR_H
#define LINEAR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "linear_keys.h"

#define THREADS 3u /* at most */
#define OPS 24u	   /* of a thread in a run */
#define STEPS 8u   /* of an op on one page */
#define ANY (-1)
#define NOTHING (-2)

enum step_kind {
	S_ESSA, S_MARK, S_INTERCEPT, S_STORE, S_SWAP_OUT, S_ZAP, S_GET,
	S_SET_KEY, S_GET_KEY, S_COND_KEY, S_RESET_REFERENCE
};

struct step {
	enum step_kind kind;
	unsigned arg; /* orc; 1: free, 0: alloc; a key and how */
	int answer;   /* ANY: not told */
};

/* What a call did to the page. */
struct op {
	uint64_t begin, end;
	unsigned nr;
	struct step steps[STEPS];
};

struct page_now {
	uint8_t usage, nodat, zero, valid, swap, dirty, free;
	struct keys_now key;
};

struct thread_now {
	uint8_t op, step, zaps, zapped; /* zaps: entries of the list still to be processed */
};

/* A moment of the run: all that decides what may come after. */
struct moment {
	struct page_now page;
	struct thread_now threads[THREADS];
	uint8_t pending[THREADS]; /* entries of the page on each list */
	uint8_t zapped, double_frees, double_allocs;
};

struct history {
	unsigned threads, limit; /* limit: entries of a list */
	bool dat, interpreted, dirtying;
	bool keys; /* the guest uses storage keys */
	bool counts; /* zaps and double calls are all of this page */
	unsigned nr[THREADS];
	struct op ops[THREADS][OPS];
	struct moment first, last; /* of last: page, pending and counts */
};

/* ---- the page, one step at a time ---- */

static bool zap_attempt(struct moment *m)
{
	if (!m->page.swap || !(m->page.usage == 1 || m->page.zero))
		return false;
	m->page.swap = 0;
	m->zapped++;
	return true;
}

static unsigned essa_answer(const struct page_now *p)
{
	const unsigned content = p->valid ? 0 : p->zero ? 3 : 2;

	return (unsigned)p->usage << 2 | content | (p->nodat ? 0x20u : 0u);
}

/* ORC 4: pgtable clears the old usage first, and dat lets it be where nothing applies. */
static bool make_pot_volatile(const struct history *h, struct page_now *p)
{
	const bool changed = p->key.pgste & KEY_C;

	if (p->valid)
		p->usage = 2;
	else if (p->zero || !changed)
		p->usage = 3;
	else
		p->usage = h->dat ? p->usage : 0;
	return !p->valid && !p->zero && !changed;
}

static bool essa_step(const struct history *h, struct page_now *p, unsigned orc)
{
	bool append = false;

	switch (orc) {
	case 1: p->usage = 0; p->nodat = 0; break;
	case 2: p->usage = 1; append = !p->valid; break;
	case 3: p->usage = 3; append = !p->valid; break;
	case 4: append = make_pot_volatile(h, p); break;
	case 5: p->usage = 0; break;
	case 6: p->usage = p->valid ? 0 : p->usage; break;
	case 7: p->usage = 0; p->nodat = 1; break;
	default: break;
	}
	p->zero = h->dat ? append : p->zero || append;
	if (orc && h->dirtying)
		p->dirty = 1;
	return append;
}

static int key_step(const struct history *h, struct page_now *p, const struct step *s)
{
	switch (s->kind) {
	case S_SET_KEY: key_set_step(&p->key, p->valid, s->arg); return 0;
	case S_GET_KEY: return (int)key_seen(&p->key, p->valid);
	case S_COND_KEY: return key_cond_step(&p->key, p->valid, h->dat, s->arg);
	default: return key_reset_step(&p->key, p->valid, h->dat);
	}
}

static int host_step(const struct history *h, struct moment *m, const struct step *s)
{
	struct page_now *p = &m->page;

	switch (s->kind) {
	case S_ZAP: return zap_attempt(m);
	case S_STORE:
		if (h->keys)
			key_stored(&p->key, p->valid, h->dat);
		if (!p->valid)
			p->zero = 0;
		if (!p->valid && !h->dat)
			p->key.changed = 1; /* pgste_set_pte: the guest may write */
		p->valid = 1;
		p->swap = 0;
		return 0;
	case S_SWAP_OUT:
		if (!p->valid)
			return 0;
		if (h->keys)
			key_unmapped(&p->key);
		if (h->dat)
			p->key.changed = 0; /* the guest's PTE is empty */
		p->valid = 0;
		p->swap = p->usage != 1;
		p->zero = p->swap || h->dat ? 0 : p->zero;
		return 1;
	case S_GET: /* the log: USAGE, and NODAT in bit 6, of a dirty page, which is clean then */
		if (!p->dirty)
			return NOTHING;
		p->dirty = 0;
		return p->usage | p->nodat << 6;
	default: /* S_MARK */
		if (p->free == s->arg)
			(*(s->arg ? &m->double_frees : &m->double_allocs))++;
		p->free = (uint8_t)s->arg;
		return 0;
	}
}

/* ---- the search for an order ---- */

#define SEEN (UINT64_C(1) << 18)
static struct {
	struct moment moment;
	uint64_t run;
} seen[SEEN];
static uint64_t run_nr, moments;

/* Was this moment met before?  Then no order goes on from it. */
static bool met(const struct moment *m)
{
	const uint8_t *bytes = (const uint8_t *)m;
	uint64_t hash = 1469598103934665603u;

	for (size_t i = 0; i < sizeof(*m); i++)
		hash = (hash ^ bytes[i]) * 1099511628211u;
	for (uint64_t at = hash % SEEN;; at = (at + 1) % SEEN) {
		if (seen[at].run != run_nr) {
			seen[at].run = run_nr;
			seen[at].moment = *m;
			return ++moments, false;
		}
		if (memcmp(&seen[at].moment, m, sizeof(*m)) == 0)
			return true;
	}
}

static const struct op *op_of(const struct history *h, const struct moment *m, unsigned t)
{
	return m->threads[t].op < h->nr[t] ? &h->ops[t][m->threads[t].op] : NULL;
}

/* May thread t do something now?  A call begins after those that had ended before it. */
static bool may_go(const struct history *h, const struct moment *m, unsigned t)
{
	const struct op *op = op_of(h, m, t), *other;

	if (!op)
		return false;
	if (m->threads[t].step || m->threads[t].zaps)
		return true;
	for (unsigned u = 0; u < h->threads; u++) {
		other = op_of(h, m, u);
		if (u != t && other && other->end < op->begin)
			return false;
	}
	return true;
}

static void step_done(const struct op *op, struct thread_now *now)
{
	if (++now->step < op->nr)
		return;
	now->op++;
	now->step = now->zapped = 0;
}

/* One entry of the list is processed; the last one ends what the list was processed for. */
static bool process_entry(const struct history *h, struct moment *m, unsigned t)
{
	const struct op *op = op_of(h, m, t);
	struct thread_now *now = &m->threads[t];
	const struct step *s = &op->steps[now->step];

	now->zapped = (uint8_t)(now->zapped + zap_attempt(m));
	if (--now->zaps)
		return true;
	m->pending[t] = 0;
	if (s->kind == S_INTERCEPT && s->answer != ANY && s->answer != now->zapped)
		return false;
	/* a full list is processed before its ESSA, which is still to come */
	if (s->kind == S_INTERCEPT || h->interpreted)
		step_done(op, now);
	return true;
}

/* The next thing that thread t does; false: not with this answer. */
static bool go(const struct history *h, struct moment *m, unsigned t)
{
	const struct op *op = op_of(h, m, t);
	struct thread_now *now = &m->threads[t];
	const struct step *s = &op->steps[now->step];

	if (now->zaps)
		return process_entry(h, m, t);
	if (s->kind == S_INTERCEPT || (s->kind == S_ESSA && m->pending[t] >= h->limit)) {
		now->zaps = m->pending[t];
		if (now->zaps)
			return process_entry(h, m, t);
	} else if (s->kind == S_ESSA) {
		if (s->answer != ANY && s->answer != (int)essa_answer(&m->page))
			return false;
		m->pending[t] = (uint8_t)(m->pending[t] + essa_step(h, &m->page, s->arg));
		if (h->interpreted && m->pending[t]) {
			now->zaps = m->pending[t];
			return true;
		}
	} else {
		const int answer = s->kind >= S_SET_KEY ? key_step(h, &m->page, s) :
							  host_step(h, m, s);

		if (answer != s->answer && s->answer != ANY)
			return false;
	}
	if (s->kind == S_INTERCEPT && s->answer > 0)
		return false;
	step_done(op, now);
	return true;
}

static bool is_last(const struct history *h, const struct moment *m)
{
	for (unsigned t = 0; t < h->threads; t++)
		if (m->threads[t].op < h->nr[t])
			return false;
	if (memcmp(&m->page, &h->last.page, sizeof(m->page)) ||
	    memcmp(m->pending, h->last.pending, sizeof(m->pending)))
		return false;
	return !h->counts ||
	       (m->zapped == h->last.zapped && m->double_frees == h->last.double_frees &&
		m->double_allocs == h->last.double_allocs);
}

static bool search(const struct history *h, const struct moment *m)
{
	if (is_last(h, m))
		return true;
	if (met(m))
		return false;
	for (unsigned t = 0; t < h->threads; t++) {
		struct moment next = *m;

		if (may_go(h, m, t) && go(h, &next, t) && search(h, &next))
			return true;
	}
	return false;
}

/* Is there an order that explains the run? */
static bool linear(const struct history *h)
{
	run_nr++;
	return search(h, &h->first);
}

#endif
