/* SPDX-License-Identifier: MIT */
/*
 * The state of the searched system as a few words, and back.  Left out is what decides nothing
 * here: counters; the numbers of frames and slots, as every frame and slot in use belongs to one
 * page, whose word describes it; and, unless the config says "plain", what only logs read
 * (attribute-dirty, user-dirty) and the free marks that no rule of the system asks for.
 *
 *   page word      bits        rest word      bits
 *   state byte     0-7         CBRL length    0-1
 *   PTE bits       8-19        its entries    2-7
 *   UC             20          migration      8
 *   frame: list    21-22       watched page   9-15
 *     position     23-24
 *     referenced, dirty, pinned, cached  25-28
 *     tag label    29-30
 *   slot tag label 31-32
 *   free           33          reporting     16-26
 *   reporting      34-40
 *   host's own PTE 41-43       of a dat guest      notifier's page  27-28
 *                                                  list of vcpu 1   29-34
 *   folio: locked, under writeback, shared  44-46
 *   file: has it, tag label  47-49                 device's frame apart    35-37
 */
#include <string.h>

#include "guest/paths.h"
#include "search/system.h"

#define PTE_LOW UINT64_C(0xfff)
/* What of the rest word names pages. */
#define REST_PAGES (UINT64_C(0xff) | UINT64_C(0xff) << 27)

/* VFIO_IOMMU_MAP_DMA: pin_user_pages faults the page in. */
static int pin_watched(struct search_system *s)
{
	const struct pgste_gfns one = { .first = WATCHED, .nr = 1 };
	uint32_t tag;
	int error = pgste_read(s->guest, &one, &tag);

	/* a file's page is unmapped all the same, and the next fault finds it again */
	if (error || s->config->memfd)
		return error;
	return pgste_set_folio(s->guest, &one, PGSTE_FOLIO_PINNED, true) == 1 ? PGSTE_OK :
									       PGSTE_E_STATE;
}

int system_new(struct search_system *s, const struct pgste_search_config *config)
{
	struct pgste_host_config host = {
		.nr_frames = config->nr_frames,
		.nr_swap_slots = config->nr_swap_slots,
	};
	const struct pgste_slot above = { .pages = config->nr_pages, .host = 1, .log_dirty = true };
	const struct pgste_guest_config guest = {
		.nr_pages = config->nr_pages,
		.generation = config->generation,
		.revision = config->revision,
		.mechanism = config->mechanism,
		.nr_vcpus = config->nr_vcpus ? config->nr_vcpus : 1,
		.cbrl_entries = config->cbrl_entries,
		.slots = config->shifted ? &above : NULL,
		.nr_slots = config->shifted,
		.memfd = config->memfd,
		.mlock = config->mlock,
	};
	int error;

	*s = (struct search_system){ .config = config };
	pgste_host_defaults(&host);
	error = pgste_host_new(&host, &s->host);
	if (!error)
		error = pgste_host_set_rearm(s->host, config->rearm);
	if (!error)
		error = pgste_guest_new(s->host, &guest, &s->guest);
	if (!error)
		error = search_reporting_configure(s);
	if (!error && config->pinned)
		error = pin_watched(s);
	if (error)
		system_free(s);
	else
		chunk_touch(&s->guest->mm, 0); /* restoring a state does not */
	return error;
}

void system_free(struct search_system *s)
{
	pgste_guest_free(s->guest);
	pgste_host_free(s->host);
	s->guest = NULL;
	s->host = NULL;
}

static struct frame *page_frame(const struct search_system *s, uint64_t gfn)
{
	const uint64_t cold = s->guest->mm.pte[gfn];

	if (!pte_is_present(cold, s->guest->mm.state[gfn]))
		return NULL;
	return &s->host->frames[cold >> PTE_PFRA_SHIFT];
}

static struct slot *page_slot(const struct search_system *s, uint64_t gfn)
{
	const struct frame *f = page_frame(s, gfn);

