/* SPDX-License-Identifier: MIT */
/*
 * How a PTE changes: docs/model.md section 3 as code.  pgtable has two routes, set
 * (ptep_set_pte_at, clears ZERO) and exchange (ptep_xchg_*, does not); dat has one
 * (gmap_ptep_xchg), which clears ZERO when a page is mapped, unmapped or made young; but not
 * in v7.0.  In dat the host's own PTE changes with the guest's, docs/dat.md.
 */
#include "memory/exchange.h"
#include "memory/store.h"

#define PTE_MAPPED (PTE_NOEXEC | PTE_READ | PTE_YOUNG | PTE_PRESENT)
#define PTE_DAT_MAPPED (PTE_WRITE | PTE_YOUNG | PTE_PRESENT)

static void clear_zero(struct mm *mm, uint64_t gfn)
{
	if (mm->two.revision == PGSTE_REVISION_7_0)
		return;
	mm->state[gfn] &= (uint8_t)~PGSTE_STATE_ZERO;
}

static void clear_zero_dat(struct mm *mm, uint64_t gfn)
{
	if (mm->generation == PGSTE_GEN_DAT)
		clear_zero(mm, gfn);
}

/* pgste_set_pte: a PTE that lets the guest write sets the user-dirty bit. */
static void note_writable(struct mm *mm, uint64_t gfn, uint64_t pte)
{
	if (mm->generation == PGSTE_GEN_PGTABLE && pte_allows_store(pte))
		mm->rest[gfn] |= REST_UC;
}

static void pte_map(struct mm *mm, uint64_t gfn, uint32_t frame, uint64_t bits, uint16_t host)
{
	const uint64_t pte = (uint64_t)frame << PTE_PFRA_SHIFT | bits |
			     dat_take_soft_dirty(mm, gfn);

	clear_zero(mm, gfn);
	pte_was_set(mm, gfn, pte);
	pte_store(mm, gfn, pte);
	host_store(mm, gfn, host);
	note_writable(mm, gfn, pte);
}

static uint64_t dat_bits(enum pte_access access)
{
	return PTE_DAT_MAPPED | (access == PTE_STORE ? PTE_DIRTY : PTE_PROTECT);
}

/* do_anonymous_page maps a fresh page writable and dirty even for a load. */
void pte_map_zero(struct mm *mm, uint64_t gfn, uint32_t frame, enum pte_access access)
{
	uint64_t bits = PTE_MAPPED | PTE_WRITE | PTE_DIRTY | PTE_SOFT_DIRTY;

	if (mm->generation == PGSTE_GEN_DAT)
		bits = dat_bits(access);
	pte_map(mm, gfn, frame, bits, HOST_FILLED);
}

/* do_swap_page maps read-only and clean for a load, so that a store is seen. */
void pte_map_swapped(struct mm *mm, uint64_t gfn, uint32_t frame,
		     enum pte_access access)
{
	uint64_t bits = PTE_MAPPED;

	if (mm->generation == PGSTE_GEN_DAT)
		bits = dat_bits(access);
	else
		bits |= access == PTE_STORE ? PTE_WRITE | PTE_DIRTY | PTE_SOFT_DIRTY : PTE_PROTECT;
	pte_map(mm, gfn, frame, bits, access == PTE_STORE ? HOST_FILLED : HOST_SWAPPED_IN);
}

/*
 * do_anonymous_page maps the shared zero page for a load, where that is allowed; in dat the guest
 * may not write what get_user_pages then finds.
 */
void pte_map_zero_page(struct mm *mm, uint64_t gfn)
{
	const uint64_t page = (uint64_t)mm->host->config.nr_frames << PTE_PFRA_SHIFT;
	uint64_t pte = page | HOST_ZERO_PAGE;

	if (mm->generation == PGSTE_GEN_DAT)
		pte = page | (dat_bits(PTE_LOAD) & ~PTE_WRITE) | dat_take_soft_dirty(mm, gfn);
	clear_zero(mm, gfn);
	pte_was_set(mm, gfn, pte);
	pte_load(mm, gfn, pte);
}

/*
 * FAULT_FLAG_UNSHARE: a frame of its own that no store may write yet, in the place of nothing.
 * In dat that is the host's PTE alone.
 */
