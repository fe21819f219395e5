/* SPDX-License-Identifier: MIT */
/* The table of mechanisms.  A new one is a new file and a line here. */
#include <string.h>

#include "internal.h"

static const struct mech *const mechanisms[] = {
	&mech_none,
	&mech_cmma,
	&mech_madv_dontneed,
	&mech_madv_free,
	&mech_report,
};
#define NR_MECHANISMS (sizeof(mechanisms) / sizeof(mechanisms[0]))

const char *pgste_mechanism_name(unsigned i)
{
	return i < NR_MECHANISMS ? mechanisms[i]->name : NULL;
}

const struct mech *mech_find(const char *name)
{
	for (size_t i = 0; name && i < NR_MECHANISMS; i++)
		if (strcmp(mechanisms[i]->name, name) == 0)
			return mechanisms[i];
	return NULL;
}
