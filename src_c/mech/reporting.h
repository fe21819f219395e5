/* SPDX-License-Identifier: MIT */
/*
 * What free page reporting knows of a guest: reporting.c works on it, reporting_view.c shows it.
 */
#ifndef MECH_REPORTING_H
#define MECH_REPORTING_H

#include "mech/buddy.h"
#include "mech/mech.h"
#include "pgste/reporting.h"

struct reporting {
	struct buddy buddy;
	struct pgste_reporting_config config;
	enum pgste_reporting_status status;
	uint64_t due; /* NEVER: nothing is */
	bool passing; /* in a pass */
	bool calling; /* and in a report call of it */
	uint32_t zone; /* that the pass is at */
	unsigned order; /* list that it is at; above max_order: past the last of the zone */
	unsigned type;
	bool in_list;	/* budget holds */
	int64_t budget;
	uint32_t nr_batch;
	uint64_t batch[PGSTE_REPORTING_CAPACITY]; /* isolated blocks, the first one first */
	uint64_t passes, skipped, blocks;
	bool used; /* something was freed: too late for other settings */
	/* The host's part of a report: pages of the guest, or those of a footprint instead. */
	void (*discard)(struct pgste_guest *guest, uint64_t gfn, uint64_t nr);
	void *discard_data;
};

#define NEVER UINT64_MAX

/* Start afresh with these settings.  false: no memory, and nothing changed. */
bool reporting_apply(struct reporting *r, const struct pgste_reporting_config *config);
bool reporting_config_valid(const struct pgste_guest *guest,
			    const struct pgste_reporting_config *config);
/* The first broken invariant of the view, or NULL. */
const char *reporting_validate(const struct pgste_guest *guest);

#endif
