/* SPDX-License-Identifier: MIT */
/*
 * Aligned blocks that go when they are wholly free: a page at once (ESSA of a host that looks at
 * once, madvise by the allocator), HyperAlloc's huge frames (EuroSys 2025), and the blocks of
 * virtio-mem (drivers/virtio/virtio_mem.c), which go from the highest down and come from the lowest
 * up so that the guest keeps a reserve.
 */
#include <stdlib.h>

#include "footprint/footprint.h"

struct loose_blocks {
	uint32_t *nr_free; /* pages of each block */
	uint64_t *out;	   /* a bit a block */
	uint64_t nr, size;
	uint64_t left; /* free pages of blocks that are not out */
	uint64_t next; /* NOT_DUE: nothing has changed since the last tick, so nothing will */
};

static bool block_is_out(const struct loose_blocks *b, uint64_t block)
{
	return b->out[block / 64] >> block % 64 & 1;
}

static void block_turn(struct loose_blocks *b, uint64_t block)
{
	b->out[block / 64] ^= UINT64_C(1) << block % 64;
}

static void blocks_changed(const struct footprint *f, struct loose_blocks *b)
{
	const uint64_t period = f->config->period_ns;

	if (period && b->next == NOT_DUE)
		b->next = (f->now / period + 1) * period;
}

/* Of [first, end), those of the first block in it: how many. */
static uint64_t part_of(const struct loose_blocks *b, uint64_t first, uint64_t end)
{
	return min_u64(first / b->size * b->size + b->size, end) - first;
}

/* Blocks that go are gathered while they are neighbours, in either direction. */
struct run_of_blocks {
	uint64_t first, nr;
};

static void blocks_flush(struct footprint *f, const struct loose_blocks *b,
			 struct run_of_blocks *run)
{
	if (run->nr)
		backing_discard(&f->backing, run->first * b->size, run->nr * b->size);
	run->nr = 0;
}

static void block_goes(struct footprint *f, struct loose_blocks *b, struct run_of_blocks *run,
		       uint64_t block)
{
	block_turn(b, block);
	b->left -= b->size;
	if (run->nr && block == run->first + run->nr) {
		run->nr++;
	} else if (run->nr && block + 1 == run->first) {
		run->first = block;
		run->nr++;
	} else {
		blocks_flush(f, b, run);
		*run = (struct run_of_blocks){ .first = block, .nr = 1 };
	}
}

static void blocks_freed(struct footprint *f, uint64_t first, uint64_t nr, unsigned order)
{
	struct loose_blocks *b = f->data;
	struct run_of_blocks run = { 0 };
	uint64_t part;

	(void)order;
	for (uint64_t at = first; at < first + nr; at += part) {
		const uint64_t block = at / b->size;

		part = part_of(b, at, first + nr);
		b->nr_free[block] += (uint32_t)part;
		b->left += part; /* it cannot be out, as a page of it was in use */
		if (!f->config->period_ns && b->nr_free[block] == b->size)
			block_goes(f, b, &run, block);
	}
	blocks_flush(f, b, &run);
	blocks_changed(f, b);
}

static void block_comes(struct footprint *f, struct loose_blocks *b, uint64_t block)
{
	const uint64_t faults = f->result->faults;

	block_turn(b, block);
	b->left += b->size;
	if (f->config->asks) {
		f->result->waits++;
		f->result->calls++;
	}
	if (!f->config->populate)
		return;
	for (uint64_t page = block * b->size; page < (block + 1) * b->size; page++)
		backing_touch(&f->backing, page);
	f->result->faults = faults;
}

static void blocks_allocated(struct footprint *f, uint64_t first, uint64_t nr, unsigned order)
{
	struct loose_blocks *b = f->data;
	uint64_t part;

	(void)order;
	for (uint64_t at = first; at < first + nr; at += part) {
		const uint64_t block = at / b->size;

		part = part_of(b, at, first + nr);
		if (block_is_out(b, block))
			block_comes(f, b, block);
		b->nr_free[block] -= (uint32_t)part;
		b->left -= part;
	}
	blocks_changed(f, b);
}

static uint64_t blocks_due(const struct footprint *f)
{
	const struct loose_blocks *b = f->data;

	return b->next;
}

static void blocks_tick(struct footprint *f)
{
	const uint64_t reserve = f->config->reserve;
	struct loose_blocks *b = f->data;
	struct run_of_blocks run = { 0 };

	b->next = NOT_DUE;
	f->steps += b->nr;
	for (uint64_t block = b->nr; block--;)
		if (b->nr_free[block] == b->size && !block_is_out(b, block) &&
		    b->left - b->size >= reserve)
			block_goes(f, b, &run, block);
	blocks_flush(f, b, &run);
	for (uint64_t block = 0; block < b->nr && b->left < reserve; block++)
		if (block_is_out(b, block)) {
			block_turn(b, block);
			b->left += b->size;
			f->result->calls++;
		}
}

static int blocks_start(struct footprint *f)
{
	const struct pgste_footprint_config *config = f->config;
	struct loose_blocks *b = f->data = calloc(1, sizeof(*b));

	if (!b)
		return PGSTE_E_NOMEM;
	b->size = UINT64_C(1) << config->block_order;
	b->nr = config->nr_pages / b->size;
	b->nr_free = table_new(b->nr * sizeof(*b->nr_free));
	b->out = table_new(bitmap_bytes(b->nr));
	if (!b->nr_free || !b->out)
		return PGSTE_E_NOMEM;
	for (uint64_t page = 0; page < config->nr_pages; page++) {
		if (fp_stops(f, 1))
			return PGSTE_E_CANCELLED;
		b->nr_free[page / b->size] += fp_is_free(f, page);
		b->left += fp_is_free(f, page);
	}
	blocks_tick(f);
	return PGSTE_OK;
}

static void blocks_end(struct footprint *f)
{
	struct loose_blocks *b = f->data;

	if (!b)
		return;
	table_free(b->nr_free, b->nr * sizeof(*b->nr_free));
	table_free(b->out, bitmap_bytes(b->nr));
	free(b);
}

const struct fp_rule fp_blocks = {
	.start = blocks_start,
	.end = blocks_end,
	.freed = blocks_freed,
	.allocated = blocks_allocated,
	.due = blocks_due,
	.tick = blocks_tick,
};
