/* SPDX-License-Identifier: MIT */
/*
 * The table of mechanisms, and guests by the name of theirs.  A new mechanism is a new file and
 * a line here.
 */
#include <string.h>

#include "mech/mech.h"

static const struct mech *const mechanisms[] = {
	&mech_none,
	&mech_cmma,
	&mech_madv_dontneed,
	&mech_madv_free,
	&mech_reporting,
};
#define NR_MECHANISMS (sizeof(mechanisms) / sizeof(mechanisms[0]))

const char *pgste_mechanism_name(unsigned i)
{
	return i < NR_MECHANISMS ? mechanisms[i]->name : NULL;
}

static const struct mech *mech_find(const char *name)
{
	for (size_t i = 0; name && i < NR_MECHANISMS; i++)
		if (strcmp(mechanisms[i]->name, name) == 0)
			return mechanisms[i];
	return NULL;
}

static bool allowed(enum pgste_generation generation, const struct mech *mech)
{
	return generation != PGSTE_GEN_ZVM || !mech->kvm_only;
}

bool pgste_mechanism_allowed(enum pgste_generation generation, const char *mechanism)
{
	const struct mech *mech = mech_find(mechanism);

	return mech && generation < PGSTE_NR_GENERATIONS && allowed(generation, mech);
}

int pgste_guest_new(struct pgste_host *host, const struct pgste_guest_config *config,
		    struct pgste_guest **guest)
{
	const struct mech *mech = mech_find(config->mechanism);

	if (!mech)
		return PGSTE_E_NAME;
	return allowed(config->generation, mech) ? guest_create(host, config, mech, guest) :
						   PGSTE_E_ARG;
}
