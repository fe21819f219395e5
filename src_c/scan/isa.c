/* SPDX-License-Identifier: MIT */
/* Which variant of the scan kernels is in force: the best one, or the one asked for. */
#include <stdlib.h>
#include <string.h>

#include "scan/scan.h"

/* Best first. */
static const struct scan_ops *const variants[] = {
#if defined(__x86_64__)
	&scan_avx512,
	&scan_avx2,
#endif
#ifdef __AARCH64EL__
	&scan_neon,
#endif
	&scan_portable,
};
#define NR_VARIANTS (sizeof(variants) / sizeof(variants[0]))

static const struct scan_ops *chosen = &scan_portable;

const struct scan_ops *scan_ops(void)
{
	return chosen;
}

int pgste_isa_select(const char *name)
{
	if (!name || !*name)
		name = getenv("PGSTE_ISA");
	for (size_t i = 0; i < NR_VARIANTS; i++) {
		if (name && *name && strcmp(variants[i]->name, name) != 0)
			continue;
		if (variants[i]->supported()) {
			chosen = variants[i];
			return PGSTE_OK;
		}
	}
	return PGSTE_E_NAME;
}

const char *pgste_isa_name(void)
{
	return chosen->name;
}

const char *pgste_isa_list(unsigned i, bool *supported)
{
	if (i >= NR_VARIANTS)
		return NULL;
	if (supported)
		*supported = variants[i]->supported();
	return variants[i]->name;
}