	if (f)
		return f->slot == NIL ? NULL : &s->host->slots[f->slot];
	if (s->guest->mm.state[gfn] & PGSTE_STATE_SWAP)
		return &s->host->slots[s->guest->mm.pte[gfn] >> PTE_PFRA_SHIFT];
	return NULL;
}

uint32_t *page_tag(struct search_system *s, uint64_t gfn)
{
	struct frame *f = page_frame(s, gfn);

	return f ? &f->tag : NULL;
}

uint32_t *page_slot_tag(struct search_system *s, uint64_t gfn)
{
	struct slot *slot = page_slot(s, gfn);

	return slot ? &slot->tag : NULL;
}

static ALWAYS_INLINE uint64_t position(const struct pgste_host *host, uint32_t frame)
{
	const struct frame *frames = host->frames;
	uint64_t at = 0;

	for (uint32_t f = host->lists[frames[frame].list].head; f != frame; f = frames[f].next)
		at++;
	return at;
}

/*
 * The host's own PTE: that the guest's is apart from it; that it is old, which matters once it is
 * apart; UNUSED.  Nothing else of it decides anything.
 */
static uint64_t save_host_pte(const struct mm *mm, uint64_t gfn)
{
	const uint16_t bits = mm->two.bits ? mm->two.bits[gfn] : 0;

	return (uint64_t)!!(bits & HOST_APART) |
	       (uint64_t)((bits & PTE_PRESENT) && !(bits & PTE_YOUNG)) << 1 |
	       (uint64_t)!!(bits & PTE_UNUSED) << 2;
}

static void restore_host_pte(struct mm *mm, uint64_t gfn, uint64_t saved)
{
	uint16_t bits = 0;

	if (!mm->two.bits)
		return;
	if (pte_is_present(mm->pte[gfn], mm->state[gfn]))
		bits = HOST_FILLED;
	if (saved & 1)
		bits |= HOST_APART;
	if (saved & 2)
		bits = (bits & (uint16_t)~PTE_YOUNG) | PTE_INVALID;
	if (saved & 4)
		bits |= PTE_UNUSED;
	mm->two.bits[gfn] = bits;
}

/* Who asks whether a page is marked free: pages that keep to the protocol, and the buddy. */
static bool asks_for_free(const struct search_system *s, uint64_t gfn)
{
	return (s->config->obedient && gfn != WATCHED) || s->guest->mech == &mech_reporting;
}

/* Whether it makes a difference: a frame that gets its slot only now is written anyway. */
static bool dirty_matters(const struct search_system *s, const struct frame *f)
{
	return f->slot != NIL || f->list == PGSTE_LIST_LAZYFREE || s->config->busy;
}

static uint64_t page_key(const struct search_system *s, uint64_t gfn)
{
	const struct pgste_guest *guest = s->guest;
	const struct frame *f = page_frame(s, gfn);
	const struct slot *slot = page_slot(s, gfn);
	const bool plain = s->config->plain;
	uint64_t word = guest->mm.state[gfn] | (guest->mm.pte[gfn] & PTE_LOW) << 8;

	if (plain)
		word |= (uint64_t)!!(guest->mm.rest[gfn] & REST_UC) << 20;
	else
		word &= ~(uint64_t)PGSTE_STATE_DIRTY;
	if (f) {
		word |= (uint64_t)f->list << 21;
		word |= position(s->host, pte_index(guest->mm.pte[gfn])) << 23;
		word |= (uint64_t)f->referenced << 25;
		word |= (uint64_t)(f->dirty && dirty_matters(s, f)) << 26;
		word |= (uint64_t)f->pinned << 27 | (uint64_t)(f->slot != NIL) << 28;
		word |= (uint64_t)tag_label(f->tag) << 29;
		word |= (uint64_t)f->locked << 44 | (uint64_t)f->writeback << 45;
		word |= (uint64_t)f->shared << 46;
	}
	if (slot)
		word |= (uint64_t)tag_label(slot->tag) << 31;
	word |= save_host_pte(&guest->mm, gfn) << 41;
	if (!f && guest->mm.file && guest->mm.file[gfn])
		word |= UINT64_C(1) << 47 |
			(uint64_t)tag_label((uint32_t)guest->mm.file[gfn]) << 48;
	if (plain || asks_for_free(s, gfn))
		word |= (uint64_t)page_is_free(guest, gfn) << 33;
	return word;
}

