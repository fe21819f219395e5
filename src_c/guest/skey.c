/* SPDX-License-Identifier: MIT */
/*
 * Storage keys: arguments are checked here, keys enabled as try_handle_skey does it, and each
 * generation does the rest page by page.
 */
#include "guest/layer.h"
#include "guest/skey_ops.h"
#include "guest/slots.h"

static const struct skey_ops *skey_ops_of(const struct pgste_guest *guest)
{
	static const struct skey_ops none;

	if (guest->mm.generation == PGSTE_GEN_PGTABLE)
		return &skey_ops_pgtable;
	return guest->mm.generation == PGSTE_GEN_DAT ? &skey_ops_dat : &none;
}

bool pgste_uses_storage_keys(const struct pgste_guest *guest)
{
	return guest->mm.extra & MM_SKEYS;
}

bool pgste_allows_cow_sharing(const struct pgste_guest *guest)
{
	return guest->mm.allow_cow_sharing;
}

/*
 * The walk is not to be ended early: the keys of half of the pages would be no state at all.  The
 * guest uses keys already while frames come in place of the zero page (s390_enable_skey).
 */
int pgste_reset_storage_keys(struct pgste_guest *guest)
{
	const struct skey_ops *ops = skey_ops_of(guest);
	const unsigned before = guest->mm.extra;
	int error;

	if (!ops->reset)
		return PGSTE_E_ARG;
	if (guest->mm.nr_open)
		return PGSTE_E_STATE;
	if (!keys_need(guest->mm.host))
		return PGSTE_E_NOMEM;
	guest_settle(guest);
	guest->mm.extra |= MM_SKEYS;
	error = mm_disable_cow_sharing(&guest->mm);
	if (error) {
		guest->mm.extra = before;
		return error;
	}
	for (uint64_t end, gfn = 0; slots_walk(guest, &gfn, &end);)
		for (; gfn < end; gfn++)
			ops->reset(&guest->mm, gfn);
	return PGSTE_OK;
}

int pgste_enable_storage_keys(struct pgste_guest *guest)
{
	if (pgste_uses_storage_keys(guest))
		return PGSTE_OK;
	return pgste_reset_storage_keys(guest);
}

int pgste_check_supervisor(const struct pgste_guest *guest, uint32_t vcpu)
{
	if (vcpu >= guest->nr_vcpus)
		return PGSTE_E_ARG;
	return guest->vcpus[vcpu].problem_state ? PGSTE_E_PGM_PRIVILEGED : PGSTE_OK;
}

/* An instruction of the guest. */
static int keys_begin(struct pgste_guest *guest, const struct pgste_gfns *gfns, bool exists)
{
	const int error = layer_begin(guest, gfns, exists, false);
	uint64_t bad;

	if (error)
		return error;
	if (!slots_cover(guest, gfns, 1, &bad))
		return PGSTE_E_PGM_ADDRESSING;
	return pgste_enable_storage_keys(guest);
}

/* Others may go first; afterwards the next part may have pages outside of slots, or open. */
static __attribute__((noinline)) int keys_rest(const struct pgste_guest *guest,
					       const struct pgste_gfns *gfns, uint64_t i)
{
	const uint64_t to = i + min_u64(gfns->nr - i, WATCH_STEPS);

	if (!guest_rest(guest))
		return PGSTE_E_CANCELLED;
	if (!guest->mm.nr_open && guest->slots.whole)
		return PGSTE_OK;
	for (uint64_t gfn; i < to; i++) {
		if (!gfn_get(gfns, i, guest->mm.nr_pages, &gfn))
			return PGSTE_E_CHANGED;
		if (page_is_open(&guest->mm, gfn))
			return PGSTE_E_STATE;
		if (!memslots_have(&guest->slots, gfn, 1))
			return PGSTE_E_PGM_ADDRESSING;
	}
	return PGSTE_OK;
}

/* What the next pages of an array have in the tables, and a little later their frames' keys. */
static ALWAYS_INLINE void keys_fetch(const struct mm *mm, const struct pgste_gfns *gfns,
				     uint64_t i)
{
	uint64_t gfn, frame;

	layer_fetch(mm, gfns, i);
	if (i + LAYER_AHEAD >= gfns->nr ||
	    !gfn_get(gfns, i + LAYER_AHEAD / 2, mm->nr_pages, &gfn))
		return;
	if (mm->two.bits)
		__builtin_prefetch(&mm->two.bits[gfn]);
	frame = __atomic_load_n(&mm->pte[gfn], __ATOMIC_RELAXED) >> PTE_PFRA_SHIFT;
	if (mm->host->keys && frame < mm->host->config.nr_frames)
		__builtin_prefetch(&mm->host->keys[frame], 1);
}

