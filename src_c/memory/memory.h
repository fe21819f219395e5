/* SPDX-License-Identifier: MIT */
/*
 * An address space of the host: what it has of each page of one guest.  This room is the only
 * writer of PTEs: faults, reclaim, madvise and zap change them through pte.c.
 *
 * A page costs 11 bytes here:
 *
 *   state   1 byte   the eight bits that ESSA needs, see pgste/word.h
 *   pte     8 bytes  the PTE less what the state byte says (INVALID; that it is a swap entry)
 *   rest    2 bytes  the PGSTE's other defined bits, see guest/word.c
 *
 * and 2 more in the dat generation, whose guests have a table of their own:
 *
 *   bits    2 bytes  the host's own PTE, see below
 *
 * and 8 more if the memory is that of a file (memfd).
 *
 * All of it comes zeroed from mmap, and zero is "in use, stable, nothing mapped".
 */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H

#include "host/lru.h"
#include "pgste/generation.h"
#include "pgste/guest.h"
#include "pgste/host_pte.h"
#include "pgste/word.h"

struct mm;

/* What a hypervisor decides by the usage of a page; KVM decides nothing here and has none. */
struct usage_rules {
	/* May the guest touch the page?  PGSTE_OK, or the program interruption. */
	int (*access)(struct mm *mm, uint64_t gfn);
	/* A store is made. */
	void (*stored)(struct mm *mm, uint64_t gfn);
	/* Is this resident page dropped instead of being written to swap? */
	bool (*drops)(const struct mm *mm, uint64_t gfn);
	/* The page leaves memory, dropped or written. */
	void (*evicted)(struct mm *mm, uint64_t gfn, bool dropped);
};

/*
 * Bytes behind the states: scans may load whole vectors, and the first one stands for a gfn
 * that is outside (essa.c).
 */
#define STATE_PADDING UINT64_C(64)

/* What a dat guest has beside: the host's own PTEs.  bits is NULL for guests with one table. */
struct two_tables {
	uint16_t *bits;
	uint64_t *held; /* a bit for each page table of the host: its lock is held; or NULL */
	uint64_t rate;	/* of tries of a lock that nobody holds, in 2^32, this many fail */
	enum pgste_revision revision;
	struct two_counts {
		uint64_t tried; /* sum of rate over all tries */
		struct pgste_host_pte_stats stats;
	} counts;
};

/* Notifications that fired and were not taken yet, and room for those that may still fire. */
struct note {
	uint64_t gfn, bits;
};
struct notes {
	struct note *at;
	uint64_t nr, room;
	uint64_t armed; /* pages with a notification bit */
};

struct mm {
	uint8_t *state;
	uint64_t *pte;
	uint16_t *rest;
	uint64_t *touched; /* a bit for each CHUNK pages: one of them may have a PTE */
	uint64_t nr_pages;
	struct pgste_host *host;
	const struct usage_rules *rules; /* NULL on KVM */
	uint64_t nr_foreign;		 /* PTEs that name nothing of the host, or the zero page */
	uint32_t number;		 /* host->mms[number] */
	enum pgste_generation generation;
	unsigned extra; /* MM_*, see key.h: 0 for guests that need none of it */
	bool own_memory; /* the caller's frames and slots: every PTE is foreign */
	bool allow_cow_sharing; /* the zero page may be mapped: !mm_forbids_zeropage */
	bool mlocked; /* VM_LOCKED: see mlock.c */
	bool strangers; /* some foreign PTE may not be the zero page's, see has_strangers */
	struct notes notes;
	uint64_t *open; /* a bit a page: between modify_prot_start and _commit; or NULL */
	uint64_t *file; /* memfd: FILE_HAS | tag of pages that have no frame, 0: a hole; or NULL */
	uint64_t nr_open;
	struct pgste_guest_stats stats; /* what is not counted in the vcpus */
	struct two_tables two;
	struct window window; /* of swap readahead, where the device does not rotate */
	uint32_t *filter; /* MGLRU: by page table, in which walk's filter it is; or NULL */
	bool walked;	  /* MGLRU: a walk has been here */
};

/* ---- life (mm.c) ---- */

/* Tables for mm->nr_pages, and a number on mm->host; false: no memory, and nothing is kept. */
bool mm_init(struct mm *mm, bool memfd);
/* Gives frames and slots back, leaves the host, frees the tables. */
void mm_exit(struct mm *mm);

