/* SPDX-License-Identifier: MIT */
/*
 * ESSA on a range of a guest whose vcpus share it.  The scan kernel works on a copy of some states;
 * then eight pages at a time get what it made of them, unless one of them has changed meanwhile.
 * So eight pages change in one step, and an operation costs an eighth of an atomic instruction.
 */
#include "guest/essa_list.h"

#define WORD 8u	    /* pages */
#define COPIED 256u /* pages, a multiple of it */

typedef uint64_t __attribute__((may_alias)) state_word;

/* The list as it was before entries for pages from gfn on, which are the last ones. */
static void list_forget(struct essa_list *list, uint32_t before, uint64_t gfn)
{
	while (list->nr > before && list->entries[list->nr - 1] >= gfn)
		list->nr--;
}

/*
 * nr pages, a multiple of WORD, whose states are aligned to it: how many were done, less than all
 * if a page filled the list or has changed.
 */
static uint64_t words_done(uint8_t *state, uint64_t nr, const struct essa_row *row,
			   uint8_t *results, uint64_t gfn, struct essa_list *list)
{
	state_word *words = (state_word *)(void *)state;
	/* scans may load what is behind */
	uint64_t old[COPIED / WORD], new[(COPIED + STATE_PADDING) / WORD], done;
	const uint32_t before = list->nr;

	for (uint64_t i = 0; i < nr / WORD; i++)
		new[i] = old[i] = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
	done = scan_ops()->essa((uint8_t *)new, nr, row, results, gfn, list);
	for (uint64_t i = 0; i * WORD < done; i++) {
		if (new[i] == old[i] ||
		    __atomic_compare_exchange_n(&words[i], &old[i], new[i], false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			continue;
		list_forget(list, before, gfn + i * WORD);
		return i * WORD;
	}
	return done;
}

/* Up to n pages one by one, until the list is full. */
static uint64_t pages_done(uint8_t *state, uint64_t n, const struct essa_row *row,
			   uint8_t *results, uint64_t gfn, struct essa_list *list)
{
	uint64_t i;
	uint8_t was;

	for (i = 0; i < n && list->nr < list->limit; i++) {
		const unsigned entry = essa_one_shared(&state[i], row->entry, &was);

		list->entries[list->nr] = gfn + i;
		list->nr += ESSA_APPEND(entry);
		list->seen |= (uint8_t)entry;
		if (results)
			results[i] = ESSA_RESULT(entry);
	}
	return i;
}

void essa_range_shared(struct pgste_guest *guest, struct vcpu *vcpu, unsigned orc, uint64_t gfn,
		       uint64_t nr, uint8_t *results)
{
	const struct essa_row *row = &guest->rows[orc];
	struct essa_list list = list_open(guest, vcpu);
	uint64_t done;

	for (uint64_t at = 0; at < nr; at += done) {
		uint8_t *state = guest->mm.state + gfn + at, *out = results ? results + at : NULL;
		const uint64_t left = nr - at, odd = (gfn + at) % WORD;
		uint32_t before;

		list_make_room(guest, vcpu, &list);
		before = list.nr;
		done = odd || left < WORD ? 0 :
		       words_done(state, min_u64(left / WORD * WORD, COPIED), row, out, gfn + at,
				  &list);
		/* at the ends, and where others are at the same pages */
		if (!done)
			done = pages_done(state, min_u64(left, WORD - odd), row, out, gfn + at,
					  &list);
		vcpu->appended += list.nr - before;
	}
	vcpu->nr = list.nr;
	vcpu->essa += nr;
}