/* The i-th page of a call under way. */
static ALWAYS_INLINE int keys_next(const struct pgste_guest *guest, const struct pgste_gfns *gfns,
				   uint64_t i, uint64_t *gfn)
{
	if (i && i % WATCH_STEPS == 0) {
		const int error = keys_rest(guest, gfns, i);

		if (error)
			return error;
	}
	if (gfns->type != PGSTE_GFN_RANGE)
		keys_fetch(&guest->mm, gfns, i);
	return gfn_get(gfns, i, guest->mm.nr_pages, gfn) ? PGSTE_OK : PGSTE_E_CHANGED;
}

int pgste_set_storage_key(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			  const uint8_t *keys, unsigned key_step, bool nq)
{
	const struct skey_ops *ops = skey_ops_of(guest);
	int error = PGSTE_E_ARG;

	(void)nq; /* when other CPUs see the key */
	if (keys && key_step <= 1)
		error = keys_begin(guest, gfns, ops->set != NULL);
	for (uint64_t gfn, i = 0; i < gfns->nr && !error; i++) {
		error = keys_next(guest, gfns, i, &gfn);
		if (!error)
			ops->set(&guest->mm, gfn, READ_ONCE(keys[key_step ? i : 0]), guest->shared);
	}
	return error;
}

/* Apart, so that who has the guest alone needs no stack. */
static __attribute__((noinline)) unsigned key_get_shared(struct mm *mm, uint64_t gfn)
{
	const struct held page = page_hold(mm, gfn, true);
	const unsigned seen = held_seen_key(&page);

	pgste_unlock(mm, gfn, page.rest);
	return seen;
}

/* The same in both generations. */
static unsigned key_get_any(struct mm *mm, uint64_t gfn, bool shared)
{
	struct held page;

	if (shared)
		return key_get_shared(mm, gfn);
	page = page_hold(mm, gfn, false);
	return held_seen_key(&page);
}

static int keys_get_all(struct pgste_guest *guest, const struct pgste_gfns *gfns, uint8_t *keys)
{
	int error = PGSTE_OK;

	for (uint64_t gfn, i = 0; i < gfns->nr && !error; i++) {
		error = keys_next(guest, gfns, i, &gfn);
		if (!error)
			keys[i] = (uint8_t)key_get_any(&guest->mm, gfn, guest->shared);
	}
	return error;
}

int pgste_get_storage_key(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			  uint8_t *keys)
{
	int error = PGSTE_E_ARG;
	uint64_t bad;

	if (keys)
		error = layer_look(guest, gfns, skey_ops_of(guest)->set != NULL, false);
	if (!error && !slots_cover(guest, gfns, 1, &bad))
		error = PGSTE_E_PGM_ADDRESSING;
	return error ? error : keys_get_all(guest, gfns, keys);
}

int pgste_insert_storage_key(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			     uint8_t *keys)
{
	int error = PGSTE_E_ARG;

	if (keys)
		error = keys_begin(guest, gfns, skey_ops_of(guest)->set != NULL);
	return error ? error : keys_get_all(guest, gfns, keys);
}

int pgste_cond_set_storage_key(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			       const uint8_t *keys, unsigned key_step, bool mr, bool mc, bool nq,
			       uint8_t *rcs, uint8_t *old)
{
	const struct skey_ops *ops = skey_ops_of(guest);
	int error = PGSTE_E_ARG;

	(void)nq;
	if (keys && key_step <= 1)
		error = keys_begin(guest, gfns, ops->cond_set != NULL);
	for (uint64_t gfn, i = 0; i < gfns->nr && !error; i++) {
		uint8_t was = 0;
		unsigned rc;

		error = keys_next(guest, gfns, i, &gfn);
		if (error)
			break;
		rc = ops->cond_set(&guest->mm, gfn, READ_ONCE(keys[key_step ? i : 0]), mr, mc,
				   guest->shared, &was);
		if (rcs)
			rcs[i] = (uint8_t)rc;
		if (old)
			old[i] = was;
	}
	return error;
}

int pgste_reset_reference(struct pgste_guest *guest, const struct pgste_gfns *gfns,
			  uint8_t *ccs)
{
	const struct skey_ops *ops = skey_ops_of(guest);
	int error = keys_begin(guest, gfns, ops->reset_reference != NULL);

	for (uint64_t gfn, i = 0; i < gfns->nr && !error; i++) {
		unsigned cc;

		error = keys_next(guest, gfns, i, &gfn);
		if (error)
			break;
		cc = ops->reset_reference(&guest->mm, gfn, guest->shared);
		if (ccs)
			ccs[i] = (uint8_t)cc;
	}
	return error;
}
