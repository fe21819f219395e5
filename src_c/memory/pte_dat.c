/* SPDX-License-Identifier: MIT */
/*
 * The PTE layer of the dat generation.  set, xchg and the change of protection are of the host's
 * own page table, and an exchange there goes with an MMU notifier; the others are of the guest's
 * table: arch/s390/kvm/gmap.c, dat.c, gaccess.c.  pte_load() sees to it that the host gets back
 * what a word held.  docs/dat.md has the table.
 */
#include "memory/key_dat.h"
#include "memory/pte_layer.h"
#include "memory/zero_page.h"

static bool on_swap(const struct mm *mm, uint64_t gfn)
{
	return (mm->state[gfn] & (PGSTE_STATE_SWAP | PGSTE_STATE_VALID)) == PGSTE_STATE_SWAP;
}

/* The guest's PTE: where pte_word() tells of a swap entry, that is the host's. */
static uint64_t guest_pte(const struct mm *mm, uint64_t gfn)
{
	if (!on_swap(mm, gfn))
		return pte_word(mm, gfn);
	return PTE_NONE | (mm->rest[gfn] & REST_DAT_SD ? PTE_SOFT_DIRTY : 0);
}

/*
 * The guest's PTE becomes word.  The host's own stays as it is if both name one frame: fast
 * get_user_pages finds it, and does not write it.
 */
static void guest_load(struct mm *mm, uint64_t gfn, uint64_t word)
{
	const uint16_t bits = mm->two.bits[gfn];
	const bool kept = (bits & PTE_PRESENT) && (word & PTE_PRESENT) &&
			  !((mm->pte[gfn] ^ word) & PTE_PFRA);

	pte_load(mm, gfn, word);
	if (kept) {
		mm->two.bits[gfn] = bits & (uint16_t)~HOST_APART;
		mm->strangers |= (mm->pte[gfn] & COLD_FOREIGN) && !maps_zero_page(mm, gfn);
	}
}

/* _gmap_ptep_xchg: which bits of rest it told of. */
static unsigned dat_exchange(struct mm *mm, uint64_t gfn, uint64_t word)
{
	const unsigned told = dat_exchanged(mm, gfn, guest_pte(mm, gfn), word);

	if (mm->two.revision != PGSTE_REVISION_7_0)
		mm->state[gfn] &= (uint8_t)~PGSTE_STATE_ZERO;
	guest_load(mm, gfn, word);
	return told;
}

/* An MMU notifier; who calls this layer wants to be told. */
static void mmu_notify(struct mm *mm, uint64_t gfn)
{
	mm->extra |= mm->extra & MM_NOTES ? MM_TOLD : 0;
	host_notified(mm, gfn, PGSTE_REWRITE_NONE);
}

/* ---- the host's own table ---- */

/* set_ptes cleared UNUSED of present words from the start. */
static void dat_set(struct mm *mm, uint64_t gfn, uint64_t word)
{
	mm->extra |= mm->extra & MM_NOTES ? MM_TOLD : 0;
	host_load(mm, gfn, word & PTE_PRESENT ? word & ~PTE_UNUSED : word);
}

/* What ends in set_pte, which clears UNUSED since the fix. */
static uint64_t rewritten(const struct mm *mm, uint64_t word)
{
	if (unused_lingers(mm->two.revision) || !(word & PTE_PRESENT))
		return word;
	return word & ~PTE_UNUSED;
}

static uint64_t dat_xchg(struct mm *mm, uint64_t gfn, uint64_t word, bool lazy)
{
	uint64_t old;

	(void)lazy;
	mmu_notify(mm, gfn);
	old = host_word(mm, gfn);
	host_load(mm, gfn, rewritten(mm, word));
	return old;
}

/* Nothing locks the PGSTE, which the host's table does not have. */
static uint64_t dat_prot_start(struct mm *mm, uint64_t gfn)
{
	uint64_t old;

	mmu_notify(mm, gfn);
	old = host_word(mm, gfn);
	if (old & PTE_PRESENT)
		host_load(mm, gfn, old | PTE_INVALID);
	return old;
}

