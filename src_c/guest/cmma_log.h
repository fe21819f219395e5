/* SPDX-License-Identifier: MIT */
/* What the controls of a virtual machine, its slots and its CMMA log need of one another. */
#ifndef GUEST_CMMA_LOG_H
#define GUEST_CMMA_LOG_H

#include "guest/guest.h"

/* All pages of slots become dirty, and the counter that many. */
void log_start(struct pgste_guest *guest);
/* No page is dirty any more; the counter stays. */
void log_clear(struct pgste_guest *guest);
/* A slot is about to be deleted or moved, with the dirty pages that it has. */
void log_slot_goes(struct pgste_guest *guest, const struct pgste_slot *slot);

static inline void log_count(struct pgste_guest *guest, uint64_t more)
{
	__atomic_fetch_add(&guest->nr_dirty, more, __ATOMIC_RELAXED);
}

#endif