/* So that a large guest of which little was used can be walked in little time. */
#define CHUNK_SHIFT 12
#define CHUNK (UINT64_C(1) << CHUNK_SHIFT)

static inline void chunk_touch(struct mm *mm, uint64_t gfn)
{
	mm->touched[gfn >> CHUNK_SHIFT >> 6] |= UINT64_C(1) << (gfn >> CHUNK_SHIFT & 63);
}

#define HOST_TABLE 256u /* pages of a page table of the host */
static inline void mm_was_walked(struct mm *mm)
{
	mm->walked = true;
}

/* The first page >= gfn that may have a PTE, nr_pages if there is none. */
uint64_t chunk_next(const struct mm *mm, uint64_t gfn);

/* ---- PTEs ---- */

/*
 * In rest.  Those of the PGSTE's first 16 bits lie where they lie there, so that guest/word.c
 * moves them all at once.
 */
#define REST_SHIFT 48
#define REST_KEY UINT16_C(0xf800)    /* ACC and F */
#define REST_KEY_SHIFT 8	     /* of a key */
#define REST_HR UINT16_C(0x0040)
#define REST_HC UINT16_C(0x0020)
#define REST_GR UINT16_C(0x0004)
#define REST_HIGH (REST_KEY | REST_HR | REST_HC | REST_GR)
#define REST_THREE UINT16_C(0x0700)  /* of another part of the PGSTE in each generation: */
#define REST_VSIE UINT16_C(0x0100)   /* pgtable */
#define REST_IN UINT16_C(0x0200)     /* pgtable */
#define REST_UC UINT16_C(0x0400)     /* pgtable: a store was possible */
#define REST_DAT_GMEM UINT16_C(0x0100)
#define REST_DAT_VSIE UINT16_C(0x0200)
#define REST_DAT_PREFIX UINT16_C(0x0400)
#define REST_ELSE UINT16_C(0x009b)   /* what is no bit of the PGSTE */
#define REST_DAT_SD UINT16_C(0x0008) /* dat: soft dirty of a guest PTE that is empty else */
#define REST_PCL UINT16_C(0x0080)    /* while vcpus share the guest: see pgste_lock in key.h */

/* In the cold pte the INVALID bit is free, as the state byte has it: */
#define COLD_FOREIGN PTE_INVALID

static inline bool pte_is_present(uint64_t cold, uint8_t state)
{
	return (cold & PTE_PRESENT) != 0 && !(state & PGSTE_STATE_SWAP);
}

/*
 * The host's own PTE of a page of a dat guest.  What the guest's PTE names, the host's names as
 * well: a notifier takes the guest's away before the host's becomes another.  So the frame is
 * kept once, in the cold pte, and two.bits has the host's low 12 bits:
 *
 *   0                     the host's PTE is none, or the swap entry in the cold pte
 *   HOST_APART set        the guest's PTE is empty, and the host's is neither
 *   else PRESENT set      both map the frame
 */
#define HOST_APART UINT16_C(0x8000)
#define HOST_LOW UINT16_C(0x0fff)
/* do_anonymous_page, or a store that swaps in; a load that swaps in. */
#define HOST_FILLED (uint16_t)(PTE_NOEXEC | PTE_WRITE | PTE_READ | PTE_DIRTY | PTE_YOUNG |    \
			       PTE_SOFT_DIRTY | PTE_PRESENT)
#define HOST_SWAPPED_IN (uint16_t)(PTE_PROTECT | PTE_NOEXEC | PTE_WRITE | PTE_READ | PTE_YOUNG | \
				   PTE_PRESENT)
/* pte_mkspecial(pfn_pte(my_zero_pfn())) */
#define HOST_ZERO_PAGE (uint16_t)(PTE_PROTECT | PTE_NOEXEC | PTE_SPECIAL | PTE_READ |        \
				  PTE_YOUNG | PTE_PRESENT)

static inline bool pte_is_apart(const struct mm *mm, uint64_t gfn)
{
	/*
	 * A valid PTE of the guest is none that is empty: its bits need not be fetched.  Other
	 * vcpus may change the state's other bits meanwhile.
	 */
	return mm->two.bits &&
	       !(__atomic_load_n(&mm->state[gfn], __ATOMIC_RELAXED) & PGSTE_STATE_VALID) &&
	       (mm->two.bits[gfn] & HOST_APART);
}

