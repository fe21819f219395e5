/* SPDX-License-Identifier: MIT */
/* Who is asked whether a long call goes on: one for each thread, as calls are of one thread. */
#include "base/base.h"
#include "pgste/watch.h"

static _Thread_local const struct pgste_watch *watch;

void pgste_set_watch(const struct pgste_watch *new_watch)
{
	watch = new_watch;
}

const struct pgste_watch *watch_of_thread(void)
{
	return watch;
}

bool watch_stops(void)
{
	return watch && !watch->go_on(watch->data);
}
