/* SPDX-License-Identifier: MIT */
/*
 * pgste: guest page states of s390x and the free-page mechanisms of their hosts.
 *
 * The public interface: pgste/ has a header for each concept, and this one includes them all.
 * Conventions that hold for every function:
 *
 * Units    A gfn is a guest page frame number (4 KiB pages), never an address.
 *          Ranges are half open, [gfn, gfn + nr).  Counts start nr_, sizes end _bytes.
 * Errors   int functions return PGSTE_OK (0) or a negative enum pgste_error; functions
 *          that count return the count (int64_t, >= 0) or a negative error.  A call that
 *          fails has changed nothing unless its comment says what it changed.
 * Arrays   An array that another thread changes during a call is read as it is found: the call
 *          works with some mix of old and new values, or ends with PGSTE_E_CHANGED, what it
 *          did so far being done.  It never touches memory outside the tables.
 * Memory   *_new allocates, *_free releases; a host must outlive its guests.  Arrays that
 *          a caller passes stay the caller's and are not kept.
 * Threads  A host and all of its guests are one thing.  A call has it alone, or shares it with
 *          other calls of the same guest; the caller sees to that, as with a lock for one writer
 *          or many readers.
 *
 *            call                                             has the host
 *            pgste_essa*, pgste_free*, pgste_alloc*,          shared, if it is of a "cmma" guest
 *            pgste_intercept, pgste_cbrl                      with several vcpus, and no other
 *                                                             call is on its vcpu; else alone
 *            pgste_set_storage_key, pgste_get_storage_key,    the same, once the guest uses keys;
 *            pgste_insert_storage_key, pgste_reset_reference  they are on no vcpu
 *            pgste_cond_set_storage_key
 *            pgste_check_supervisor, pgste_uses_storage_keys  shared
 *            all others                                       alone
 *
 *          Of shared calls: a change of a page is one step, and what becomes of a page is what
 *          its steps would make of it in some order that fits the calls.  A call about many
 *          pages is as many steps, and free and alloc of one page are two: the mark of the
 *          guest's allocator, then ESSA.  A page is zapped once, a slot freed once, and every
 *          count exact.  A strict guest marks the pages of a call all at once.  A key operation
 *          on a page is one step, in which the PGSTE, the frame's key and what counts as a change
 *          of the page change together.
 *
 *          These calls rest after some 65,536 pages (2^20 of a range, where nothing is shared)
 *          and let others go first, which find each page after a step: the shared ones,
 *          pgste_zap_scan and pgste_host_reclaim.
 * Ending   pgste_set_watch lets a thread end its long calls early.
 * Output   Nothing here prints, exits or reads the environment, pgste_isa_select apart.
 */
#ifndef PGSTE_H
#define PGSTE_H

#include "pgste/error.h"
#include "pgste/watch.h"
#include "pgste/word.h"
#include "pgste/gfn.h"
#include "pgste/generation.h"
#include "pgste/host.h"
#include "pgste/guest.h"
#include "pgste/host_pte.h"
#include "pgste/essa.h"
#include "pgste/pte.h"
#include "pgste/skey.h"
#include "pgste/slots.h"
#include "pgste/cmma_log.h"
#include "pgste/scan.h"
#include "pgste/reporting.h"
#include "pgste/search.h"
#include "pgste/trace.h"
#include "pgste/curve.h"
#include "pgste/footprint.h"
#include "pgste/replay.h"
#include "pgste/live.h"

#endif