/* The frame of a present page, the slot of a swapped one. */
static inline uint32_t pte_index(uint64_t cold)
{
	return (uint32_t)(cold >> PTE_PFRA_SHIFT);
}

/* The PTE in the kernel's format. */
static inline uint64_t pte_compose(uint64_t cold, uint8_t state)
{
	return (cold & ~COLD_FOREIGN) | (state & PGSTE_STATE_VALID ? 0 : PTE_INVALID) |
	       (state & PGSTE_STATE_SWAP ? PTE_PROTECT : 0);
}

/* The guest's PTE, or the host's swap entry where there is none. */
static inline uint64_t pte_word(const struct mm *mm, uint64_t gfn)
{
	const uint64_t word = pte_is_apart(mm, gfn) ? PTE_NONE :
						      pte_compose(mm->pte[gfn], mm->state[gfn]);

	/* a key that changed makes even an empty PTE soft dirty */
	return word == PTE_NONE && mm->two.bits && (mm->rest[gfn] & REST_DAT_SD) ?
		       PTE_NONE | PTE_SOFT_DIRTY : word;
}

/*
 * The shared zero page is no frame of the host's: its number is the one behind theirs, and PTEs of
 * it are foreign.  Words by which the guest reads it and cannot store to it, where it is allowed:
 */
static inline bool is_zero_page_word(const struct mm *mm, uint64_t word)
{
	const uint64_t mask = PTE_PRESENT | PTE_PROTECT | PTE_WRITE;

	return mm->allow_cow_sharing && (word & mask) == (PTE_PRESENT | PTE_PROTECT) &&
	       word >> PTE_PFRA_SHIFT == mm->host->config.nr_frames;
}
/* The PTE of the host, in dat guests of its own table (host_pte.c). */
uint64_t host_word(const struct mm *mm, uint64_t gfn);
/* May there be PTEs that no access can be made by? */
static inline bool has_strangers(const struct mm *mm)
{
	return mm->nr_foreign && mm->strangers;
}

static inline bool page_is_unused(const struct mm *mm, uint64_t gfn)
{
	return (mm->state[gfn] & PGSTE_STATE_USAGE) == PGSTE_USAGE_UNUSED;
}

/* Touched since it was aged?  KVM ages by INVALID; z/VM has the key's reference bit. */
static inline bool pte_is_young(const struct mm *mm, uint64_t gfn)
{
	return mm->generation == PGSTE_GEN_ZVM ? mm->pte[gfn] & PTE_YOUNG :
						 mm->state[gfn] & PGSTE_STATE_VALID;
}

/* The same for reclaim: where the guest has no PTE any more the host's own tells. */
static inline bool page_is_young(const struct mm *mm, uint64_t gfn)
{
	return pte_is_young(mm, gfn) ||
	       (pte_is_apart(mm, gfn) && (mm->two.bits[gfn] & PTE_YOUNG));
}

/* A valid PTE that lets the guest write: pgste_set_pte then sets the user-dirty bit. */
static inline bool pte_allows_store(uint64_t pte)
{
	return (pte & (PTE_PRESENT | PTE_WRITE | PTE_INVALID | PTE_PROTECT)) ==
	       (PTE_PRESENT | PTE_WRITE);
}

/* How a PTE changes, docs/model.md section 3 (pte.c). */
enum pte_access { PTE_LOAD, PTE_STORE };
void pte_map_zero(struct mm *mm, uint64_t gfn, uint32_t frame, enum pte_access access);
void pte_map_swapped(struct mm *mm, uint64_t gfn, uint32_t frame, enum pte_access access);
void pte_map_zero_page(struct mm *mm, uint64_t gfn);
void pte_map_unshared(struct mm *mm, uint64_t gfn, uint32_t frame, bool soft_dirty);
void pte_touch(struct mm *mm, uint64_t gfn, enum pte_access access);
void pte_age(struct mm *mm, uint64_t gfn);
void pte_unmap(struct mm *mm, uint64_t gfn);
void pte_swap_out(struct mm *mm, uint64_t gfn, uint32_t slot);
void pte_lazyfree(struct mm *mm, uint64_t gfn);
void pte_restore(struct mm *mm, uint64_t gfn);
/* pte_clear: a plain store, the PGSTE does not change. */
void pte_clear(struct mm *mm, uint64_t gfn);
/* Give up the swap entry of a page: is its slot free now? */
bool pte_zap(struct mm *mm, uint64_t gfn);
/*
 * The same while vcpus on other threads may try it too: whoever clears SWAP in the state byte
 * has the page.  pte_claim does so if the byte is still *old; if not, *old is what it is.
 */
