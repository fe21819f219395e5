/* SPDX-License-Identifier: MIT */
/* How calls of the PTE layer begin: see layer.h. */
#include "guest/layer.h"

/* Few guests have an open page: then one look at each gfn, and none else. */
static int check_open(const struct mm *mm, const struct pgste_gfns *gfns, bool open)
{
	if (!open && !mm->nr_open)
		return PGSTE_OK;
	for (uint64_t gfn, i = 0; i < gfns->nr; i++) {
		const int error = layer_gfn(mm, gfns, i, &gfn);

		if (error)
			return error;
		if (page_is_open(mm, gfn) != open)
			return PGSTE_E_STATE;
	}
	return PGSTE_OK;
}

int layer_look(const struct pgste_guest *guest, const struct pgste_gfns *gfns, bool exists,
	       bool open)
{
	if (!exists)
		return PGSTE_E_ARG;
	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	return check_open(&guest->mm, gfns, open);
}

int layer_begin(struct pgste_guest *guest, const struct pgste_gfns *gfns, bool exists, bool open)
{
	const int error = layer_look(guest, gfns, exists, open);

	if (!error)
		guest_settle(guest);
	return error;
}
