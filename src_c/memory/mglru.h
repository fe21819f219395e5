/* SPDX-License-Identifier: MIT */
/*
 * PGSTE_RECLAIM_MGLRU: mglru.c says how far reclaim goes, mglru_evict.c takes the pages of the
 * oldest generation, mglru_walk.c finds pages that are young.  docs/reclaim.md.
 */
#ifndef MEMORY_MGLRU_H
#define MEMORY_MGLRU_H

#include "memory/vmscan.h"

/* walk_mm of every address space: young pages are of the youngest generation now. */
void mglru_walk(struct pgste_host *host);
/* lru_gen_look_around: was the page of this frame young?  Its neighbours are promoted as well. */
bool mglru_look_around(struct pgste_host *host, uint32_t frame);
/* evict_folios: pages scanned; 0: no use to go on. */
uint64_t mglru_evict(struct pgste_host *host, struct scan *sc, unsigned swappiness);

/* As direct and kswapd of balance.c. */
void mglru_direct(struct pgste_host *host, uint64_t goal, bool proactive);
void mglru_kswapd(struct pgste_host *host);

#endif
