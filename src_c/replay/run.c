/* SPDX-License-Identifier: MIT */
/*
 * Replay of page allocator events through the guests of one host.  docs/model.md section 9.
 */
#include <stdlib.h>
#include <string.h>

#include "replay/steps.h"

/* Events ahead of the current one whose pages are fetched, and whose frames are. */
#define PREFETCH_PAGE 64u
#define PREFETCH_FRAME 24u

/* The pages of a block whose free bit is `is`, as runs. */
static uint64_t next_run(const struct pgste_guest *guest, uint64_t at, uint64_t end, bool is,
			 uint64_t *nr)
{
	while (at < end && page_is_free(guest, at) != is)
		at++;
	for (*nr = 0; at + *nr < end && page_is_free(guest, at + *nr) == is; ++*nr)
		;
	return at;
}

static void replay_free(struct pgste_replay *r, struct pgste_guest *guest, uint64_t gfn,
			unsigned order)
{
	const uint64_t nr = UINT64_C(1) << order, end = gfn + nr;
	uint64_t run, done = 0;

	if (nr == 1) {
		if (page_is_free(guest, gfn))
			r->ignored_frees++;
		else
			replay_free_run(guest, gfn, 1, 0);
		return;
	}
	for (uint64_t at = next_run(guest, gfn, end, false, &run); run;
	     at = next_run(guest, at + run, end, false, &run)) {
		replay_free_run(guest, at, run, run == nr ? order : 0);
		done += run;
	}
	r->ignored_frees += nr - done;
}

/* A page in use that is allocated again was freed in between, unseen. */
static void imply_frees(struct pgste_replay *r, struct pgste_guest *guest, uint64_t gfn,
			uint64_t nr)
{
	for (uint64_t i = 0; i < nr; i++) {
		if (page_is_free(guest, gfn + i))
			continue;
		replay_free_run(guest, gfn + i, 1, 0);
		guest_settle(guest);
		r->implied_frees++;
	}
}

static int replay_alloc(struct pgste_replay *r, struct pgste_guest *guest, uint64_t gfn,
			unsigned order)
{
	const uint64_t nr = UINT64_C(1) << order;
	uint64_t nr_stale = 0;

	guest_settle(guest);
	imply_frees(r, guest, gfn, nr);
	replay_mark(guest, gfn, nr, false);
	guest->vcpus[0].pages_allocated += nr;
	replay_hint_alloc(guest, gfn, nr, order);
	for (uint64_t i = 0; i < nr; i++) {
		bool stale;
		int error = replay_first_store(guest, gfn + i, replay_next_tag(r), &stale);

		if (error)
			return error;
		nr_stale += stale;
	}
	r->stale_pages += nr_stale;
	r->stale_allocs += nr_stale != 0;
	return PGSTE_OK;
}

static ALWAYS_INLINE int replay_event(struct pgste_replay *r, uint64_t event)
{
	struct block block;

	if (!replay_block(r, event, &block))
		return PGSTE_E_CHANGED;
	if (__builtin_expect(r->holes, 0) && !replay_in_slots(r, block.first, block.nr))
		return PGSTE_E_GFN;
	for (unsigned i = 0; i < r->nr_guests; i++) {
		if (block.is_free) {
			replay_free(r, r->guests[i], block.first, block.order);
		} else {
			int error = replay_alloc(r, r->guests[i], block.first, block.order);

			if (error)
				return error;
		}
	}
	return PGSTE_OK;
}

/* Fetch what the events ahead of this one will touch of the first guest. */
static ALWAYS_INLINE void prefetch(const struct pgste_guest *guest, const uint64_t *event,
				   uint64_t base_pfn)
{
	const uint64_t far = PGSTE_EVENT_PFN(event[PREFETCH_PAGE]) - base_pfn;
	const uint64_t named = PGSTE_EVENT_PFN(READ_ONCE(event[PREFETCH_FRAME])) - base_pfn;
	const uint64_t near = named < guest->mm.nr_pages ? named : 0;
	const uint32_t index = pte_index(guest->mm.pte[near]);
	const void *frame = &guest->mm.host->frames[index];
	const void *slot = &guest->mm.host->slots[index];

	__builtin_prefetch(&guest->mm.state[far], 1);
	__builtin_prefetch(&guest->mm.pte[far], 1);
	__builtin_prefetch(&guest->mm.rest[far], 1); /* a fault sets UC in it */
	/* of a page without a mapping it is frame 0, which does no harm */
	__builtin_prefetch(guest->mm.state[near] & PGSTE_STATE_SWAP ? slot : frame, 1);
}

