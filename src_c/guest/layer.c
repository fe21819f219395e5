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

int layer_once(const struct mm *mm, const struct pgste_gfns *gfns)
{
	const uint64_t bytes = bitmap_bytes(mm->nr_pages);
	uint64_t *seen, gfn;
	int error = PGSTE_OK;

	if (gfns->nr < 2 || gfns->type == PGSTE_GFN_RANGE)
		return PGSTE_OK;
	seen = table_new(bytes);
	if (!seen)
		return PGSTE_E_NOMEM;
	for (uint64_t i = 0; i < gfns->nr && !error; i++) {
		error = layer_gfn(mm, gfns, i, &gfn);
		if (!error && (seen[gfn / 64] >> gfn % 64 & 1))
			error = PGSTE_E_STATE;
		if (!error)
			seen[gfn / 64] |= UINT64_C(1) << gfn % 64;
	}
	table_free(seen, bytes);
	return error;
}
