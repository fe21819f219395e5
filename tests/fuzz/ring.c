/* SPDX-License-Identifier: MIT */
/*
 * The decoder of ring-buffer pages.  The input is a layout, near the kernel's or any, and a
 * page of it.  Promised is:
 *
 *  - no byte outside the page is read, nor outside the bytes that its header says it has;
 *  - no event is written beyond the room given, and every one that comes out is one;
 *  - a layout that makes no sense, and too little room, is PGSTE_E_ARG;
 *  - after an error the counters are as before, and the offset lies in the page.
 */
#include "fuzz.h"

#include "pgste.h"

#define MOST_PAGE 16384u /* larger ones are only tried with too little room */

static uint32_t near_value(struct input *in, uint32_t usual)
{
	const uint8_t change = take_byte(in);

	if (change < 128)
		return usual;
	return change < 250 ? change - 128u : (uint32_t)take(in, 4);
}

static struct pgste_ring_format take_format(struct input *in)
{
	const uint8_t flags = take_byte(in);
	const bool usual = flags & 1;
	struct pgste_ring_format f = {
		.id_alloc = 2, .id_free = 3, .id_free_batched = 4, .common_type_bytes = 2,
		.alloc_pfn_offset = 8, .alloc_pfn_bytes = 8,
		.alloc_order_offset = 16, .alloc_order_bytes = 4,
		.free_pfn_offset = 8, .free_pfn_bytes = 8,
		.free_order_offset = 16, .free_order_bytes = 4,
		.page_bytes = 64, .commit_offset = 8, .commit_bytes = 8, .data_offset = 16,
		.big_endian = flags & 2,
	};

	f.page_bytes = 32 + (uint32_t)take_byte(in) * 4;
	if (flags & 4)
		f.commit_bytes = 4, f.data_offset = 12;
	if (usual)
		return f;
	f.id_alloc = flags & 8 ? -1 : (int32_t)near_value(in, 2);
	f.id_free = flags & 16 ? -1 : (int32_t)near_value(in, 3);
	f.id_free_batched = flags & 32 ? -1 : (int32_t)near_value(in, 4);
	f.common_type_offset = near_value(in, 0);
	f.common_type_bytes = near_value(in, 2);
	f.alloc_pfn_offset = near_value(in, 8);
	f.alloc_pfn_bytes = near_value(in, 8);
	f.alloc_order_offset = near_value(in, 16);
	f.alloc_order_bytes = near_value(in, 4);
	f.free_pfn_offset = near_value(in, 8);
	f.free_pfn_bytes = near_value(in, 8);
	f.free_order_offset = near_value(in, 16);
	f.free_order_bytes = near_value(in, 4);
	f.page_bytes = near_value(in, f.page_bytes);
	f.commit_offset = near_value(in, f.commit_offset);
	f.commit_bytes = near_value(in, f.commit_bytes);
	f.data_offset = near_value(in, f.data_offset);
	return f;
}

struct result {
	uint64_t *events, *times;
	int64_t nr;
	struct pgste_decode_stats stats;
	size_t offset;
};

/* A page of just its size: the bytes of the input, then `rest`. */
static struct result decode(const struct pgste_ring_format *f, const struct input *in,
			    uint8_t rest, uint64_t room)
{
	const size_t page_bytes = f->page_bytes <= MOST_PAGE ? f->page_bytes : MOST_PAGE;
	const size_t given = (size_t)(in->end - in->at);
	const size_t used = given < page_bytes ? given : page_bytes;
	struct result r = { .stats = { .events = 7, .other = 9, .lost = UINT64_C(1) << 40 } };
	const struct pgste_decode_stats before = r.stats;
	uint8_t *page = block_of_size(page_bytes);

	r.events = block_of_size(room * sizeof(*r.events));
	r.times = block_of_size(room * sizeof(*r.times));
	if (page_bytes)
		memset(page, rest, page_bytes);
	if (used)
		memcpy(page, in->at, used);
	r.nr = pgste_ring_decode(f, page, r.events, r.times, room, &r.stats, &r.offset);
	free(page);
	if (r.nr < 0) {
		REQUIRE(r.nr == PGSTE_E_ARG || r.nr == PGSTE_E_FORMAT);
		REQUIRE(!memcmp(&r.stats, &before, sizeof(before)));
		REQUIRE(r.nr != PGSTE_E_FORMAT || r.offset < f->page_bytes);
	} else {
		REQUIRE((uint64_t)r.nr <= room);
		REQUIRE(r.stats.events == before.events + (uint64_t)r.nr);
		REQUIRE(r.stats.other >= before.other && r.stats.lost_lines <= 1);
	}
	for (int64_t i = 0; i < r.nr; i++) {
		const uint64_t blocks = UINT64_C(1) << PGSTE_EVENT_ORDER(r.events[i]);

		REQUIRE(PGSTE_EVENT_KIND(r.events[i]) <= PGSTE_EVENT_FREE);
		REQUIRE(PGSTE_EVENT_ORDER(r.events[i]) <= PGSTE_MAX_ORDER);
		REQUIRE(PGSTE_EVENT_PFN(r.events[i]) + blocks <= UINT64_C(1) << 56);
	}
	return r;
}

static void release(struct result *r)
{
	free(r->events);
	free(r->times);
}

/* Bytes that the page's own header says nothing of, as far as the input has no say in them. */
static bool rest_is_behind(const struct pgste_ring_format *f, const struct input *in)
{
	const size_t given = (size_t)(in->end - in->at);
	uint64_t commit = 0;

	if (given < f->data_offset || f->commit_offset + f->commit_bytes > given)
		return false;
	for (unsigned i = 0; i < f->commit_bytes; i++)
		commit = commit << 8 |
			 in->at[f->commit_offset + (f->big_endian ? i : f->commit_bytes - 1 - i)];
	/* the number of lost events may stand behind the data */
	return f->data_offset + (commit & 0x7ffffff) + f->commit_bytes <= given;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };
	const struct pgste_ring_format f = take_format(&in);
	struct result r, other;

	if (f.page_bytes > MOST_PAGE) {
		r = decode(&f, &in, 0, 3);
		REQUIRE(r.nr == PGSTE_E_ARG);
		release(&r);
		return 0;
	}
	r = decode(&f, &in, 0, f.page_bytes / 8);
	if (r.nr == PGSTE_E_ARG) {
		release(&r);
		return 0;
	}
	if (f.page_bytes / 8) {
		other = decode(&f, &in, 0, f.page_bytes / 8 - 1);
		REQUIRE(other.nr == PGSTE_E_ARG);
		release(&other);
	}
	if (rest_is_behind(&f, &in)) {
		other = decode(&f, &in, 0xff, f.page_bytes / 8 + 1);
		REQUIRE(other.nr == r.nr && !memcmp(&other.stats, &r.stats, sizeof(r.stats)));
		REQUIRE(r.nr >= 0 || other.offset == r.offset);
		REQUIRE(r.nr <= 0 || !memcmp(other.events, r.events, (size_t)r.nr * 8));
		REQUIRE(r.nr <= 0 || !memcmp(other.times, r.times, (size_t)r.nr * 8));
		release(&other);
	}
	release(&r);
	return 0;
}
