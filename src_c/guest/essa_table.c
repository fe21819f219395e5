/* SPDX-License-Identifier: MIT */
/*
 * ESSA as tables, generated once from the rules below.  The rules model pgste_perform_essa
 * (pgtable, v4.13 to v6.19) and dat_perform_essa (dat, v7.0 on), docs/model.md section 2, and
 * z/VM, whose rules are in zvm.c.
 */
#include <pthread.h>

#include "guest/guest.h"

/* What an orc asks for: the new usage and NODAT, and whether the page is discarded. */
struct request {
	unsigned usage;
	bool nodat, append;
};

static struct request essa_request(enum pgste_generation generation, unsigned orc, uint8_t state)
{
	bool valid = state & PGSTE_STATE_VALID;
	struct request r = {
		.usage = state & PGSTE_STATE_USAGE,
		.nodat = state & PGSTE_STATE_NODAT,
	};

	switch (orc) {
	case PGSTE_ORC_SET_STABLE:
		r.usage = PGSTE_USAGE_STABLE;
		r.nodat = false;
		break;
	case PGSTE_ORC_SET_UNUSED:
		r.usage = PGSTE_USAGE_UNUSED;
		r.append = !valid;
		break;
	case PGSTE_ORC_SET_VOLATILE:
		r.usage = PGSTE_USAGE_VOLATILE;
		r.append = !valid;
		break;
	case PGSTE_ORC_SET_POT_VOLATILE:
		if (valid) {
			r.usage = PGSTE_USAGE_POT_VOLATILE;
		} else if (state & PGSTE_STATE_ZERO) {
			r.usage = PGSTE_USAGE_VOLATILE;
		} else if (!(state & PGSTE_STATE_GC)) {
			r.usage = PGSTE_USAGE_VOLATILE;
			r.append = true;
		} else if (generation == PGSTE_GEN_PGTABLE) {
			/* pgtable clears the usage first and then finds nothing to set */
			r.usage = PGSTE_USAGE_STABLE;
		}
		break;
	case PGSTE_ORC_SET_STABLE_RESIDENT:
		r.usage = PGSTE_USAGE_STABLE;
		break;
	case PGSTE_ORC_SET_STABLE_IF_RESIDENT:
		if (valid)
			r.usage = PGSTE_USAGE_STABLE;
		break;
	case PGSTE_ORC_SET_STABLE_NODAT:
		r.usage = PGSTE_USAGE_STABLE;
		r.nodat = true;
		break;
	default:
		break;
	}
	return r;
}

static unsigned essa_result(enum pgste_generation generation, uint8_t state)
{
	unsigned content = PGSTE_CONTENT_RESIDENT;

	bool zero = generation == PGSTE_GEN_ZVM ? !(state & PGSTE_STATE_SWAP) :
						  state & PGSTE_STATE_ZERO;

	if (!(state & PGSTE_STATE_VALID))
		content = zero ? PGSTE_CONTENT_ZERO : PGSTE_CONTENT_PRESERVED;
	return (state & (unsigned)PGSTE_STATE_USAGE) << 2 | content |
	       (state & PGSTE_STATE_NODAT ? PGSTE_RESULT_NODAT : 0);
}

/* z/VM has no list: "append" is "give the content up". */
static struct request zvm_as_request(unsigned orc, uint8_t state)
{
	struct zvm_change c = zvm_request(orc, state);

	return (struct request){ .usage = c.usage, .nodat = c.nodat, .append = c.lost };
}

static uint16_t essa_entry(enum pgste_generation generation, bool dirtying, unsigned orc,
			   uint8_t state)
{
	struct request r = generation == PGSTE_GEN_ZVM ? zvm_as_request(orc, state) :
							 essa_request(generation, orc, state);
	bool zero = state & PGSTE_STATE_ZERO;
	unsigned new = state & (PGSTE_STATE_GC | PGSTE_STATE_DIRTY | PGSTE_STATE_VALID |
				PGSTE_STATE_SWAP);

	if (generation == PGSTE_GEN_DAT)
		zero = r.append;
	else if (generation == PGSTE_GEN_PGTABLE)
		zero = zero || r.append;
	if (generation == PGSTE_GEN_ZVM && r.append)
		/* who clears SWAP has the slot to give up; VALID goes as in pte_claim() */
		new &= ~(unsigned)(PGSTE_STATE_SWAP | PGSTE_STATE_VALID);
	new |= r.usage | (r.nodat ? PGSTE_STATE_NODAT : 0u) | (zero ? PGSTE_STATE_ZERO : 0u);
	if (orc != PGSTE_ORC_GET_STATE && (dirtying || generation == PGSTE_GEN_DAT))
		new |= PGSTE_STATE_DIRTY;
	return (uint16_t)(new | essa_result(generation, state) << 8 | (r.append ? 0x8000u : 0u));
}

static struct essa_row rows[PGSTE_NR_GENERATIONS][2][PGSTE_NR_ORC];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void essa_generate_row(struct essa_row *row, enum pgste_generation generation,
			      bool dirtying, unsigned orc)
{
	for (unsigned state = 0; state < 256; state++)
		row->entry[state] = essa_entry(generation, dirtying, orc, (uint8_t)state);
	for (unsigned state = 0; state < 128; state++) {
		const unsigned entry = row->entry[state];

		row->new[state] = (uint8_t)(ESSA_NEW(entry) | ESSA_APPEND(entry) << 7);
		row->result[state] = ESSA_RESULT(entry);
	}
}

static void essa_generate(void)
{
	for (unsigned generation = 0; generation < PGSTE_NR_GENERATIONS; generation++)
		for (unsigned dirtying = 0; dirtying < 2; dirtying++)
			for (unsigned orc = 0; orc < PGSTE_NR_ORC; orc++)
				essa_generate_row(&rows[generation][dirtying][orc],
						  (enum pgste_generation)generation, dirtying,
						  orc);
}

const struct essa_row *essa_rows(enum pgste_generation generation, bool dirtying)
{
	pthread_once(&once, essa_generate);
	return rows[generation][dirtying];
}