void pte_map_unshared(struct mm *mm, uint64_t gfn, uint32_t frame, bool soft_dirty)
{
	const uint64_t bits = PTE_MAPPED | PTE_PROTECT | (soft_dirty ? PTE_SOFT_DIRTY : 0);

	if (!mm->two.bits) {
		pte_map(mm, gfn, frame, bits, 0);
		return;
	}
	pte_store(mm, gfn, (uint64_t)frame << PTE_PFRA_SHIFT | PTE_INVALID | PTE_PRESENT);
	mm->two.bits[gfn] = (uint16_t)(HOST_APART | bits);
}

/* A store wants to write where the host's own PTE may not let it: wp_page_reuse. */
static void host_make_writable(struct mm *mm, uint64_t gfn)
{
	const uint16_t bits = mm->two.bits[gfn];

	if (bits & PTE_WRITE)
		return;
	mm->two.bits[gfn] = host_rewritten(
		mm, (bits & (uint16_t)~(PTE_PROTECT | PTE_INVALID)) | (HOST_FILLED & ~PTE_NOEXEC));
}

/*
 * The guest maps a page again that the host never lost (gmap_link): fast get_user_pages finds
 * the host's PTE as it is, and writes it only if a store needs that.  The guest may store later
 * by itself where the host's PTE lets it.
 */
static void pte_attach(struct mm *mm, uint64_t gfn, enum pte_access access)
{
	uint64_t pte = (mm->pte[gfn] & PTE_PFRA) | dat_bits(access) |
		       dat_take_soft_dirty(mm, gfn);

	if (access == PTE_STORE)
		host_make_writable(mm, gfn);
	else if (!(mm->two.bits[gfn] & PTE_WRITE))
		pte &= ~PTE_WRITE;
	mm->two.bits[gfn] &= (uint16_t)~HOST_APART;
	clear_zero(mm, gfn);
	pte_exchanged(mm, gfn, PTE_NONE, pte);
	pte_alter(mm, gfn, pte);
}

uint16_t pte_make_soft_dirty(struct mm *mm, uint64_t gfn)
{
	const uint8_t swap = PGSTE_STATE_SWAP | PGSTE_STATE_VALID;
	const uint8_t state = __atomic_load_n(&mm->state[gfn], __ATOMIC_RELAXED);
	const uint64_t cold = mm->pte[gfn];

	if (pte_is_apart(mm, gfn) || (state & swap) == PGSTE_STATE_SWAP ||
	    (pte_compose(cold, state) | PTE_SOFT_DIRTY) == (PTE_NONE | PTE_SOFT_DIRTY))
		return REST_DAT_SD;
	/* atomic, as another vcpu that processes its list may look at it */
	__atomic_store_n(&mm->pte[gfn], cold | PTE_SOFT_DIRTY, __ATOMIC_RELAXED);
	return 0;
}

/* Is the guest's PTE of a dat guest empty?  Where it is, the cold pte is the host's alone. */
static bool guest_pte_is_empty(const struct mm *mm, uint64_t gfn)
{
	const uint8_t swap = mm->state[gfn] & (PGSTE_STATE_SWAP | PGSTE_STATE_VALID);

	return swap == PGSTE_STATE_SWAP || pte_is_apart(mm, gfn);
}

void pte_set_apart(struct mm *mm, uint64_t gfn)
{
	pte_alter(mm, gfn, (mm->pte[gfn] & PTE_PFRA) | PTE_INVALID | PTE_PRESENT);
	mm->two.bits[gfn] |= HOST_APART;
}

void pte_forget(struct mm *mm, uint64_t gfn)
{
	const uint64_t cold = mm->pte[gfn];

	if (guest_pte_is_empty(mm, gfn))
		return;
	if (!pte_is_present(cold, mm->state[gfn])) {
		pte_drop(mm, gfn);
		return;
	}
	if ((cold & PTE_DIRTY) && !(cold & COLD_FOREIGN))
		mm->host->frames[pte_index(cold)].dirty = 1;
	pte_set_apart(mm, gfn);
}

void pte_detach(struct mm *mm, uint64_t gfn)
{
	const uint64_t old = guest_pte_is_empty(mm, gfn) ? PTE_NONE : pte_word(mm, gfn);

	clear_zero(mm, gfn);
	if (mm->extra)
		dat_exchanged_inside(mm, gfn, old, PTE_NONE);
	pte_forget(mm, gfn);
}

