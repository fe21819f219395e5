/* SPDX-License-Identifier: MIT */
/* Who is asked whether a long call goes on: one for each thread, as calls are of one thread. */
#include "base/base.h"
#include "pgste/watch.h"

static _Thread_local const struct pgste_watch *watch;

const struct pgste_watch *pgste_set_watch(const struct pgste_watch *new_watch)
{
	const struct pgste_watch *before = watch;

	watch = new_watch;
	return before;
}

bool watch_stops(void)
{
	return watch && !watch->go_on(watch->data);
}

bool watch_rest(void)
{
	return !watch_stops() && (!watch || !watch->rest || watch->rest(watch->data));
}
