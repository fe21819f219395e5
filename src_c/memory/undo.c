/* SPDX-License-Identifier: MIT */
/*
 * Undo for calls that may run out of memory half way: what such a call may change is copied
 * before, and put back if it fails.  That is the host itself, its frames and slots as far as
 * they were ever used, all counters, and the pages that own a frame or are named in the call;
 * no other page's words can change.  Taken only when a call might really fail.
 */
#include <stdlib.h>
#include <string.h>

#include "memory/undo.h"

struct page_words {
	struct mm *mm;
	uint64_t gfn, pte, file;
	uint16_t rest, host;
	uint8_t state;
};

struct mm_counts {
	struct pgste_guest_stats stats;
	struct two_counts two;
	struct notes notes; /* those that fired since are forgotten */
	uint64_t nr_foreign;
	struct window window;
	uint32_t *filter;
	bool walked;
};

struct snapshot {
	struct pgste_host *live, host;
	struct frame *frames;
	struct slot *slots;
	struct mm_counts *counts; /* of each address space of the host */
	struct lru *lru;	  /* NULL for hosts without */
	uint8_t *keys;			 /* of frames that the call may use, if there are any */
	uint64_t nr_keys;
	struct page_words *pages;
	uint64_t *gfns; /* of the call */
	uint32_t nr_mms; /* in counts */
	uint64_t nr_pages;
};

void snapshot_free(struct snapshot *s)
{
	if (!s)
		return;
	free(s->frames);
	free(s->slots);
	for (uint32_t i = 0; s->counts && i < s->nr_mms; i++)
		free(s->counts[i].filter);
	free(s->counts);
	lru_saved_free(s->lru);
	free(s->keys);
	free(s->pages);
	free(s->gfns);
	free(s);
}

static void save_page(struct snapshot *s, struct mm *mm, uint64_t gfn)
{
	s->pages[s->nr_pages++] = (struct page_words){
		.mm = mm,
		.gfn = gfn,
		.pte = mm->pte[gfn],
		.rest = mm->rest[gfn],
		.host = mm->two.bits ? mm->two.bits[gfn] : 0,
		.file = mm->file ? mm->file[gfn] : 0,
		.state = mm->state[gfn],
	};
}

static void *copy_of(const void *from, uint64_t nr, size_t size)
{
	void *to = nr > SIZE_MAX / size ? NULL : malloc(nr ? nr * size : 1);

	if (to && nr)
		memcpy(to, from, nr * size);
	return to;
}

static uint64_t nr_tables(const struct mm *mm)
{
	return (mm->nr_pages + HOST_TABLE - 1) / HOST_TABLE;
}

static bool save_filters(struct snapshot *s, const struct pgste_host *host)
{
	for (uint32_t i = 0; i < host->room_mms; i++) {
		const struct mm *mm = host->mms[i];

		if (!mm)
			continue;
		s->counts[i].filter = copy_of(mm->filter, nr_tables(mm), sizeof(*mm->filter));
		if (!s->counts[i].filter)
			return false;
	}
	return true;
}

static bool save_tables(struct snapshot *s, const struct pgste_host *host, uint64_t nr_gfns)
{
	s->frames = copy_of(host->frames, host->fresh_frame, sizeof(*s->frames));
	s->slots = copy_of(host->slots, host->fresh_slot, sizeof(*s->slots));
	s->counts = calloc(host->room_mms, sizeof(*s->counts));
	s->nr_mms = host->room_mms;
	if (s->counts && has_gens(host) && !save_filters(s, host))
		return false;
	s->pages = calloc(host->fresh_frame + nr_gfns + 1, sizeof(*s->pages));
	s->gfns = calloc(nr_gfns + 1, sizeof(*s->gfns));
	if (host->lru)
		s->lru = lru_save(host);
	/* a gfn takes one frame at most that was never used */
	if (host->keys)
		s->nr_keys = min_u64(host->config.nr_frames, host->fresh_frame + nr_gfns);
	s->keys = copy_of(host->keys, s->nr_keys, 1);
	return s->frames && s->slots && s->keys && s->counts && s->pages && s->gfns &&
	       (s->lru || !host->lru);
}

