/* SPDX-License-Identifier: MIT */
/* Events of a page allocator, replayed through guests. */
#ifndef PGSTE_REPLAY_H
#define PGSTE_REPLAY_H

#include "trace.h"

PGSTE_BEGIN

/*
 * A replay drives one or more guests of one host with the same events: event by event, each
 * guest in turn.  A block's pfn less base_pfn is its gfn.  Setup (not counted): pages whose
 * first event is a free are written, the others freed, and all counters are reset.
 */
struct pgste_replay;

#define PGSTE_REPLAY_STATS(X)                                                                \
	X(events)	  /* events replayed, over all guests */                              \
	X(stale_allocs)	  /* alloc events where a read before the first write gives old data */ \
	X(stale_pages)	  /* pages of these */                                                \
	X(implied_frees)  /* pages allocated while live: freed first */                       \
	X(ignored_frees)  /* pages freed while free: left out */                              \
	X(loads)	  /* accesses of pages in use, over all guests */                     \
	X(stores)                                                                            \
	X(ignored_accesses) /* accesses of free pages: left out */

struct pgste_replay_stats {
	PGSTE_REPLAY_STATS(PGSTE_STATS_FIELD)
	double frame_seconds; /* integral of frames in use over trace time */
	double swap_seconds;  /* integral of swap slots in use over trace time */
	double seconds;	      /* trace time covered */
};
const char *pgste_replay_stats_name(unsigned i);

/*
 * events, nr: the whole trace, read for the setup; must outlive the replay unchanged.
 * times_ns: nr times, or NULL.  PGSTE_E_ARG: no guest, one twice, guests of several hosts, an
 * event that lies outside [base_pfn, base_pfn + pages of a guest) or has a page outside every
 * memory slot of a guest, order > 39, kind > 1;
 * PGSTE_E_NO_FRAME or PGSTE_E_CANCELLED during setup (the guests are then as far as it went).
 */
int pgste_replay_new(struct pgste_guest *const *guests, unsigned nr_guests, uint64_t base_pfn,
		     const uint64_t *events, const uint64_t *times_ns, uint64_t nr,
		     struct pgste_replay **replay);
void pgste_replay_free(struct pgste_replay *replay);
/*
 * What the guests do with their pages beside the first store after an alloc.  places: for each
 * access how many events come before it, ascending, at most the number of events.  Both arrays must
 * outlive the replay unchanged.  PGSTE_E_ARG: an access that is none or whose page lies outside
 * the guests or every memory slot, a place too far or before the one above it, events that were
 * replayed already; nothing has changed then.
 */
int pgste_replay_set_accesses(struct pgste_replay *replay, const uint64_t *accesses,
			      const uint64_t *places, uint64_t nr);
/*
 * Replay the next n events at most: how many, 0 at the end.  On PGSTE_E_NO_FRAME the events
 * before the failing one are done, pgste_replay_position tells which it is; that one may be
 * half done, and the replay is over.  The same with PGSTE_E_NOMEM, which an access may give that
 * could leave the host without frames, and with PGSTE_E_GFN, except that nothing of the event is
 * done: it has a page whose memory slot was taken away since.
 *
 * Between calls the last run of frees of a guest may be held back to join with the next: its
 * pages are marked free, and the host has not been advised of them.  A call that changes the
 * guest, and pgste_host_reclaim, issues it first.  A call that only looks (pgste_peek, words,
 * states, free bits, searches, counters, lists, pgste_validate) leaves it held back, so that
 * looking changes nothing; calls on other guests of the host leave it too.
 */
int64_t pgste_replay_run(struct pgste_replay *replay, uint64_t n);
/*
 * Replay what happens up to time ns of the trace: at most n events, those at ns included, and what
 * falls due until then.  How many events; fewer than n: time has come to ns, or to where it was
 * already.  It begins with the first event and ends with the last.  After pgste_replay_run time has
 * come to the next event; after this it has not, and either of the two goes on from there.
 * PGSTE_E_ARG, and nothing changes: the replay has no times.  Other errors and what is held back as
 * for pgste_replay_run.
 */
int64_t pgste_replay_run_until(struct pgste_replay *replay, uint64_t ns, uint64_t n);

struct pgste_replay_stops {
	const uint64_t *at;   /* ascending: ns of the trace if by_time, or else events done */
	const uint8_t *flush; /* for each stop: pgste_host_flush_stats() first; NULL: for none */
	uint64_t nr;
	bool by_time;
};

/* Memory at a stop. */
struct pgste_replay_sample {
	uint64_t events;			/* done by each guest */
	uint64_t frames, swap_slots;		/* in use */
	uint64_t pages_allocated, pages_freed;	/* by the first guest, since the replay began */
};

/*
 * Go from stop to stop, from *next on, and look at memory at each: n events at most.  samples has
 * room for one of each; *next is then the stop that was not reached.  How many events; n: there
 * may be more to do.  A stop that lies behind is reached at once, as is one behind the last event.
 * Errors and what is held back as for pgste_replay_run and pgste_replay_run_until; samples of the
 * stops before *next are whole then.
 */
int64_t pgste_replay_run_stops(struct pgste_replay *replay, const struct pgste_replay_stops *stops,
			       uint64_t *next, struct pgste_replay_sample *samples, uint64_t n);
uint64_t pgste_replay_position(const struct pgste_replay *replay);
void pgste_replay_get_stats(const struct pgste_replay *replay, struct pgste_replay_stats *stats);

PGSTE_END

#endif
