/* SPDX-License-Identifier: MIT */
/* Of the PTE layer: access rights, notifications, and shadow tables. */
#include <string.h>

#include "guest/layer.h"
#include "memory/pte_layer.h"
#include "pgste/pte.h"

/* Bits that the generation notifies by, and room for that many pages with them. */
static int begin_notify(struct pgste_guest *guest, const struct pgste_gfns *gfns, bool exists,
			uint64_t bits)
{
	int error;

	if (bits & ~pte_ops_of(&guest->mm)->notify_bits)
		return PGSTE_E_ARG;
	error = layer_begin(guest, gfns, exists, false);
	if (!error && bits && !notes_need(&guest->mm, gfns->nr))
		error = PGSTE_E_NOMEM;
	return error;
}

int pgste_force_prot(struct pgste_guest *guest, const struct pgste_gfns *gfns,
		     enum pgste_prot prot, uint64_t bit, int8_t *results)
{
	const struct pte_ops *ops = pte_ops_of(&guest->mm);
	int error = PGSTE_E_ARG;

	if (prot == PGSTE_PROT_NONE || prot == PGSTE_PROT_READ || prot == PGSTE_PROT_WRITE)
		error = begin_notify(guest, gfns, ops->force_prot != NULL, bit);
	for (uint64_t gfn, i = 0; i < gfns->nr && !error; i++) {
		int result;

		error = layer_gfn(&guest->mm, gfns, i, &gfn);
		if (error)
			break;
		result = ops->force_prot(&guest->mm, gfn, prot, bit);
		if (results)
			results[i] = (int8_t)result;
	}
	return error;
}

int pgste_set_notify(struct pgste_guest *guest, const struct pgste_gfns *gfns, uint64_t bits)
{
	const struct pte_ops *ops = pte_ops_of(&guest->mm);
	int error = bits ? begin_notify(guest, gfns, ops->set_notify != NULL, bits) : PGSTE_E_ARG;

	for (uint64_t gfn, i = 0; i < gfns->nr && !error; i++) {
		error = layer_gfn(&guest->mm, gfns, i, &gfn);
		if (!error)
			ops->set_notify(&guest->mm, gfn, bits);
	}
	return error;
}

int64_t pgste_notifications(struct pgste_guest *guest, uint64_t *gfns, uint64_t *bits,
			    uint64_t room)
{
	struct notes *notes = &guest->mm.notes;
	const uint64_t nr = min_u64(room, notes->nr);

	if (!gfns && !bits)
		return (int64_t)notes->nr;
	for (uint64_t i = 0; i < nr; i++) {
		if (gfns)
			gfns[i] = notes->at[i].gfn;
		if (bits)
			bits[i] = notes->at[i].bits;
	}
	notes->nr -= nr;
	if (notes->nr) /* or there may be no array */
		memmove(notes->at, notes->at + nr, notes->nr * sizeof(*notes->at));
	return (int64_t)nr;
}

int pgste_shadow_pte(struct pgste_guest *parent, const struct pgste_gfns *sources,
		     struct pgste_guest *shadow, const struct pgste_gfns *targets,
		     const uint64_t *words, unsigned step, int8_t *results)
{
	const struct pte_ops *ops = pte_ops_of(&parent->mm);
	int error;

	if (!words || step > 1 || sources->nr != targets->nr || !ops->shadow ||
	    shadow->mm.generation != parent->mm.generation || shadow->mm.host != parent->mm.host)
		return PGSTE_E_ARG;
	error = layer_begin(shadow, targets, true, false);
	if (!error)
		error = layer_begin(parent, sources, true, false);
	if (!error && !notes_need(&parent->mm, sources->nr))
		error = PGSTE_E_NOMEM;
	for (uint64_t gfn, target, i = 0; i < sources->nr && !error; i++) {
		int result;

		error = layer_gfn(&parent->mm, sources, i, &gfn);
		if (!error && !gfn_get(targets, i, shadow->mm.nr_pages, &target))
			error = PGSTE_E_CHANGED;
		if (error)
			break;
		result = ops->shadow(&parent->mm, gfn, &shadow->mm, target,
				     READ_ONCE(words[step ? i : 0]));
		if (results)
			results[i] = (int8_t)result;
	}
	return error;
}