static void account(struct pgste_replay *r, uint64_t time)
{
	const struct pgste_host *host = r->guests[0]->mm.host;
	const double ns = (double)time;

	r->ns += ns;
	r->frame_ns += ns * (double)(host->config.nr_frames - host->nr_free);
	r->swap_ns += ns * (double)(host->config.nr_swap_slots - host->nr_slots_free);
}

/* Let time pass until something is due, or for left ns; whether something is. */
static bool pass_until_due(struct pgste_replay *r, uint64_t *left)
{
	uint64_t step = *left;
	bool any = false;

	for (unsigned i = 0; i < r->nr_guests; i++) {
		const struct pgste_guest *guest = r->guests[i];
		const uint64_t due = guest->mech->due ? guest->mech->due(guest) : UINT64_MAX;
		const uint64_t wait = due > guest->now_ns ? due - guest->now_ns : 0;

		if (due != UINT64_MAX && wait <= step) {
			step = wait;
			any = true;
		}
	}
	account(r, step);
	*left -= step;
	for (unsigned i = 0; i < r->nr_guests; i++)
		r->guests[i]->now_ns += step;
	return any;
}

/* What the clocks can still move; one that has come to PGSTE_MAX_NS stays there. */
static uint64_t clocks_left(const struct pgste_replay *r)
{
	uint64_t left = PGSTE_MAX_NS;

	for (unsigned i = 0; i < r->nr_guests; i++)
		left = min_u64(left, PGSTE_MAX_NS - r->guests[i]->now_ns);
	return left;
}

static void pass_time(struct pgste_replay *r, uint64_t ns)
{
	uint64_t left = min_u64(ns, clocks_left(r));
	const uint64_t rest = ns - left; /* the trace's time goes on */

	while (pass_until_due(r, &left))
		for (unsigned i = 0; i < r->nr_guests; i++) {
			struct pgste_guest *guest = r->guests[i];

			if (guest->mech->due && guest->mech->due(guest) <= guest->now_ns)
				guest->mech->tick(guest);
		}
	account(r, rest);
}

/* From this event to the next. */
static ALWAYS_INLINE uint64_t gap_after(const struct pgste_replay *r, uint64_t at)
{
	uint64_t from, to;

	if (at + 1 >= r->nr || !r->times)
		return 0;
	from = READ_ONCE(r->times[at]);
	to = READ_ONCE(r->times[at + 1]);
	return to > from ? to - from : 0;
}

static ALWAYS_INLINE void let_pass(struct pgste_replay *r, uint64_t ns)
{
	if (r->clocked)
		pass_time(r, ns);
	else if (ns)
		account(r, ns);
}

/* Let the time up to the next event pass, but not beyond ns; whether the event is reached. */
static bool reach_next(struct pgste_replay *r, uint64_t ns)
{
	uint64_t now, step;

	if (!r->waiting)
		return true;
	now = READ_ONCE(r->times[r->at]) - r->left_ns;
	if (ns < now)
		return false;
	step = min_u64(r->left_ns, ns - now);
	let_pass(r, step);
	r->left_ns -= step;
	r->waiting = r->left_ns != 0;
	return !r->waiting;
}

/* The event that is next, and the accesses before it. */
static ALWAYS_INLINE int do_event(struct pgste_replay *r, uint64_t at)
{
	const uint64_t *event = r->events + at;

	if (at + PREFETCH_PAGE < r->nr)
		prefetch(r->guests[0], event, r->base_pfn);
	if (r->next_access < r->nr_accesses)
		r->error = replay_accesses(r);
	if (!r->error)
		r->error = replay_event(r, READ_ONCE(*event));
	return r->error;
}

/* Behind the last event: accesses, and the last run of frees, which nothing can join any more. */
static int end_if_last(struct pgste_replay *r)
{
	if (r->at < r->nr)
		return PGSTE_OK;
	r->error = replay_accesses(r);
	for (unsigned i = 0; i < r->nr_guests && !r->error; i++)
		guest_settle(r->guests[i]);
	return r->error;
}