/* A load or store of a present page: made young, and at a first store dirty. */
void pte_touch(struct mm *mm, uint64_t gfn, enum pte_access access)
{
	uint64_t old = pte_compose(mm->pte[gfn], mm->state[gfn]);
	uint64_t new = old;

	if (pte_is_apart(mm, gfn)) {
		pte_attach(mm, gfn, access);
		return;
	}
	if ((old & PTE_INVALID) || mm->generation == PGSTE_GEN_ZVM)
		new = (new | PTE_YOUNG) & ~PTE_INVALID;
	if (access == PTE_STORE && (old & PTE_PROTECT)) {
		new = (new | PTE_DIRTY | PTE_WRITE) & ~PTE_PROTECT;
		if (mm->generation != PGSTE_GEN_DAT)
			new |= PTE_SOFT_DIRTY;
		else if (!(old & PTE_WRITE))
			host_make_writable(mm, gfn);
	}
	if (new == old)
		return;
	clear_zero_dat(mm, gfn);
	pte_exchanged(mm, gfn, old, new);
	pte_alter(mm, gfn, new);
	note_writable(mm, gfn, new);
}

/* Ageing alone leaves ZERO in both generations; z/VM clears the key's reference bit only. */
void pte_age(struct mm *mm, uint64_t gfn)
{
	const uint64_t cold = mm->pte[gfn];
	uint64_t aged = cold & ~PTE_YOUNG;

	if (mm->two.bits) {
		mm->two.bits[gfn] = (mm->two.bits[gfn] & (uint16_t)~PTE_YOUNG) | PTE_INVALID;
		if (mm->two.bits[gfn] & HOST_APART)
			return;
	}
	if (mm->generation == PGSTE_GEN_DAT)
		aged = (aged & ~PTE_DIRTY) | PTE_PROTECT;
	pte_aged(mm, gfn, aged);
	mm->pte[gfn] = aged;
	if (mm->generation != PGSTE_GEN_ZVM)
		mm->state[gfn] &= (uint8_t)~PGSTE_STATE_VALID;
}

/* The page is taken from the guest: its PTE is exchanged for none. */
static void pte_leaves(struct mm *mm, uint64_t gfn)
{
	pte_exchanged(mm, gfn, pte_compose(mm->pte[gfn], mm->state[gfn]), PTE_NONE);
}

void pte_unmap(struct mm *mm, uint64_t gfn)
{
	clear_zero_dat(mm, gfn);
	pte_leaves(mm, gfn);
	pte_store(mm, gfn, PTE_NONE);
	host_store(mm, gfn, 0);
}

void pte_swap_out(struct mm *mm, uint64_t gfn, uint32_t slot)
{
	clear_zero(mm, gfn);
	pte_leaves(mm, gfn);
	pte_store(mm, gfn, PTE_SWAP | (uint64_t)slot << PTE_PFRA_SHIFT);
	host_store(mm, gfn, 0);
}

/* The host's own PTE loses what madvise_free_pte_range takes; true: the guest has none. */
static bool host_lazyfree(struct mm *mm, uint64_t gfn)
{
	uint16_t bits;

	if (!mm->two.bits)
		return false;
	bits = mm->two.bits[gfn];
	if (bits & (PTE_YOUNG | PTE_DIRTY)) {
		/* by set_pte_at: UNUSED goes in every release */
		mm->two.bits[gfn] &= (uint16_t)~(PTE_YOUNG | PTE_DIRTY | PTE_UNUSED);
		mm->two.bits[gfn] |= PTE_INVALID | PTE_PROTECT;
	}
	if (bits & HOST_APART)
		clear_zero(mm, gfn);
	return bits & HOST_APART;
}

void pte_lazyfree(struct mm *mm, uint64_t gfn)
{
	uint64_t pte = pte_compose(mm->pte[gfn], mm->state[gfn]);

	if (host_lazyfree(mm, gfn) || !(pte & (PTE_YOUNG | PTE_DIRTY)))
		return;
	clear_zero(mm, gfn);
	pte_leaves(mm, gfn);
	pte_store(mm, gfn,
		  (pte & ~(PTE_YOUNG | PTE_DIRTY)) | PTE_INVALID | PTE_PROTECT);
}

/* Reclaim puts the PTE of a dirty lazyfree page back as it was: set, which clears ZERO. */
void pte_restore(struct mm *mm, uint64_t gfn)
{
	const uint64_t pte = pte_compose(mm->pte[gfn], mm->state[gfn]);

	clear_zero(mm, gfn);
	pte_leaves(mm, gfn);
	pte_was_set(mm, gfn, pte);
	note_writable(mm, gfn, pte);
	if (mm->two.bits)
		mm->two.bits[gfn] &= (uint16_t)~PTE_UNUSED;
}