static uint64_t save_list(const struct vcpu *vcpu)
{
	uint64_t saved = vcpu->nr;

	for (uint32_t i = 0; i < vcpu->nr; i++)
		saved |= vcpu->cbrl[i] << (2 + 2 * i);
	return saved;
}

static void restore_list(struct vcpu *vcpu, uint64_t saved)
{
	vcpu->nr = saved & 3;
	for (uint32_t i = 0; i < vcpu->nr; i++)
		vcpu->cbrl[i] = saved >> (2 + 2 * i) & 3;
}

void system_save(const struct search_system *s, uint64_t *key)
{
	const struct observed *w = &s->watched;
	uint64_t rest = save_list(&s->guest->vcpus[0]);

	if (s->guest->nr_vcpus > 1)
		rest |= save_list(&s->guest->vcpus[1]) << 29;
	rest |= (uint64_t)s->notified << 27 | (uint64_t)s->apart << 35;
	rest |= (uint64_t)s->guest->migration << 8;
	rest |= (uint64_t)w->phase << 9 | (uint64_t)w->store << 11;
	rest |= (uint64_t)w->read_zero << 14 | (uint64_t)w->dropped << 15;
	memset(key, 0, SEARCH_WORDS * sizeof(*key));
	for (uint64_t gfn = 0; gfn < s->guest->mm.nr_pages; gfn++)
		key[gfn] = page_key(s, gfn);
	key[SEARCH_MAX_PAGES] = rest;
	search_reporting_save(s, key);
}

/* Entries of a list of up to two, with pages 1 and 2 exchanged: 1 <-> 2 is 01 <-> 10. */
static uint64_t reorder_list(uint64_t list)
{
	const uint64_t entries = list >> 2;
	const uint64_t low = entries & 5, high = entries >> 1 & 5;

	return (list & 3) | (low << 1 | high) << 2;
}

/* Buddies are not alike, nor are pages where slots are shifted. */
bool system_reorder(const struct search_system *s, uint64_t *key)
{
	const uint64_t page = key[1], rest = key[SEARCH_MAX_PAGES];
	const uint64_t notified = rest >> 27 & 3;
	const uint64_t other = (rest & ~REST_PAGES) | reorder_list(rest & 0xff) |
			       reorder_list(rest >> 29 & 0x3f) << 29 |
			       (notified > 1 ? 5 - notified : notified) << 27;

	if (s->config->plain || s->config->nr_pages < 3 || s->config->shifted ||
	    s->guest->mech == &mech_reporting || key[1] < key[2])
		return false;
	if (key[1] == key[2] && rest <= other)
		return false;
	key[1] = key[2];
	key[2] = page;
	key[SEARCH_MAX_PAGES] = other;
	return true;
}

/* An empty host, to which the pages' frames and slots are then added in order. */
static void empty_host(struct pgste_host *host)
{
	host->free_frame = host->free_slot = NIL;
	host->fresh_frame = host->fresh_slot = 0;
	host->nr_free = host->config.nr_frames;
	host->nr_slots_free = host->config.nr_swap_slots;
	host->nr_cached = host->nr_held = 0;
	for (unsigned i = 0; i < 4; i++)
		host->lists[i] = (struct list){ .head = NIL, .tail = NIL };
}

