/* SPDX-License-Identifier: MIT */
/* Free page reporting, the mechanism "reporting": settings and state; docs/model.md section 11. */
#ifndef PGSTE_REPORTING_H
#define PGSTE_REPORTING_H

#include "guest.h"

PGSTE_BEGIN

#define PGSTE_REPORTING_CAPACITY 32u

/* What the guest does to free pages: nothing, init_on_free, page_poison (0xaa). */
enum pgste_poison {
	PGSTE_POISON_NONE = 0, PGSTE_POISON_INIT_ON_FREE, PGSTE_POISON_PAGE_POISON
};

/* The advice by which the host's hypervisor discards: QEMU's, or MADV_FREE in its place. */
enum pgste_advice { PGSTE_ADVICE_MADV_DONTNEED = 0, PGSTE_ADVICE_MADV_FREE };

/* enum migratetype of the kernel; one with CONFIG_CMA and CONFIG_MEMORY_ISOLATION. */
enum pgste_migratetype {
	PGSTE_MIGRATE_UNMOVABLE = 0, PGSTE_MIGRATE_MOVABLE, PGSTE_MIGRATE_RECLAIMABLE,
	PGSTE_MIGRATE_HIGHATOMIC, PGSTE_MIGRATE_CMA, PGSTE_MIGRATE_ISOLATE
};
#define PGSTE_MIGRATETYPES 6u
#define PGSTE_PAGEBLOCK_ORDER_MIN 2u /* of pageblock_order; at most PGSTE_MAX_ORDER */

/* A zone reaches to where the next one begins, the last one to the guest's end. */
struct pgste_reporting_zone {
	uint64_t first;	   /* gfn; 0 for the first zone, ascending */
	uint64_t min, low; /* watermarks in pages, <= PGSTE_MAX_PAGES */
	uint64_t spare;	   /* free pages that the view does not show, <= PGSTE_MAX_PAGES */
};
#define PGSTE_REPORTING_ZONES 16u

/* Settings of the mechanism "reporting"; docs/model.md section 11. */
struct pgste_reporting_config {
	uint32_t order;	       /* smallest order that is reported, <= max_order */
	uint32_t max_order;    /* of the buddy, <= PGSTE_MAX_ORDER */
	uint32_t parked_order; /* blocks up to it are parked when freed, <= max_order */
	uint32_t capacity;     /* blocks in a call, 1 .. PGSTE_REPORTING_CAPACITY */
	uint64_t parked_high;  /* pages parked on a vcpu above which some are released */
	uint32_t parked_batch; /* how many pages are released then, >= 1 */
	uint64_t delay_ns;     /* from a request to its pass, <= PGSTE_MAX_NS */
	uint64_t ack_ns;       /* what a report call takes, <= PGSTE_MAX_NS */
	uint32_t nr_zones;     /* 1 .. PGSTE_REPORTING_ZONES */
	struct pgste_reporting_zone zones[PGSTE_REPORTING_ZONES];
	/*
	 * What each pageblock is (enum pgste_migratetype), nr_types of them for every page of the
	 * guest; copied.  NULL: as before, in a new guest movable.
	 */
	const uint8_t *types;
	uint64_t nr_types;
	uint32_t pageblock_order; /* of types, PGSTE_PAGEBLOCK_ORDER_MIN .. PGSTE_MAX_ORDER */
	enum pgste_poison poison;
	bool negotiated;       /* the device has PAGE_POISON */
	bool inhibited;	       /* the host acks and does not discard */
	enum pgste_advice advice;
};
/* The kernel's, for a guest of this size and number of vcpus. */
void pgste_reporting_defaults(const struct pgste_guest *guest,
			      struct pgste_reporting_config *config);
/* The kernel's watermarks for zones whose first pages are set: min_free_kbytes shared by size. */
void pgste_reporting_watermarks(const struct pgste_guest *guest,
				struct pgste_reporting_config *config);
/*
 * PGSTE_E_NAME: not the guest's mechanism; PGSTE_E_ARG: a field out of range, a zone outside the
 * guest; PGSTE_E_BUSY: something was freed or time has passed; PGSTE_E_NOMEM.
 */
int pgste_reporting_configure(struct pgste_guest *guest,
			      const struct pgste_reporting_config *config);
/* The migratetype of the pageblock of a page.  PGSTE_E_NAME, PGSTE_E_ARG: outside the guest. */
int pgste_reporting_type(const struct pgste_guest *guest, uint64_t gfn);

enum pgste_reporting_status {
	PGSTE_REPORTING_OFF = 0, PGSTE_REPORTING_IDLE, PGSTE_REPORTING_REQUESTED,
	PGSTE_REPORTING_ACTIVE
};
struct pgste_reporting_state {
	struct pgste_reporting_config config; /* types is NULL */
	enum pgste_reporting_status status;
	uint64_t due_ns;	  /* when the worker runs next; UINT64_MAX: not asked to */
	uint64_t pages_free;	  /* in free blocks of the buddy */
	uint64_t pages_parked;	  /* on the per-CPU lists */
	uint64_t pages_isolated;  /* in the report call under way */
	uint64_t blocks_isolated;
	uint64_t passes;	  /* since the guest was created; not reset by reset_stats */
	uint64_t passes_skipped;  /* a zone's part of a pass, for want of free memory */
	uint64_t blocks_reported; /* acked by the host */
};
struct pgste_block {
	uint64_t gfn;
	uint32_t order;
	bool reported;
};
/* All five: PGSTE_E_NAME for a guest of another mechanism. */
int pgste_reporting_get_state(const struct pgste_guest *guest, struct pgste_reporting_state *state);
/* Free blocks of an order, head first, at most max of them: how many.  PGSTE_E_ARG. */
int64_t pgste_reporting_free_list(const struct pgste_guest *guest, uint32_t zone,
			       enum pgste_migratetype type, unsigned order,
			       struct pgste_block *blocks, uint64_t max);
/* Blocks parked on a vcpu, oldest first.  PGSTE_E_ARG. */
int64_t pgste_reporting_parked(const struct pgste_guest *guest, uint32_t vcpu,
			    struct pgste_block *blocks, uint64_t max);
/* Blocks in the report call under way, in the order in which they were isolated. */
int64_t pgste_reporting_isolated(const struct pgste_guest *guest, struct pgste_block *blocks,
			      uint64_t max);

PGSTE_END

#endif