int64_t pgste_replay_run(struct pgste_replay *r, uint64_t n)
{
	const uint64_t start = r->at, end = start + min_u64(n, r->nr - start);

	if (r->error)
		return r->error;
	r->holes = replay_has_holes(r);
	if (start < end && r->waiting) {
		let_pass(r, r->left_ns);
		r->waiting = false;
	}
	for (uint64_t at = start; at < end; at++) {
		if (do_event(r, at))
			return r->error;
		if (at + 1 < r->nr)
			let_pass(r, gap_after(r, at));
		r->at = at + 1;
	}
	if (end_if_last(r))
		return r->error;
	return (int64_t)(end - start);
}

int64_t pgste_replay_run_until(struct pgste_replay *r, uint64_t ns, uint64_t n)
{
	const uint64_t start = r->at, end = start + min_u64(n, r->nr - start);

	if (r->error)
		return r->error;
	if (!r->times)
		return PGSTE_E_ARG;
	r->holes = replay_has_holes(r);
	while (r->at < end && reach_next(r, ns) && READ_ONCE(r->times[r->at]) <= ns) {
		if (do_event(r, r->at))
			return r->error;
		r->left_ns = gap_after(r, r->at);
		r->waiting = ++r->at < r->nr;
	}
	if (end_if_last(r))
		return r->error;
	return (int64_t)(r->at - start);
}

/* ---- new ---- */

static bool guests_valid(struct pgste_guest *const *guests, unsigned nr_guests,
			 uint64_t *nr_pages)
{
	*nr_pages = PGSTE_MAX_PAGES;
	if (nr_guests == 0)
		return false;
	for (unsigned i = 0; i < nr_guests; i++) {
		if (guests[i]->mm.host != guests[0]->mm.host)
			return false;
		for (unsigned k = 0; k < i; k++)
			if (guests[k] == guests[i])
				return false;
		*nr_pages = min_u64(*nr_pages, guests[i]->mm.nr_pages);
	}
	return true;
}

int pgste_replay_new(struct pgste_guest *const *guests, unsigned nr_guests, uint64_t base_pfn,
		     const uint64_t *events, const uint64_t *times_ns, uint64_t nr,
		     struct pgste_replay **replay)
{
	struct pgste_replay *r;
	uint64_t nr_pages;
	int error = PGSTE_E_NOMEM;

	if (!guests_valid(guests, nr_guests, &nr_pages))
		return PGSTE_E_ARG;
	r = calloc(1, sizeof(*r));
	if (!r)
		return PGSTE_E_NOMEM;
	*r = (struct pgste_replay){
		.nr_guests = nr_guests,
		.base_pfn = base_pfn,
		.events = events,
		.times = times_ns,
		.nr = nr,
		.nr_pages = nr_pages,
		.guests = malloc(nr_guests * sizeof(struct pgste_guest *)),
	};
	if (r->guests) {
		memcpy(r->guests, guests, nr_guests * sizeof(*guests));
		error = replay_setup(r);
	}
	if (error) {
		pgste_replay_free(r);
		return error;
	}
	*replay = r;
	return PGSTE_OK;
}

void pgste_replay_free(struct pgste_replay *replay)
{
	if (!replay)
		return;
	free(replay->guests);
	free(replay);
}

uint64_t pgste_replay_position(const struct pgste_replay *replay)
{
	return replay->at;
}

void pgste_replay_get_stats(const struct pgste_replay *r, struct pgste_replay_stats *stats)
{
	*stats = (struct pgste_replay_stats){
		.events = r->at * r->nr_guests,
		.stale_allocs = r->stale_allocs,
		.stale_pages = r->stale_pages,
		.implied_frees = r->implied_frees,
		.ignored_frees = r->ignored_frees,
		.loads = r->loads,
		.stores = r->stores,
		.ignored_accesses = r->ignored_accesses,
		.frame_seconds = r->frame_ns * 1e-9,
		.swap_seconds = r->swap_ns * 1e-9,
		.seconds = r->ns * 1e-9,
	};
}

const char *pgste_replay_stats_name(unsigned i)
{
#define NAME(field) #field,
	static const char *const names[] = { PGSTE_REPLAY_STATS(NAME) };
#undef NAME

	return i < sizeof(names) / sizeof(*names) ? names[i] : NULL;
}
