/* SPDX-License-Identifier: MIT */
/*
 * The tiny system that is searched: a guest of one to three pages on a host of its own, what an
 * outside observer knows of the watched page, and the two packed into a key.
 * docs/guarantees.md.
 */
#ifndef SEARCH_SYSTEM_H
#define SEARCH_SYSTEM_H

#include "mech/reporting.h"
#include "pgste/search.h"

#define SEARCH_MAX_PAGES 3u
#define SEARCH_MAX_VCPUS 2u
#define SEARCH_MAX_ORDER 1u /* of blocks of free pages */
#define SEARCH_WORDS (SEARCH_MAX_PAGES + 1) /* of a key: one for each page, one for the rest */

/* What a load would show, relative to what the guest did with the page. */
enum label {
	LABEL_ZERO = 0,
	LABEL_NEW, /* the last store, the page not freed since */
	LABEL_OLD, /* an earlier store, or one from before the last free */
	LABEL_POISON, /* what the guest fills pages with when it frees them */
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
	STORE_LOST, /* known to be lost to one of two observers; the other may see it still */
};

/* The oracle of one page. */
struct observed {
	uint8_t phase, store;
	bool read_zero; /* a load gave zero since the last free or store */
	bool dropped;	/* the host gave the content up since then */
};

/* The same of free page reporting (reporting.c). */
struct reporting_image {
	struct buddy_node nodes[SEARCH_MAX_PAGES];
	struct buddy_list lists[SEARCH_MAX_ORDER + 1];
	struct buddy_fresh fresh[SEARCH_MAX_ORDER + 1];
	uint64_t known, nr_free, due, now_ns, batch;
	int64_t budget;
	unsigned order, type, zone, nr_batch;
	enum pgste_reporting_status status;
	bool passing, calling, in_list;
};

/* All that an action can change, as it lies in memory: put back faster than a key is. */
struct search_image {
	uint32_t free_frame, free_slot;
	uint64_t fresh_frame, fresh_slot, nr_free, nr_slots_free, nr_cached, nr_held;
	struct list lists[4];
	struct frame frames[SEARCH_MAX_PAGES];
	struct slot slots[SEARCH_MAX_PAGES];
	uint64_t pte[SEARCH_MAX_PAGES], free;
	uint16_t rest[SEARCH_MAX_PAGES], bits[SEARCH_MAX_PAGES];
	uint8_t state[SEARCH_MAX_PAGES];
	uint64_t cbrl[SEARCH_MAX_VCPUS][SEARCH_MAX_PAGES];
	uint32_t nr_listed[SEARCH_MAX_VCPUS];
	uint64_t file[SEARCH_MAX_PAGES];
	uint64_t appended[SEARCH_MAX_VCPUS], processed[SEARCH_MAX_VCPUS];
	struct reporting_image reporting;
	struct observed watched;
	uint8_t notified, apart;
	bool migration;
};

struct search_system {
	const struct pgste_search_config *config;
	struct pgste_host *host;
	struct pgste_guest *guest;
	struct observed watched;
	uint8_t notified; /* dat: 1 + the page whose notifier started and did not end; or 0 */
	uint8_t apart; /* 0: the device has the page's frame; else 1 + label of what it kept */
	bool no_memory; /* an action failed for want of memory: there is no answer */
};

/* ---- life and state (system.c) ---- */

int system_new(struct search_system *s, const struct pgste_search_config *config);
void system_free(struct search_system *s);
/* The whole state, with frames and slots numbered by the pages that have them. */
void system_save(const struct search_system *s, uint64_t *key);
void system_restore(struct search_system *s, const uint64_t *key);
/* The mode alone: attribute-dirty bits are in the state bytes. */
void system_set_migration(struct pgste_guest *guest, bool on);
/* The same (image.c), only faster, for the state that the system was restored to last. */
void system_remember(struct search_system *s, struct search_image *image);
void system_put_back(struct search_system *s, struct search_image *image);
/*
 * Pages that nobody watches are alike: of two keys that differ in their order alone the smaller
 * stands for both.  True: key was changed to the other.
 */
bool system_reorder(const struct search_system *s, uint64_t *key);
uint32_t *page_tag(struct search_system *s, uint64_t gfn);	 /* of its frame, or NULL */
uint32_t *page_slot_tag(struct search_system *s, uint64_t gfn); /* of its swap slot, or NULL */

/* ---- coverage (coverage.c) ---- */

/* As in struct pgste_search_result. */
struct search_coverage {
	struct pgste_seen seen, met_unused, met_stable;
};
/* The system is in a state from which every action is about to be tried. */
void search_cover(const struct search_system *s, struct search_coverage *coverage);
void search_add_coverage(const struct search_coverage *coverage,
			 struct pgste_search_result *result);

/* ---- two tables (notifier.c): nothing, but for dat guests of a config with notifiers ---- */

bool search_notifier_belongs(const struct search_system *s, enum pgste_action action);
bool search_notifier_applies(const struct search_system *s, enum pgste_action action,
			     uint64_t gfn);
/* False: it does not apply, or nothing came of it. */
bool search_notifier_act(struct search_system *s, enum pgste_action action, uint64_t gfn);

/* ---- free page reporting (reporting.c): nothing, for guests of another mechanism ---- */

int search_reporting_configure(struct search_system *s);
void search_reporting_save(const struct search_system *s, uint64_t *key);
void search_reporting_restore(struct search_system *s, const uint64_t *key);
void search_reporting_remember(const struct search_system *s, struct reporting_image *image);
void search_reporting_put_back(struct search_system *s, const struct reporting_image *image);
bool search_reporting_due(const struct search_system *s);
void search_reporting_next(struct search_system *s);
bool search_reporting_pending(const struct search_system *s, uint64_t gfn);

#endif
