/* SPDX-License-Identifier: MIT */
/*
 * Sequences of calls of the public interface, decoded from the input: hosts, guests of every
 * generation and mechanism, a replay, good arguments and bad ones, memory that runs out.
 *
 *	api.c      the loop, what holds after each call, and the choice of the call
 *	world.c    hosts and guests come and go
 *	args.c     gfns of every type, orders, vcpus
 *	state.c    everything that can be seen of the world, as bytes
 *	slots.c    the memory slots of a guest as the calls left them, and what is in them
 *	calls_*.c  the calls, each with what its result has to be
 */
#ifndef API_H
#define API_H

#include "faults.h"
#include "fuzz.h"
#include "pgste.h"

#define HOSTS 2u
#define GUESTS 4u
#define MOST_SLOTS 12u
#define WHOLE_PAGES 1024u /* the state of larger guests is compared in windows */
#define MOST_WORK (UINT64_C(1) << 18) /* pages of all blocks in one call */

struct bytes {
	uint8_t *at;
	size_t size, room;
};

struct guest {
	struct pgste_guest *g;
	unsigned host;
	struct pgste_guest_config config;
	uint64_t nr_pages;
	uint64_t problem_state; /* a bit for each of the first vcpus */
	struct pgste_slot slots[MOST_SLOTS]; /* in no order */
	unsigned nr_slots;
	bool cmma;	/* enabled */
	bool contended; /* locks of the host's tables are held, or tries fail */
	bool opened;	/* pgste_modify_prot_start was called */
};

struct replay {
	struct pgste_replay *r;
	uint64_t *events, *times, *accesses, *places;
	unsigned host, nr_guests;
	uint64_t nr;
	int64_t error; /* what its last run gave, and each one from then on if it was an error */
};

struct world {
	struct input in;
	struct pgste_host *hosts[HOSTS];
	bool has_lru[HOSTS];
	struct guest guests[GUESTS];
	struct replay replay;
	unsigned fault; /* allocation that fails in the next call, 0: none */
	bool faulted;	/* one did */
	unsigned patience; /* questions after which the next call is to end, 0: it is not asked */
	bool cancelled;	   /* it was told to */
	struct pgste_watch watch;
	bool incomparable; /* variants of the kernels ask at different times */
	bool held;	/* frees of a replay may be held back, which a refused call may issue */
	struct bytes before, after;
	uint64_t hash; /* of all results and states */
	bool tells;    /* each call is printed, to understand a reproducer */
};

/* What a call did, for the checks that come after every one. */
struct outcome {
	int64_t result;
	bool looks;   /* it only looks: nothing may change though it succeeds */
	bool partial; /* if it fails it may have changed something */
};

static inline struct outcome did(int64_t result)
{
	return (struct outcome){ .result = result };
}

static inline struct outcome looked(int64_t result)
{
	return (struct outcome){ .result = result, .looks = true };
}
#define NOTHING looked(0)

/* A call under test, with the failed allocation or the early end that the input asks for. */
#define CALL(w, expression) \
	(call_begins(w), call_done(w, (int64_t)(expression), #expression))
void call_begins(struct world *w);
int64_t call_done(struct world *w, int64_t result, const char *text);
/* An error that only a failed allocation or a cancelled call explains. */
static inline bool ended_early(const struct world *w, int64_t result)
{
	return (result == PGSTE_E_NOMEM && w->faulted) ||
	       (result == PGSTE_E_CANCELLED && w->cancelled);
}

/* ---- args.c ---- */

struct gfns {
	struct pgste_gfns arg;
	void *data;	  /* of just the right size */
	uint64_t *values; /* as 64 bits, NULL for a range */
	uint64_t nr;	  /* elements that outputs have room for */
};
uint64_t take_gfn(struct world *w, const struct guest *guest);
struct gfns take_gfns(struct world *w, const struct guest *guest, unsigned order);
void gfns_free(struct gfns *gfns);
uint64_t gfn_of(const struct gfns *gfns, uint64_t i);
/* Every gfn below the limit?  Told without the library. */
bool all_below(const struct gfns *gfns, uint64_t limit);
unsigned take_order(struct world *w);
uint32_t take_vcpu(struct world *w, const struct guest *guest);
uint64_t take_time(struct world *w);
unsigned take_threads(struct world *w);
/* A range of one page. */
static inline struct pgste_gfns one_page(uint64_t gfn)
{
	return (struct pgste_gfns){ .first = gfn, .nr = 1 };
}

/* Is an array to be passed?  Then words, keys, ... with step 0, 1, or one that is wrong. */
unsigned take_step(struct world *w);
/* The element for the i-th gfn. */
#define ELEMENT(array, step, i) ((array)[(step) ? (i) : 0])
static inline uint64_t nr_elements(const struct gfns *gfns, unsigned step)
{
	return step == 1 ? gfns->nr : 1;
}

/* ---- slots.c ---- */

/* Are the nr pages from gfn on in slots?  In guests of z/VM they are if they exist. */
bool present(const struct guest *guest, uint64_t gfn, uint64_t nr);
/* The same of the blocks of nr pages at each gfn, and 1 at most if it is a range. */
bool all_present(const struct guest *guest, const struct gfns *gfns, uint64_t nr);
/* As many as a new guest is to have. */
unsigned take_slots(struct world *w, uint64_t nr_pages, struct pgste_slot *slots);
/* What pgste_slot_add has to say, and the slot is added if that is PGSTE_OK. */
int slots_add(struct guest *guest, struct pgste_slot *slot);
void check_slots(const struct guest *guest);

/* ---- state.c ---- */

void state_take(const struct world *w, struct bytes *to);

/* ---- world.c ---- */

struct guest *take_guest(struct world *w);
struct pgste_host *take_host(struct world *w);
bool has_mechanism(const struct guest *guest, const char *name);
static inline bool is_kvm(const struct guest *guest)
{
	return guest->config.generation != PGSTE_GEN_ZVM;
}
static inline bool is_dat(const struct guest *guest)
{
	return guest->config.generation == PGSTE_GEN_DAT;
}
void world_free(struct world *w);
void replay_end(struct world *w);

typedef struct outcome call(struct world *w);
call call_host_new, call_host_free, call_guest_new, call_guest_free;
/* calls_guest.c */
call call_essa, call_essa_page, call_free, call_alloc, call_free_page, call_alloc_page;
call call_cbrl, call_intercept, call_problem_state, call_migration, call_reset_cmma;
call call_set_changed;
/* slots.c and calls_*.c: the next byte says which of them */
call call_slots, call_log, call_keys, call_pte, call_tables;
/* calls_memory.c */
/* A word near one that some page has, so that slots and frames are shared and names hit. */
uint64_t take_word(struct world *w, const struct guest *guest, bool pte);
call call_write, call_read, call_peek, call_set_words, call_get, call_swap_out, call_set_folio;
/* calls_host.c */
call call_reclaim, call_rearm, call_zap, call_zap_scan, call_count, call_find, call_look;
call call_reset_stats, call_settle;
/* calls_clock.c */
call call_advance, call_configure, call_report, call_replay_new, call_replay_run;
call call_replay_free;

#endif
