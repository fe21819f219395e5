/* SPDX-License-Identifier: MIT */
/* Ending a long call early. */
#ifndef PGSTE_WATCH_H
#define PGSTE_WATCH_H

#include "base.h"

PGSTE_BEGIN

/*
 * A long call asks every few thousand steps whether to go on.  Once the answer is no, it ends
 * as soon as it can, with PGSTE_E_CANCELLED if it returns an error code and else with what it
 * has.  What it did so far is done, and everything stays usable; loads, stores and reclaim of
 * named pages are undone where these are all or nothing.
 *
 * Not asked: within one block of a replay, one madvise() call, a free or a close.
 *
 * rest, which may be NULL, is called as often by the calls that rest (pgste.h, Threads), between
 * two parts, when all that the call has to do with is in order.  What keeps other calls of the
 * host out may be let go of in it and taken back, so that those go first.  False: the guest
 * may be gone; the call touches nothing more and ends with PGSTE_E_CANCELLED, or what it has.
 */
struct pgste_watch {
	bool (*go_on)(void *data); /* after no, it must stay no until the call has ended */
	void *data;
	bool (*rest)(void *data);
};
/*
 * Who is asked by calls of this thread from now on, in this thread; NULL is nobody.  Returns who
 * was asked before.
 */
const struct pgste_watch *pgste_set_watch(const struct pgste_watch *watch);

PGSTE_END

#endif
