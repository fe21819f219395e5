/* SPDX-License-Identifier: MIT */
/* Exhaustive search of small systems for what is guaranteed. */
#ifndef PGSTE_SEARCH_H
#define PGSTE_SEARCH_H

#include "generation.h"
#include "host.h"
#include "host_pte.h"
#include "reporting.h"

PGSTE_BEGIN

/*
 * A guest of one to three pages on a host of its own is driven through every sequence of
 * these actions, breadth first.  Each question gets the shortest run that settles it, or the
 * knowledge that no state does.  docs/guarantees.md.
 *
 * Constant, name, and words for one step of a run, in which {gfn}, {tag} (number of the store),
 * {value} (what a load gave), {pinned}, {writing}, {child}, {mode}, {held} and {report} stand for
 * what it did.
 */
#define PGSTE_ACTIONS(X)                                                                      \
	X(WRITE, "write", "guest stores {tag} to page {gfn}")                                 \
	X(READ, "read", "guest loads page {gfn}: {value}")                                    \
	X(SWAP_OUT, "swap_out", "host reclaims page {gfn}")                                   \
	X(SWAP_IN, "swap_in", "host swaps page {gfn} in")                                     \
	/* of a page that is free, too */                                                     \
	X(FREE, "free", "guest frees page {gfn}")                                             \
	X(FREE_RACED, "free_raced",                                                           \
	  "guest frees page {gfn}; a store of {tag} slips in before the host is told")        \
	/* of a page in use, too */                                                           \
	X(ALLOC, "alloc", "guest allocates page {gfn}")                                       \
	X(TAKE, "take", "guest uses page {gfn} again, alloc skipped")                         \
	/* if it may, however late */                                                         \
	X(ZAP, "zap", "host zaps page {gfn}")                                                 \
	X(PIN, "pin", "a reference to page {gfn} is {pinned}")                                \
	/* what a folio may be in, if config.busy */                                          \
	X(LOCK, "lock", "the folio lock of page {gfn} is {pinned}")                           \
	X(WRITEBACK, "writeback", "writing page {gfn} to swap {writing}")                     \
	X(FORK, "fork", "{child} page {gfn}")                                                 \
	X(AGE, "age", "host ages page {gfn}")                                                 \
	/* a device that has the page pinned, if config.pinned */                             \
	X(DMA_WRITE, "dma_write", "device stores {tag} to page {gfn}")                        \
	/* on another vcpu, which has a list of its own */                                    \
	X(FREE_ELSEWHERE, "free_elsewhere", "guest frees page {gfn} on vcpu 1")               \
	X(ALLOC_ELSEWHERE, "alloc_elsewhere", "guest allocates page {gfn} on vcpu 1")         \
	/* dat: an operation of the host with its MMU notifier from start to end */           \
	X(NOTIFY_NONE, "notify_none", "host unmaps page {gfn} by a notifier, leaves its PTE") \
	X(NOTIFY_XCHG, "notify_xchg", "host unmaps page {gfn} by a notifier, writes its PTE") \
	X(NOTIFY_SET, "notify_set", "host unmaps page {gfn} by a notifier, sets its PTE")     \
	/* the lock of the host's page table is held by somebody else meanwhile */            \
	X(NOTIFY_HELD, "notify_held",                                                         \
	  "host unmaps page {gfn} by a notifier, its trylock fails, {held} its PTE")          \
	X(SWAP_OUT_HELD, "swap_out_held", "host reclaims page {gfn}, its trylock fails")      \
	/* the same operation in two steps; until the end the guest cannot fault it in */     \
	X(NOTIFY_START, "notify_start", "host starts a notifier that unmaps page {gfn}")      \
	X(END_NONE, "end_none", "host ends the notifier of page {gfn}, leaves its PTE")       \
	X(END_XCHG, "end_xchg", "host ends the notifier of page {gfn}, writes its PTE")       \
	X(END_SET, "end_set", "host ends the notifier of page {gfn}, sets its PTE")           \
	/* actions without a page from here on */                                             \
	X(RECLAIM, "reclaim", "host reclaims a frame")                                        \
	X(INTERCEPT, "intercept", "host processes the list")                                  \
	X(ZAP_SCAN, "zap_scan", "host zaps all pages that it may")                            \
	X(RESET, "reset_cmma", "host resets CMMA")                                            \
	X(MIGRATE, "migrate", "migration mode {mode}")                                        \
	/* the pass or the ack that is due */                                                 \
	X(REPORT, "report", "{report}")                                                       \
	X(INTERCEPT_ELSEWHERE, "intercept_elsewhere", "host processes the list of vcpu 1")    \
	X(INTERCEPT_HELD, "intercept_held",                                                   \
	  "host processes the list, the trylocks fail")                                       \
	X(PRESSURE, "pressure", "host runs short of memory, references dropped")