static void restore_frame(struct search_system *s, uint64_t gfn, uint64_t word)
{
	const uint32_t number = frame_take(s->host, gfn, s->guest->mm.number);
	struct frame *f = &s->host->frames[number];

	f->tag = tag_of(gfn, (enum label)(word >> 29 & 3));
	f->list = word >> 21 & 3;
	f->referenced = word >> 25 & 1;
	f->dirty = word >> 26 & 1;
	f->pinned = word >> 27 & 1;
	f->locked = word >> 44 & 1;
	f->writeback = word >> 45 & 1;
	f->shared = word >> 46 & 1;
	s->host->nr_held += frame_holds(f);
	if (word >> 28 & 1)
		slot_cache(s->host, slot_get(s->host), number);
	s->guest->mm.pte[gfn] |= (uint64_t)number << PTE_PFRA_SHIFT;
}

static void restore_page(struct search_system *s, uint64_t gfn, uint64_t word)
{
	struct pgste_guest *guest = s->guest;
	struct slot *slot;

	guest->mm.state[gfn] = (uint8_t)word;
	guest->mm.pte[gfn] = word >> 8 & PTE_LOW;
	guest->mm.rest[gfn] = word >> 20 & 1 ? REST_UC : 0;
	mark_pages(guest, gfn, 1, word >> 33 & 1);
	restore_host_pte(&guest->mm, gfn, word >> 41 & 7);
	if (guest->mm.file)
		guest->mm.file[gfn] = word >> 47 & 1 ?
			FILE_HAS | tag_of(gfn, (enum label)(word >> 48 & 3)) : 0;
	if (pte_is_present(guest->mm.pte[gfn], guest->mm.state[gfn])) {
		restore_frame(s, gfn, word);
	} else if (guest->mm.state[gfn] & PGSTE_STATE_SWAP) {
		const uint32_t number = slot_get(s->host);

		s->host->slots[number].count = 1;
		guest->mm.pte[gfn] |= (uint64_t)number << PTE_PFRA_SHIFT;
	}
	slot = page_slot(s, gfn);
	if (slot)
		slot->tag = tag_of(gfn, (enum label)(word >> 31 & 3));
}

/* The lists, each from its tail up: positions say where a page's frame was. */
static void restore_lists(struct search_system *s, const uint64_t *key)
{
	for (uint64_t at = SEARCH_MAX_PAGES; at--;)
		for (uint64_t gfn = 0; gfn < s->guest->mm.nr_pages; gfn++) {
			struct frame *f = page_frame(s, gfn);

			if (f && (key[gfn] >> 23 & 3) == at)
				list_add(s->host, (enum pgste_frame_list)f->list,
					 (uint32_t)(f - s->host->frames));
		}
}

void system_set_migration(struct pgste_guest *guest, bool on)
{
	if (guest->migration == on)
		return;
	/* the mode alone: attribute-dirty bits are in the state bytes */
	guest->migration = on;
	guest_set_paths(guest);
}

void system_restore(struct search_system *s, const uint64_t *key)
{
	const uint64_t rest = key[SEARCH_MAX_PAGES];

	empty_host(s->host);
	for (uint64_t gfn = 0; gfn < s->guest->mm.nr_pages; gfn++)
		restore_page(s, gfn, key[gfn]);
	restore_lists(s, key);
	restore_list(&s->guest->vcpus[0], rest & 0xff);
	if (s->guest->nr_vcpus > 1)
		restore_list(&s->guest->vcpus[1], rest >> 29 & 0x3f);
	s->notified = rest >> 27 & 3;
	s->apart = rest >> 35 & 7;
	system_set_migration(s->guest, rest >> 8 & 1);
	s->watched = (struct observed){
		.phase = rest >> 9 & 3,
		.store = rest >> 11 & 7,
		.read_zero = rest >> 14 & 1,
		.dropped = rest >> 15 & 1,
	};
	search_reporting_restore(s, key);
}
