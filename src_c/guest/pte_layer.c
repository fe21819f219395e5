/* SPDX-License-Identifier: MIT */
/*
 * The PTE layer: arguments are checked here, and each generation does the rest page by page
 * (memory/pte_pgtable.c, memory/pte_dat.c).
 */
#include "guest/layer.h"
#include "memory/pte_layer.h"
#include "pgste/pte.h"

/* ---- setting and exchanging ---- */

/* Words through a function of one page. */
static int put_all(struct pgste_guest *guest, const struct pgste_gfns *gfns,
		   const uint64_t *words, unsigned step,
		   void (*put)(struct mm *mm, uint64_t gfn, uint64_t word))
{
	int error = PGSTE_E_ARG;

	if (words && step <= 1)
		error = layer_begin(guest, gfns, put != NULL, false);
	for (uint64_t gfn, i = 0; i < gfns->nr && !error; i++) {
		error = layer_gfn(&guest->mm, gfns, i, &gfn);
		if (!error)
			put(&guest->mm, gfn, READ_ONCE(words[step ? i : 0]));
	}
	return error;
}

int pgste_set_pte_at(struct pgste_guest *guest, const struct pgste_gfns *gfns,
		     const uint64_t *words, unsigned step)
{
	return put_all(guest, gfns, words, step, pte_ops_of(&guest->mm)->set);
}

int pgste_map_pte(struct pgste_guest *guest, const struct pgste_gfns *gfns,
		  const uint64_t *words, unsigned step)
{
	return put_all(guest, gfns, words, step, pte_ops_of(&guest->mm)->map);
}

int pgste_xchg_pte(struct pgste_guest *guest, const struct pgste_gfns *gfns,
		   const uint64_t *words, unsigned step, bool lazy, uint64_t *old)
{
	const struct pte_ops *ops = pte_ops_of(&guest->mm);
	int error = PGSTE_E_ARG;

	if (words && step <= 1)
		error = layer_begin(guest, gfns, ops->xchg != NULL, false);
	for (uint64_t gfn, was, i = 0; i < gfns->nr && !error; i++) {
		error = layer_gfn(&guest->mm, gfns, i, &gfn);
		if (error)
			break;
		was = ops->xchg(&guest->mm, gfn, READ_ONCE(words[step ? i : 0]), lazy);
		if (old)
			old[i] = was;
	}
	return error;
}

int pgste_age(struct pgste_guest *guest, const struct pgste_gfns *gfns, uint8_t *young,
	      uint64_t *before)
{
	const struct pte_ops *ops = pte_ops_of(&guest->mm);
	int error = layer_begin(guest, gfns, ops->age != NULL, false);

	for (uint64_t gfn, was, i = 0; i < gfns->nr && !error; i++) {
		bool is_young;

		error = layer_gfn(&guest->mm, gfns, i, &gfn);
		if (error)
			break;
		is_young = ops->age(&guest->mm, gfn, &was);
		if (young)
			young[i] = is_young;
		if (before)
			before[i] = was;
	}
	return error;
}

int pgste_unmap_pte(struct pgste_guest *guest, const struct pgste_gfns *gfns, uint64_t *host)
{
	const struct pte_ops *ops = pte_ops_of(&guest->mm);
	int error = layer_begin(guest, gfns, ops->unmap != NULL, false);

	for (uint64_t gfn, after, i = 0; i < gfns->nr && !error; i++) {
		error = layer_gfn(&guest->mm, gfns, i, &gfn);
		if (error)
			break;
		after = ops->unmap(&guest->mm, gfn);
		if (host)
			host[i] = after;
	}
	return error;
}

/* ---- a change of protection, in two steps ---- */

static void mark_open(struct mm *mm, uint64_t gfn, bool open)
{
	const uint64_t bit = UINT64_C(1) << gfn % 64;

	mm->nr_open += (uint64_t)open - (uint64_t)page_is_open(mm, gfn);
	mm->open[gfn / 64] = open ? mm->open[gfn / 64] | bit : mm->open[gfn / 64] & ~bit;
}

/* As layer_begin, and no page is named twice. */
static int prot_begin(struct pgste_guest *guest, const struct pgste_gfns *gfns, bool exists,
		      bool open)
{
	int error = layer_look(guest, gfns, exists, open);

	if (!error)
		error = layer_once(&guest->mm, gfns);
	if (!error)
		guest_settle(guest);
	return error;
}

