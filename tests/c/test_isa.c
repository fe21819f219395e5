/* SPDX-License-Identifier: MIT */
/*
 * Every variant of the scan kernels that this CPU can run, portable included, against loops over
 * single bytes that are written here.  Tables, results and lists lie against a page without
 * access, so that a byte too many is a fault even where no sanitizer runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/guest.h"

#define CHECK(x) do {                                                                        \
		if (!(x)) {                                                                  \
			fprintf(stderr, "%s:%d: %s: %s; size %llu, fill %u, seed %llu\n",     \
				__FILE__, __LINE__, pgste_isa_name(), #x,                    \
				(unsigned long long)now.nr, now.fill,                        \
				(unsigned long long)seed);                                   \
			exit(1);                                                             \
		}                                                                            \
	} while (0)

/* What is looked at, for the message. */
static struct {
	uint64_t nr;
	unsigned fill;
} now;

static uint64_t seed = 88172645463325252u;

static uint64_t draw(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

/* ---- memory with no access before and behind ---- */

struct arena {
	uint8_t *first;
	size_t bytes;
};

static struct arena arena_new(size_t bytes)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t whole = (bytes + page - 1) / page * page;
	uint8_t *base = mmap(NULL, whole + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(base != MAP_FAILED);
	CHECK(mprotect(base + page, whole, PROT_READ | PROT_WRITE) == 0);
	return (struct arena){ base + page, whole };
}

/* So many bytes that end, or start, where access does. */
static void *place(const struct arena *arena, size_t bytes, bool at_end)
{
	CHECK(bytes <= arena->bytes);
	return at_end ? arena->first + arena->bytes - bytes : arena->first;
}

/* ---- tables ---- */

enum fill { ANY_BYTE, FEW_OTHERS, ONE_BYTE, SMALL_SET, NO_HINTS, NR_FILLS };

static void fill(uint8_t *state, uint64_t nr, enum fill how)
{
	const uint8_t set[4] = { (uint8_t)draw(256), (uint8_t)draw(256), (uint8_t)draw(256),
				 (uint8_t)draw(256) };
	const uint64_t rare = 1 + draw(100);

	for (uint64_t i = 0; i < nr; i++) {
		switch (how) {
		case ANY_BYTE: state[i] = (uint8_t)draw(256); break;
		case FEW_OTHERS: state[i] = draw(rare) ? set[0] : (uint8_t)draw(256); break;
		case ONE_BYTE: state[i] = set[0]; break;
		case SMALL_SET: state[i] = set[draw(4)]; break;
		/* resident pages that nothing is appended for, now and then another */
		default: state[i] = (uint8_t)(draw(rare) ? PGSTE_STATE_VALID | draw(64) :
							     draw(256));
		}
	}
}

/* ---- searches and counts ---- */

static bool zappable(uint8_t state)
{
	return (state & PGSTE_STATE_SWAP) && ((state & 3) == 1 || (state & PGSTE_STATE_ZERO));
}

static void check_find(const struct scan_ops *ops, const uint8_t *state, uint64_t nr,
		       const struct arena *lists)
{
	const uint64_t from = draw(3) ? 0 : draw(nr + 1);
	const uint64_t max = draw(3) ? nr - from : draw(3) ? draw(nr + 1) : draw(4);
	const uint8_t mask = (uint8_t)draw(256);
	const uint8_t value = nr && draw(3) ? state[draw(nr)] & mask : (uint8_t)draw(256) & mask;
	uint64_t *found = place(lists, max * sizeof(*found), true), nr_found = 0;
	const uint64_t said = ops->find(state, from, nr, mask, value, found, max);

	for (uint64_t i = from; i < nr && nr_found < max; i++) {
		if ((state[i] & mask) != value)
			continue;
		CHECK(nr_found < said && found[nr_found] == i);
		nr_found++;
	}
	CHECK(said == nr_found);
}

static void check_counts(const struct scan_ops *ops, const uint8_t *state, uint64_t nr)
{
	const uint64_t from = draw(nr + 1);
	struct pgste_state_counts counts, expected = { 0 };
	uint64_t first = nr;

	for (uint64_t i = 0; i < nr; i++) {
		const uint8_t s = state[i];

		expected.pages[s & 3][s & PGSTE_STATE_VALID ? 0 : s & PGSTE_STATE_ZERO ? 2 : 1]++;
		expected.nodat += (s & PGSTE_STATE_NODAT) != 0;
		expected.dirty += (s & PGSTE_STATE_DIRTY) != 0;
		expected.swap += (s & PGSTE_STATE_SWAP) != 0;
		expected.zappable += zappable(s);
		if (i >= from && first == nr && zappable(s))
			first = i;
	}
	memset(&counts, 0xaa, sizeof(counts));
	ops->count_states(state, nr, &counts);
	CHECK(memcmp(&counts, &expected, sizeof(counts)) == 0);
	CHECK(ops->count_zappable(state, nr) == expected.zappable);
	CHECK(ops->find_zappable(state, from, nr) == first);
}

/* ---- marks ---- */

/* All bits of a run of words that mostly has none of them, or a few, or all. */
static void check_mark(const struct scan_ops *ops, uint64_t nr, const struct arena *arena)
{
	uint64_t *words = place(arena, nr * sizeof(*words), draw(2)), already = 0;
	const uint64_t rare = 1 + draw(40);
	const bool set = draw(2);

	for (uint64_t i = 0; i < nr; i++) {
		const uint64_t other = draw(rare) ? 0 : draw(2) ? UINT64_C(1) << draw(64) : seed;

		words[i] = set ? other : ~other;
		for (unsigned bit = 0; bit < 64; bit++)
			already += other >> bit & 1;
	}
	CHECK(ops->mark(words, nr, set) == already);
	for (uint64_t i = 0; i < nr; i++)
		CHECK(words[i] == (set ? ~UINT64_C(0) : 0));
}

/* ---- ESSA ---- */

struct essa_case {
	uint8_t *state, *results; /* in arenas; results may be NULL */
	uint8_t *old;		  /* what state was */
	uint64_t *entries;	  /* of limit, in an arena */
	uint32_t nr, limit;
	uint64_t base;
};

#define UNTOUCHED 0xee

/* The pages that should be done; checks what became of them and what went to the list. */
static uint64_t check_pages(const struct essa_case *c, const struct essa_row *row, uint64_t nr,
			    const struct essa_list *list)
{
	uint32_t at = c->nr;
	uint64_t i;
	uint8_t seen = 0, all = 0;

	for (i = 0; i < nr && at < c->limit; i++) {
		const uint16_t entry = row->entry[c->old[i]];

		CHECK(c->state[i] == (entry & 0xff));
		CHECK(!c->results || c->results[i] == (entry >> 8 & 0x7f));
		seen |= c->old[i];
		if (entry & 0x8000) {
			CHECK(at < list->nr && list->entries[at] == c->base + i);
			at++;
		}
	}
	for (uint64_t k = 0; k < nr; k++)
		all |= c->old[k];
	for (uint64_t k = i; k < nr; k++)
		CHECK(c->state[k] == c->old[k] && (!c->results || c->results[k] == UNTOUCHED));
	for (uint32_t k = 0; k < c->nr; k++)
		CHECK(c->entries[k] == k);
	CHECK(list->nr == at && list->limit == c->limit && list->entries == c->entries);
	/* it may say more than what is true of the list, but not out of nothing */
	CHECK(!(seen & PGSTE_STATE_SWAP) || (list->seen & PGSTE_STATE_SWAP));
	CHECK((all & PGSTE_STATE_SWAP) || !(list->seen & PGSTE_STATE_SWAP));
	return i;
}

static void check_essa(const struct scan_ops *ops, const struct essa_row *row,
		       const struct arena arenas[3], uint64_t nr, enum fill how)
{
	static const uint32_t limits[] = { 1, 2, 3, 8, 15, 16, 17, 33, 64, PGSTE_CBRL_MAX };
	const bool at_end = draw(2);
	struct essa_case c = {
		.state = place(&arenas[0], nr, at_end),
		.results = draw(2) ? place(&arenas[1], nr, at_end) : NULL,
		.old = malloc(nr + 1),
		.limit = limits[draw(sizeof(limits) / sizeof(*limits))],
		.base = draw(2) ? draw(UINT64_C(1) << 40) : 0,
	};
	struct essa_list list = { .limit = c.limit };

	CHECK(c.old);
	fill(c.state, nr, how);
	memcpy(c.old, c.state, nr);
	if (c.results)
		memset(c.results, UNTOUCHED, nr);
	c.nr = draw(2) ? 0 : (uint32_t)draw(c.limit);
	c.entries = place(&arenas[2], c.limit * sizeof(*c.entries), true);
	for (uint32_t k = 0; k < c.nr; k++)
		c.entries[k] = k;
	list.entries = c.entries;
	list.nr = c.nr;
	const uint64_t done = ops->essa(c.state, nr, row, c.results, c.base, &list);

	CHECK(done == check_pages(&c, row, nr, &list));
	free(c.old);
}

/* ---- all of it ---- */

static void check_size(const struct scan_ops *ops, const struct arena arenas[3], uint64_t nr)
{
	now.nr = nr;
	for (unsigned how = 0; how < NR_FILLS; how++) {
		uint8_t *state = place(&arenas[0], nr, draw(2));

		now.fill = how;
		fill(state, nr, (enum fill)how);
		for (unsigned k = 0; k < 4; k++)
			check_find(ops, state, nr, &arenas[2]);
		check_counts(ops, state, nr);
		check_mark(ops, nr, &arenas[2]);
		/* z/VM's rows are not for these loops: they clear SWAP */
		for (unsigned gen = PGSTE_GEN_PGTABLE; gen <= PGSTE_GEN_DAT; gen++)
			for (unsigned dirtying = 0; dirtying < 2; dirtying++)
				for (unsigned orc = 0; orc < PGSTE_NR_ORC; orc++)
					check_essa(ops, &essa_rows((enum pgste_generation)gen,
								   dirtying)[orc],
						   arenas, nr, (enum fill)how);
	}
}

/* Where counters in bytes and in 16 bits would run over: every page in every set. */
static void check_large(const struct scan_ops *ops)
{
	static const uint8_t bytes[] = { 0xff, 0xbf, 0x85, 0x01, 0x00 };
	const uint64_t nr = (UINT64_C(1) << 22) + 77;
	const struct arena arena = arena_new(nr);
	uint8_t *state = place(&arena, nr, true);

	now.nr = nr;
	for (unsigned k = 0; k < sizeof(bytes); k++) {
		memset(state, bytes[k], nr);
		check_counts(ops, state, nr);
	}
	munmap(arena.first, arena.bytes);
}

static void check_variant(const struct scan_ops *ops)
{
	static const uint64_t sizes[] = { 511, 512, 513, 1023, 2048, 4095, 8200, 16400, 40000 };
	const struct arena arenas[3] = { arena_new(40000), arena_new(40000),
					 arena_new(40000 * sizeof(uint64_t)) };

	for (uint64_t nr = 0; nr <= 300; nr++)
		check_size(ops, arenas, nr);
	for (unsigned k = 0; k < sizeof(sizes) / sizeof(*sizes); k++)
		check_size(ops, arenas, sizes[k]);
	check_large(ops);
	for (unsigned k = 0; k < 3; k++)
		munmap(arenas[k].first, arenas[k].bytes);
}

int main(void)
{
	bool supported;

	for (unsigned i = 0; pgste_isa_list(i, &supported); i++) {
		const char *name = pgste_isa_list(i, NULL);

		if (!supported) {
			printf("test_isa: %s: skipped, this CPU cannot run it\n", name);
			continue;
		}
		CHECK(pgste_isa_select(name) == PGSTE_OK);
		check_variant(scan_ops());
		printf("test_isa: %s passed\n", name);
	}
	return 0;
}