static int save_gfns(struct snapshot *s, struct mm *mm, const struct pgste_gfns *gfns)
{
	for (uint64_t i = 0; i < gfns->nr; i++) {
		if (watch_stops_at(i))
			return PGSTE_E_CANCELLED;
		if (!gfn_get(gfns, i, mm->nr_pages, &s->gfns[i]))
			return PGSTE_E_CHANGED;
		save_page(s, mm, s->gfns[i]);
	}
	return PGSTE_OK;
}

int snapshot_take(struct mm *mm, struct pgste_gfns *gfns, struct snapshot **snapshot)
{
	struct pgste_host *host = mm->host;
	struct snapshot *s = calloc(1, sizeof(*s));
	int error;

	*snapshot = NULL;
	if (!s || !save_tables(s, host, gfns->nr)) {
		snapshot_free(s);
		return PGSTE_E_NOMEM;
	}
	error = save_gfns(s, mm, gfns);
	if (error) {
		snapshot_free(s);
		return error;
	}
	s->live = host;
	s->host = *host;
	for (uint32_t i = 0; i < host->room_mms; i++)
		if (host->mms[i]) {
			s->counts[i] = (struct mm_counts){
				.stats = host->mms[i]->stats,
				.two = host->mms[i]->two.counts,
				.notes = host->mms[i]->notes,
				.nr_foreign = host->mms[i]->nr_foreign,
				.window = host->mms[i]->window,
				.filter = s->counts[i].filter,
				.walked = host->mms[i]->walked,
			};
		}
	for (uint64_t i = 0; i < host->fresh_frame; i++)
		if (host->frames[i].list != PGSTE_LIST_FREE &&
		    !frame_is_unmapped(&host->frames[i]))
			save_page(s, host->mms[host->frames[i].owner], host->frames[i].gfn);
	*gfns = (struct pgste_gfns){ .type = PGSTE_GFN_U64, .data = s->gfns, .nr = gfns->nr };
	*snapshot = s;
	return PGSTE_OK;
}

void snapshot_restore(struct snapshot *s)
{
	struct pgste_host *host;

	if (!s)
		return;
	host = s->live;
	/* the lock is not ours to copy; the rest of the host is plain data */
	s->host.lock = host->lock;
	*host = s->host;
	if (s->lru)
		lru_restore(host, s->lru);
	memcpy(host->frames, s->frames, host->fresh_frame * sizeof(*s->frames));
	memcpy(host->slots, s->slots, host->fresh_slot * sizeof(*s->slots));
	if (s->nr_keys)
		memcpy(host->keys, s->keys, s->nr_keys);
	for (uint32_t i = 0; i < host->room_mms; i++)
		if (host->mms[i]) {
			host->mms[i]->stats = s->counts[i].stats;
			host->mms[i]->two.counts = s->counts[i].two;
			host->mms[i]->notes = s->counts[i].notes;
			host->mms[i]->nr_foreign = s->counts[i].nr_foreign;
			host->mms[i]->window = s->counts[i].window;
			host->mms[i]->walked = s->counts[i].walked;
			if (s->counts[i].filter)
				memcpy(host->mms[i]->filter, s->counts[i].filter,
				       nr_tables(host->mms[i]) * sizeof(*host->mms[i]->filter));
		}
	for (uint64_t i = 0; i < s->nr_pages; i++) {
		const struct page_words *p = &s->pages[i];

		p->mm->pte[p->gfn] = p->pte;
		p->mm->rest[p->gfn] = p->rest;
		p->mm->state[p->gfn] = p->state;
		if (p->mm->two.bits)
			p->mm->two.bits[p->gfn] = p->host;
		if (p->mm->file)
			p->mm->file[p->gfn] = p->file;
	}
}