static inline bool pte_claim(struct mm *mm, uint64_t gfn, uint8_t *old)
{
	const uint8_t new = *old & (uint8_t)~(PGSTE_STATE_SWAP | PGSTE_STATE_VALID);

	return __atomic_compare_exchange_n(&mm->state[gfn], old, new, true, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}
bool pte_zap_claimed(struct mm *mm, uint64_t gfn);
/* pte_load.c: */
/* A word from outside: what the old one held is given back, docs/model.md section 1. */
void pte_load(struct mm *mm, uint64_t gfn, uint64_t pte);
/* Make the PTE none, whatever it is, giving back what it holds; counts nothing. */
void pte_drop(struct mm *mm, uint64_t gfn);

/* ---- the host's own PTEs (host_pte.c; dat only) ---- */

/* The guest's PTE becomes empty, and stays so if it is: gmap_ptep_xchg (pte.c). */
void pte_detach(struct mm *mm, uint64_t gfn);
/* The same without a word to anybody: the guest's table goes, or its page's slot. */
void pte_forget(struct mm *mm, uint64_t gfn);
/* dat: the page is in memory, and the guest's PTE is empty; nobody hears of it. */
void pte_set_apart(struct mm *mm, uint64_t gfn);
static inline uint64_t held_bytes(const struct mm *mm)
{
	return bitmap_bytes((mm->nr_pages + PGSTE_LOCK_PAGES - 1) / PGSTE_LOCK_PAGES);
}
/* A foreign word of the host's alone, neither none nor swap; the page has nothing (pte_load.c). */
void pte_load_apart(struct mm *mm, uint64_t gfn, uint64_t word);
/*
 * dat_update_ptep_sd: the guest's PTE gets SOFT_DIRTY; if it is empty, the caller has to set in
 * rest what is returned, else 0 (pte.c).  Others may share the guest: the caller has the lock.
 */
uint16_t pte_make_soft_dirty(struct mm *mm, uint64_t gfn);
/* Try the lock of the host's page table that has the page; counts. */
bool host_trylock(struct mm *mm, uint64_t gfn);
/* Before 7.1.5 only set_ptes took UNUSED off a present host PTE. */
static inline bool unused_lingers(enum pgste_revision revision)
{
	return revision == PGSTE_REVISION_7_0 || revision == PGSTE_REVISION_7_1;
}
/* What is left of a present host PTE that is written anew. */
static inline uint16_t host_rewritten(const struct mm *mm, uint16_t bits)
{
	if (unused_lingers(mm->two.revision) || !(bits & PTE_PRESENT))
		return bits;
	return bits & (uint16_t)~PTE_UNUSED;
}
/* Whether reclaim may drop the page: after its notifier the host's PTE has UNUSED. */
bool host_drops(struct mm *mm, uint64_t gfn);
/* Reclaim wrote the page to swap. */
void host_wrote(struct mm *mm, uint64_t gfn);
void host_load(struct mm *mm, uint64_t gfn, uint64_t word);
/* One page of a notifier, and what its cause does to the host's PTE: was the guest's present? */
bool host_notified(struct mm *mm, uint64_t gfn, enum pgste_rewrite rewrite);
/*
 * nr pages go from one place to another, which holds nothing.  In pgtable that is all that mm has
 * of them; in dat it is the host's part, and the guest's PTEs are empty at both places.
 */
void mm_move(struct mm *mm, uint64_t from, uint64_t to, uint64_t nr);

/* ---- faults (fault.c) ---- */

/*
 * One load or store; PGSTE_OK or PGSTE_E_NO_FRAME, PGSTE_E_FOREIGN (no change).  *frame is NIL
 * after a load of the shared zero page.
 */
int fault_in(struct mm *mm, uint64_t gfn, enum pte_access access, uint32_t *frame);
/*
 * The frame of a page whose slot it alone uses, read from swap or found in the swap cache, on a
 * host of PGSTE_RECLAIM_LRU (readahead.c); the page is not mapped yet.  NIL: none to be had.
 */
uint32_t swap_cache_frame(struct mm *mm, uint64_t gfn, uint32_t slot, enum pte_access access);
/* What a load would give. */
uint32_t content_of(const struct mm *mm, uint64_t gfn);
/*
 * The next pages of a walk over gfns, copied to batch; what the walk says it needs of them is on
 * its way to the caches then.  How many, or PGSTE_E_CANCELLED, PGSTE_E_CHANGED.
 */
enum need {
	NEED_STATE = 1,
	NEED_PTE = 2,
	NEED_REST = 4,
	NEED_BITS = 8, /* of dat guests */
	NEED_FRAME = 16 | NEED_BITS | NEED_PTE | NEED_STATE, /* or its slot */
	NEED_LIST = 32 | NEED_FRAME, /* and the neighbours of the frame */
};
int mm_take(const struct mm *mm, const struct pgste_gfns *gfns, uint64_t i, unsigned need,
	    uint64_t batch[GFN_BATCH]);
/* Loads or stores of all gfns, which are inside; as pgste_read and pgste_write. */
int mm_write(struct mm *mm, const struct pgste_gfns *gfns, const uint32_t *tags,
	     unsigned tag_step);
int mm_read(struct mm *mm, const struct pgste_gfns *gfns, uint32_t *tags);

/* ---- the shared zero page (zero_page.c) ---- */

/* A load of a page that has nothing: no frame is needed.  The page allows it. */
void zero_page_fault(struct mm *mm, uint64_t gfn);
/* A load or store of a page that maps it; as fault_in. */
int zero_page_access(struct mm *mm, uint64_t gfn, enum pte_access access, uint32_t *frame);
/* MADV_FREE comes by. */
void zero_page_passed(struct mm *mm, uint64_t gfn);
/*
 * s390_disable_cow_sharing: frames for all pages that map it, and it is forbidden from now on.
 * PGSTE_E_NO_FRAME, PGSTE_E_NOMEM: nothing has changed.  Not to be ended early.
 */
int mm_disable_cow_sharing(struct mm *mm);

/* ---- reclaim (reclaim.c) ---- */

/* A frame for the page, which has none, on no list yet, reclaiming as needed; NIL: none. */
uint32_t frame_for(struct mm *mm, uint64_t gfn);
/* The same for a page of any address space; NOBODY: of none yet. */
uint32_t frame_get(struct pgste_host *host, uint64_t gfn, uint32_t owner);
/* Free frames until n more are free, or nothing can be taken. */
void reclaim(struct pgste_host *host, uint64_t n);
/* The same as a call of its own that rests: frames freed; PGSTE_E_CANCELLED: ended early. */
int64_t reclaim_resting(struct pgste_host *host, uint64_t n);
/* Pages that left memory, or an error with nothing changed: pgste_swap_out, gfns inside. */
int64_t mm_pageout(struct mm *mm, const struct pgste_gfns *gfns);

/* ---- what a folio is in beside its mapping (folio.c) ---- */

/* Pages that changed: pgste_set_folio, gfns inside. */
int64_t mm_set_folio(struct mm *mm, const struct pgste_gfns *gfns, enum pgste_folio what, bool on);
/* A store to a page that a forked child maps, too: a copy of its own. */
void folio_copy(struct mm *mm, uint64_t gfn);

/* ---- a file behind the pages: of guests with memfd ---- */

#define FILE_HAS (UINT64_C(1) << 32)

/*
 * A page that is mapped is about to lose its frame.  It stays with the file, in the page cache or
 * on swap: which of the two, and the memory that it takes there, is not modelled.
 */
static inline void file_keep(struct mm *mm, uint64_t gfn)
{
	mm->file[gfn] = FILE_HAS | mm->host->frames[pte_index(mm->pte[gfn])].tag;
}

/* ---- memory that is locked (mlock.c) ---- */

/*
 * mlockall of an address space that is new: a frame of zeros for every page, and none of them
 * leaves memory from now on.  PGSTE_E_NO_FRAME, PGSTE_E_NOMEM: there is nothing but mm_exit.
 */
int mm_lock(struct mm *mm);

/* ---- madvise (madvise.c): what the host does for one page ---- */

void madvise_dontneed(struct mm *mm, uint64_t gfn);
/* What a hypervisor does that is told that a page is free: the hole in a file goes with it. */
void madvise_discard(struct mm *mm, uint64_t gfn);
void madvise_free(struct mm *mm, uint64_t gfn);

#endif