static void dat_prot_commit(struct mm *mm, uint64_t gfn, uint64_t word)
{
	host_load(mm, gfn, rewritten(mm, word));
}

static bool dat_soft_dirty(const struct mm *mm, uint64_t gfn)
{
	return host_word(mm, gfn) & PTE_SOFT_DIRTY;
}

/* clear_soft_dirty of fs/proc/task_mmu.c */
static void dat_clear_soft_dirty(struct mm *mm, uint64_t gfn)
{
	const uint64_t old = dat_prot_start(mm, gfn);

	if (old & PTE_PRESENT)
		dat_prot_commit(mm, gfn, (old & ~(PTE_WRITE | PTE_SOFT_DIRTY)) | PTE_PROTECT);
	else if (old != PTE_NONE)
		dat_set(mm, gfn, old & ~PTE_SOFT_DIRTY);
}

/* ---- the guest's table ---- */

/*
 * gmap_link of a fault: the word names the frame, and its WRITE, DIRTY and SPECIAL say whether
 * the frame may be written, the fault is a store, and the frame has no struct page.  A PTE that
 * names another frame is left alone, which the kernel answers by -EAGAIN.
 */
static void dat_map(struct mm *mm, uint64_t gfn, uint64_t word)
{
	const uint64_t old = guest_pte(mm, gfn);
	const bool empty = (old & ~PTE_SOFT_DIRTY) == PTE_NONE;
	const bool dirty = (word & PTE_DIRTY) || (!empty && (old & PTE_DIRTY));
	uint64_t new = (word & (PTE_PFRA | PTE_WRITE | PTE_SPECIAL)) | PTE_YOUNG | PTE_PRESENT;

	if (!empty && ((old ^ word) & PTE_PFRA))
		return;
	new |= (dirty ? PTE_DIRTY : PTE_PROTECT) | (old & PTE_SOFT_DIRTY);
	dat_exchange(mm, gfn, new);
}

/* _gmap_unmap_pte: the host's PTE after it. */
static uint64_t dat_unmap(struct mm *mm, uint64_t gfn)
{
	mmu_notify(mm, gfn);
	return host_word(mm, gfn);
}

/* gmap_clear_young_pte, and ptep_test_and_clear_young of the host's. */
static bool dat_age(struct mm *mm, uint64_t gfn, uint64_t *before)
{
	const uint64_t old = guest_pte(mm, gfn);
	const uint64_t new = (old & ~(PTE_YOUNG | PTE_DIRTY)) | PTE_INVALID | PTE_PROTECT;
	const uint16_t bits = mm->two.bits[gfn];

	*before = pte_word(mm, gfn);
	if (bits & PTE_PRESENT)
		mm->two.bits[gfn] = (bits & (uint16_t)~PTE_YOUNG) | PTE_INVALID;
	if (!(old & PTE_PRESENT) || (!(old & PTE_YOUNG) && (old & PTE_INVALID)))
		return (bits & PTE_PRESENT) && (bits & PTE_YOUNG);
	if (((old & PTE_DIRTY) || !(old & PTE_PROTECT)) && !(old & PTE_SPECIAL) &&
	    !(mm->pte[gfn] & COLD_FOREIGN))
		mm->host->frames[pte_index(old)].dirty = 1;
	notes_add(mm, gfn, mm->rest[gfn] & REST_DAT_PREFIX);
	dat_move_keys(mm, gfn, old, new);
	guest_load(mm, gfn, new);
	return true;
}

/* __pte_test_and_clear_softdirty; no vcpu runs with its prefix there. */
static bool dat_test_and_clear_dirty(struct mm *mm, uint64_t gfn)
{
	const uint64_t old = guest_pte(mm, gfn);

	if (!(old & PTE_PRESENT) || ((old & PTE_PROTECT) && !(old & PTE_SOFT_DIRTY)))
		return false;
	dat_exchange(mm, gfn, (old | PTE_PROTECT) & ~PTE_SOFT_DIRTY);
	return true;
}

