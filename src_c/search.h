/* SPDX-License-Identifier: MIT */
/*
 * What the files of the search share: the tiny system that is searched, what an outside
 * observer knows of it, and the two packed into a key.  docs/guarantees.md.
 */
#ifndef PGSTE_SEARCH_H
#define PGSTE_SEARCH_H

#include "internal.h"

#define SEARCH_MAX_PAGES 3u
#define SEARCH_WORDS (SEARCH_MAX_PAGES + 1) /* of a key: one for each page, one for the rest */

/* What a load would show, relative to what the guest did with the page. */
enum label {
	LABEL_ZERO = 0,
	LABEL_NEW, /* the last store, the page not freed since */
	LABEL_OLD, /* an earlier store, or one from before the last free */
};
/* A content tag says whose it is: no page may ever show another's. */
static inline uint32_t tag_of(uint64_t gfn, enum label label)
{
	return label == LABEL_ZERO ? 0 : ((uint32_t)gfn + 1) << 2 | (uint32_t)label;
}

static inline enum label tag_label(uint32_t tag)
{
	return (enum label)(tag & 3);
}

#define WATCHED UINT64_C(0) /* pages are alike, so one is enough to watch */

/* Where a page is in its life, as the guest sees it. */
enum phase {
	PHASE_IN_USE = 0, /* from the start, or allocated */
	PHASE_FREE,
	PHASE_TAKEN, /* in use again, but alloc was skipped */
};

/* When the last store was made; it is expected to last until the page is freed. */
enum store {
	STORE_NONE = 0,
	STORE_IN_USE,
	STORE_FREE,  /* between free and alloc */
	STORE_TAKEN, /* alloc was skipped */
	STORE_RACED, /* while free, or a report, was telling the host */
};

/* The oracle of one page. */
struct observed {
	uint8_t phase, store;
	bool read_zero; /* a load gave zero since the last free or store */
	bool dropped;	/* the host gave the content up since then */
};

struct search_system {
	const struct pgste_search_config *config;
	struct pgste_host *host;
	struct pgste_guest *guest;
	struct observed watched;
};

/* search_state.c */
int system_new(struct search_system *s, const struct pgste_search_config *config);
void system_free(struct search_system *s);
/* The whole state, with frames and slots numbered by the pages that have them. */
void system_save(const struct search_system *s, uint64_t *key);
void system_restore(struct search_system *s, const uint64_t *key);
uint32_t *page_tag(struct search_system *s, uint64_t gfn);	 /* of its frame, or NULL */
uint32_t *page_slot_tag(struct search_system *s, uint64_t gfn); /* of its swap slot, or NULL */

/* search_report.c: nothing, for guests of another mechanism */
int search_report_configure(struct search_system *s);
void search_report_save(const struct search_system *s, uint64_t *key);
void search_report_restore(struct search_system *s, const uint64_t *key);
bool search_report_due(const struct search_system *s);
void search_report_next(struct search_system *s);
bool search_report_pending(const struct search_system *s, uint64_t gfn);

/* search_judge.c */
/* The state before an action, as far as what it shows depends on that. */
struct before {
	struct observed watched;
	bool had_content[SEARCH_MAX_PAGES], zappable[SEARCH_MAX_PAGES];
	uint32_t content[SEARCH_MAX_PAGES];
	uint8_t state;
	uint32_t nr_listed, listed;
	uint64_t appended, processed;
};

bool has_content(const struct search_system *s, uint64_t gfn);
/* What the watched page shows is no longer what its user stored last. */
void content_is_old(struct search_system *s);
void note_before(const struct search_system *s, struct before *b);
void judge(struct search_system *s, enum pgste_action action, uint64_t about,
	   const struct before *b, bool *found, uint64_t *premises);
/* A question arises; if the second holds too, it is shown. */
#define ASK(question, arises, shows) do {                                                    \
		premises[PGSTE_QUESTION_##question] += (arises);                              \
		found[PGSTE_QUESTION_##question] |= (arises) && (shows);                      \
	} while (0)

/* search_rules.c */
/* Whether an action is worth trying: never wrong in saying no. */
bool action_applies(const struct search_system *s, enum pgste_action action, uint64_t gfn);
/* One action: false if it does not apply here.  found[q] is set for what it shows. */
bool action_do(struct search_system *s, enum pgste_action action, uint64_t gfn, bool *found,
	       uint64_t *premises);

#endif