#define PGSTE_ACTION_ENUM(NAME, name, words) PGSTE_ACTION_##NAME,
enum pgste_action { PGSTE_ACTIONS(PGSTE_ACTION_ENUM) PGSTE_NR_ACTIONS };
/* Of the i-th action, NULL past the end. */
const char *pgste_action_name(unsigned i);
const char *pgste_action_words(unsigned i);

/*
 * Each question asks for something that may happen; that it never does is a guarantee.  One
 * table for the search, Python, the command line and the documents:
 *
 *   constant, name, text, the answer if it happens, the answer that is good for the guest,
 *   and what a text that begins with "..." goes on from ("" else)
 *
 * What is looked for is in the comment.  A text of "" is a detail of another question's answer.
 */
#define PGSTE_QUESTIONS(X)                                                                   \
	/* right after free a load does not give zero */                                     \
	X(ZERO_AFTER_FREE, "zero-after-free", "zero right after free?", "no", "yes", "")     \
	/* the same for a page that was on swap */                                           \
	X(ZERO_AFTER_FREE_SWAPPED, "zero-after-free-swapped", "", "no", "yes", "")           \
	/* right after free a load works */                                                  \
	X(READABLE_AFTER_FREE, "readable-after-free", "", "yes", "yes", "")                  \
	/* after the zap a load does not give zero */                                        \
	X(ZERO_AFTER_ZAP, "zero-after-zap", "zero after the zap?", "no", "yes", "")          \
	/* after alloc a load does not give zero */                                          \
	X(ZERO_AFTER_ALLOC, "zero-after-alloc", "zero after alloc?", "no", "yes", "")        \
	/* the host gives a free page's content up */                                        \
	X(ZAPPED_EVER, "zapped-ever", "may a free page be zapped?", "yes", "yes", "")        \
	/* the host keeps something after free */                                            \
	X(ZAPPED_AT_ONCE, "zapped-at-once", "must it be zapped at once?", "no", "yes", "")   \
	/* and still does when it ran short of memory */                                     \
	X(ZAPPED_UNDER_PRESSURE, "zapped-under-pressure", "... under pressure?", "no", "yes", \
	  "must it be zapped")                                                               \
	/* a load gives data from before the free */                                         \
	X(STALE, "stale", "may stale data reappear?", "yes", "no", "")                       \
	/* the same after it once read as zero */                                            \
	X(STALE_AFTER_ZERO, "stale-after-zero", "... after it once read as zero?", "yes", "no", \
	  "may stale data reappear")                                                         \
	/* a load or store of a free page is refused */                                      \
	X(TOUCH_WHILE_FREE, "touch-while-free", "may a free page be touched?", "no", "yes", "") \
	/* a store made after alloc is lost */                                               \
	X(LOST_AFTER_ALLOC, "lost-after-alloc", "store lost: made after alloc?", "yes", "no", "") \
	/* one made between free and alloc is */                                             \
	X(LOST_BEFORE_ALLOC, "lost-before-alloc", "... between free and alloc?", "yes", "no", \
	  "store lost: made")                                                                \
	/* one made with alloc skipped is */                                                 \
	X(LOST_WITHOUT_ALLOC, "lost-without-alloc", "... with alloc skipped?", "yes", "no",  \
	  "store lost: made")                                                                \
	/* one made while the host is told is */                                             \
	X(LOST_RACING, "lost-racing", "... while the host is told?", "yes", "no",            \
	  "store lost: made")                                                                \
	/* with alloc skipped a store is lost or refused */                                  \
	X(ANNOUNCE_REUSE, "announce-reuse", "must reuse be announced?", "yes", "no", "")     \
	/* zapping one page changes another */                                               \
	X(ZAP_HARMS, "zap-harms", "may a zap harm another page?", "yes", "no", "")           \
	/* a list entry goes unprocessed */                                                  \
	X(ENTRY_LOST, "entry-lost", "can the list lose an entry?", "yes", "no", "")          \
	/* a swap slot is given up twice */                                                  \
	X(ENTRY_TWICE, "entry-twice", "... free an entry twice?", "yes", "no", "can the list") \
	/* a page made stable with ZERO set loses content */                                 \
	X(STABLE_ZERO, "stable-zero", "stable with ZERO set survives?", "no", "yes", "")