static void add_bits(struct mm *mm, uint64_t gfn, uint64_t bits)
{
	unsigned rest = mm->rest[gfn];

	rest |= bits & PGSTE_DAT_PREFIX ? REST_DAT_PREFIX : 0u;
	rest |= bits & PGSTE_DAT_VSIE ? REST_DAT_VSIE : 0u;
	rest |= bits & PGSTE_DAT_VSIE_GMEM ? REST_DAT_GMEM : 0u;
	mm->extra |= MM_TOLD;
	rest_set(mm, gfn, (uint16_t)rest);
}

/* gmap_protect_rmap: a shadow table depends on the page, which becomes read only. */
static int dat_force_prot(struct mm *mm, uint64_t gfn, unsigned prot, uint64_t bit)
{
	const uint64_t old = guest_pte(mm, gfn);

	if (prot != PGSTE_PROT_READ || !(old & PTE_PRESENT))
		return PGSTE_PTE_AGAIN;
	dat_exchange(mm, gfn, old | PTE_PROTECT);
	add_bits(mm, gfn, bit);
	return 0;
}

/* dat_set_pn_pte: PREFIX of a page that the guest can store to; others by force_prot. */
static void dat_set_notify(struct mm *mm, uint64_t gfn, uint64_t bits)
{
	if (guest_pte(mm, gfn) & (PTE_INVALID | PTE_PROTECT))
		bits &= ~PGSTE_DAT_PREFIX;
	add_bits(mm, gfn, bits);
}

/*
 * _do_shadow_pte: table stands for the tables of a nested guest, whose page is the guest's gfn.
 * What the shadow may, the guest's PTE must allow.
 */
static int dat_shadow(struct mm *mm, uint64_t gfn, struct mm *table, uint64_t target,
		      uint64_t word)
{
	const uint64_t old = guest_pte(mm, gfn), protect = word & PTE_PROTECT;
	const uint64_t dirty = protect ? 0 : PTE_DIRTY | PTE_SOFT_DIRTY;
	const uint64_t bits = mm->two.revision == PGSTE_REVISION_7_0 ?
				      PGSTE_DAT_VSIE : PGSTE_DAT_VSIE | PGSTE_DAT_VSIE_GMEM;
	unsigned told;
	uint64_t new;

	if (!(old & PTE_PRESENT))
		return PGSTE_PTE_AGAIN;
	new = (old & (PTE_PFRA | PTE_WRITE | PTE_SPECIAL | PTE_DIRTY | PTE_SOFT_DIRTY)) | dirty |
	      (protect & old) | PTE_YOUNG | PTE_PRESENT;
	if (!(new & PTE_PROTECT) && !(new & PTE_WRITE))
		return PGSTE_PTE_UNSUPPORTED;
	told = dat_exchange(mm, gfn, new);
	add_bits(mm, gfn, bits);
	if (told & REST_DAT_VSIE) /* that took the shadow down under which the page was to be */
		return PGSTE_PTE_AGAIN;
	new = (old & PTE_PFRA) | protect | dirty | PTE_YOUNG | PTE_PRESENT;
	dat_move_keys(table, target, guest_pte(table, target), new);
	guest_load(table, target, new);
	return 1;
}

/* gmap_unshadow_level */
static void dat_unshadow(struct mm *mm, uint64_t gfn)
{
	if (guest_pte(mm, gfn) == PTE_NONE)
		return;
	dat_move_keys(mm, gfn, guest_pte(mm, gfn), PTE_NONE);
	pte_load(mm, gfn, PTE_NONE);
}

const struct pte_ops pte_ops_dat = {
	.notify_bits = PGSTE_DAT_PREFIX | PGSTE_DAT_VSIE | PGSTE_DAT_VSIE_GMEM,
	.set = dat_set,
	.xchg = dat_xchg,
	.age = dat_age,
	.map = dat_map,
	.unmap = dat_unmap,
	.prot_start = dat_prot_start,
	.prot_commit = dat_prot_commit,
	.test_and_clear_dirty = dat_test_and_clear_dirty,
	.soft_dirty = dat_soft_dirty,
	.clear_soft_dirty = dat_clear_soft_dirty,
	.force_prot = dat_force_prot,
	.set_notify = dat_set_notify,
	.shadow = dat_shadow,
	.unshadow = dat_unshadow,
};