int pgste_modify_prot_start(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			    uint64_t *old)
{
	const struct pte_ops *ops = pte_ops_of(&guest->mm);
	struct mm *mm = &guest->mm;
	int error = prot_begin(guest, gfns, ops->prot_start != NULL, false);

	if (!error && !mm->open) {
		mm->open = table_new(bitmap_bytes(mm->nr_pages));
		error = mm->open ? PGSTE_OK : PGSTE_E_NOMEM;
	}
	for (uint64_t gfn, was, i = 0; i < gfns->nr && !error; i++) {
		error = layer_gfn(mm, gfns, i, &gfn);
		if (!error && page_is_open(mm, gfn))
			error = PGSTE_E_CHANGED;
		if (error)
			break;
		was = ops->prot_start(mm, gfn);
		mark_open(mm, gfn, true);
		if (old)
			old[i] = was;
	}
	return error;
}

int pgste_modify_prot_commit(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			     const uint64_t *words, unsigned step)
{
	const struct pte_ops *ops = pte_ops_of(&guest->mm);
	struct mm *mm = &guest->mm;
	int error = PGSTE_E_ARG;

	if (words && step <= 1)
		error = prot_begin(guest, gfns, ops->prot_commit != NULL, true);
	for (uint64_t gfn, i = 0; i < gfns->nr && !error; i++) {
		error = layer_gfn(mm, gfns, i, &gfn);
		if (!error && !page_is_open(mm, gfn))
			error = PGSTE_E_CHANGED;
		if (error)
			break;
		ops->prot_commit(mm, gfn, READ_ONCE(words[step ? i : 0]));
		mark_open(mm, gfn, false);
	}
	return error;
}

/* ---- tracking of changes, keys ---- */

int pgste_test_and_clear_dirty(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			       uint8_t *dirty)
{
	const struct pte_ops *ops = pte_ops_of(&guest->mm);
	int error = layer_begin(guest, gfns, ops->test_and_clear_dirty != NULL, false);

	for (uint64_t gfn, i = 0; i < gfns->nr && !error; i++) {
		bool was;

		error = layer_gfn(&guest->mm, gfns, i, &gfn);
		if (error)
			break;
		was = ops->test_and_clear_dirty(&guest->mm, gfn);
		if (dirty)
			dirty[i] = was;
	}
	return error;
}

int pgste_soft_dirty(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
		     uint8_t *dirty)
{
	const struct pte_ops *ops = pte_ops_of(&guest->mm);
	int error = PGSTE_OK;

	if (!dirty || !ops->soft_dirty)
		return PGSTE_E_ARG;
	if (!gfns_below(gfns, guest->mm.nr_pages))
		return PGSTE_E_GFN;
	for (uint64_t gfn, i = 0; i < gfns->nr && !error; i++) {
		error = layer_gfn(&guest->mm, gfns, i, &gfn);
		if (!error)
			dirty[i] = ops->soft_dirty(&guest->mm, gfn);
	}
	return error;
}

/* A function of one page that takes and gives nothing. */
static int do_all(struct pgste_guest *guest, const struct pgste_gfns *gfns,
		  void (*work)(struct mm *mm, uint64_t gfn))
{
	int error = layer_begin(guest, gfns, work != NULL, false);

	for (uint64_t gfn, i = 0; i < gfns->nr && !error; i++) {
		error = layer_gfn(&guest->mm, gfns, i, &gfn);
		if (!error)
			work(&guest->mm, gfn);
	}
	return error;
}

int pgste_clear_soft_dirty(struct pgste_guest *guest, const struct pgste_gfns *gfns)
{
	return do_all(guest, gfns, pte_ops_of(&guest->mm)->clear_soft_dirty);
}

int pgste_zap_key(struct pgste_guest *guest, const struct pgste_gfns *gfns)
{
	return do_all(guest, gfns, pte_ops_of(&guest->mm)->zap_key);
}

int pgste_unshadow_pte(struct pgste_guest *shadow, const struct pgste_gfns *gfns)
{
	return do_all(shadow, gfns, pte_ops_of(&shadow->mm)->unshadow);
}