#define PGSTE_QUESTION_ENUM(NAME, name, text, found, good, stem) PGSTE_QUESTION_##NAME,
enum pgste_question { PGSTE_QUESTIONS(PGSTE_QUESTION_ENUM) PGSTE_NR_QUESTIONS };
struct pgste_question_info {
	const char *name;
	const char *text;  /* "" for a detail */
	const char *found; /* the answer if it happens: "yes" or "no" */
	const char *good;  /* the answer that is a promise to the guest */
	const char *stem;
};
/* The i-th question, NULL past the end. */
const struct pgste_question_info *pgste_question(unsigned i);

struct pgste_search_config {
	const char *mechanism;
	enum pgste_generation generation;
	enum pgste_revision revision; /* of dat */
	enum pgste_rearm rearm;
	enum pgste_poison poison; /* of free page reporting; the guest fills what it frees */
	enum pgste_advice advice; /* of free page reporting */
	/*
	 * dat: what operations of the host do to its PTEs between notifier start and end, a bit
	 * 1 << enum pgste_rewrite for each.  0: no operation but reclaim, and no lock is held.
	 */
	unsigned notifiers;
	bool shifted; /* dat: the memory slot's host addresses are a page above the guest's */
	bool busy; /* folios may be locked, under writeback, mapped by a child; not in dat */
	bool memfd; /* the guest's memory is that of a file, see guest.h; KVM */
	bool mlock; /* ... is locked, see guest.h; KVM, nr_frames is nr_pages then */
	/*
	 * A device has the watched page pinned from the start (VFIO), and keeps the frame that it
	 * had then, whatever becomes of the PTE.  A store is lost if guest or device do not see it.
	 * KVM.
	 */
	bool pinned;
	uint32_t nr_pages;	 /* 1 .. 3 */
	uint32_t nr_frames;	 /* 1 .. nr_pages */
	uint32_t nr_swap_slots;	 /* 0 .. nr_pages */
	uint32_t cbrl_entries;	 /* 1 .. 2 */
	uint32_t nr_vcpus;	 /* 1 .. 2, 0 is 1; a list each */
	/*
	 * Pages but the watched one, 0, keep to free and alloc, and the host ages and unmaps them
	 * by nothing but reclaim.
	 */
	bool obedient;
	/* pgste_validate after every action, at some cost: PGSTE_E_STATE if it finds something */
	bool validated;
	bool plain;		 /* states that differ in nothing that matters are told apart */
	uint64_t max_states;	 /* PGSTE_E_NOMEM beyond */
	uint32_t threads; /* 1 .. 64, 0 is 1: how many it may use; results are the same */
	/*
	 * Asked every few thousand states, by the thread that called, unless NULL: false ends the
	 * search with PGSTE_E_CANCELLED.  states: searched so far; result->states has those found.
	 */
	bool (*go_on)(void *data, uint64_t states);
	void *data;
};

struct pgste_step {
	uint8_t action; /* enum pgste_action */
	uint8_t gfn;	/* 0 for actions without a page, those from RECLAIM on */
};
#define PGSTE_SEARCH_STEPS 64u

struct pgste_search_answer {
	uint64_t premises;  /* transitions on which the question arose at all */
	uint32_t nr_steps;  /* of the shortest run that shows it; 0: it never happens */
	struct pgste_step steps[PGSTE_SEARCH_STEPS];
};
/* A bit for each of the 256 values of a state byte. */
struct pgste_seen {
	uint64_t bits[4];
};
struct pgste_search_result {
	uint64_t states, transitions;
	uint64_t state_bytes; /* memory for the states, with what finds them and room for more */
	/*
	 * Coverage: state bytes that some page had, and those that ESSA set unused and set stable
	 * met (CMMA on KVM), all without the attribute-dirty bit.
	 */
	struct pgste_seen seen, met_unused, met_stable;
	uint32_t depth; /* steps to the farthest state */
	struct pgste_search_answer answers[PGSTE_NR_QUESTIONS];
};
/* PGSTE_E_ARG, PGSTE_E_NAME, PGSTE_E_NOMEM, PGSTE_E_CANCELLED. */
int pgste_search(const struct pgste_search_config *config, struct pgste_search_result *result);

PGSTE_END

#endif
