/* SPDX-License-Identifier: MIT */
/*
 * Tests of the decoder of ring-buffer pages.  Pages are put together here by the kernel's
 * rules, for both byte orders.
 */
#include "check.h"

#define PAGE_BYTES 4096u

static const struct pgste_ring_format ring_format = {
	.id_alloc = 653, .id_free = 655, .id_free_batched = 654,
	.common_type_offset = 0, .common_type_bytes = 2,
	.alloc_pfn_offset = 8, .alloc_pfn_bytes = 8,
	.alloc_order_offset = 16, .alloc_order_bytes = 4,
	.free_pfn_offset = 8, .free_pfn_bytes = 8,
	.free_order_offset = 16, .free_order_bytes = 4,
	.page_bytes = PAGE_BYTES, .commit_offset = 8, .commit_bytes = 8, .data_offset = 16,
};

struct page {
	unsigned char *bytes;
	size_t end;
	bool big_endian;
};

static void put(struct page *page, size_t at, uint64_t value, unsigned nr_bytes)
{
	unsigned i;

	for (i = 0; i < nr_bytes; i++)
		page->bytes[at + i] = (unsigned char)
			(value >> 8 * (page->big_endian ? nr_bytes - 1 - i : i));
}

static struct page new_page(uint64_t time, bool big_endian)
{
	struct page page = { calloc(1, PAGE_BYTES), 16, big_endian };

	put(&page, 0, time, 8);
	return page;
}

static void put_head(struct page *page, unsigned type, uint64_t delta)
{
	uint64_t head = page->big_endian ? (uint64_t)type << 27 | delta : delta << 5 | type;

	put(page, page->end, head, 4);
	page->end += 4;
}

static void put_long(struct page *page, unsigned type, uint64_t delta, uint64_t word)
{
	put_head(page, type, delta);
	put(page, page->end, word, 4);
	page->end += 4;
}

/* An event of nr_words words; with a length word if big. */
static void put_event(struct page *page, uint64_t delta, unsigned id, uint64_t pfn, unsigned order,
		      unsigned nr_words, bool big)
{
	if (big)
		put_long(page, 0, delta, 4 * (nr_words + 1));
	else
		put_head(page, nr_words, delta);
	put(page, page->end, id, 2);
	if (nr_words >= 5) {
		put(page, page->end + 8, pfn, 8);
		put(page, page->end + 16, order, 4);
	}
	page->end += 4 * nr_words;
}

static int64_t decode_page(struct page *page, uint64_t flags, uint64_t *events, uint64_t *times,
			   struct pgste_decode_stats *stats, size_t *offset)
{
	struct pgste_ring_format format = ring_format;

	format.big_endian = page->big_endian;
	put(page, 8, (page->end - 16) | flags, 8);
	return pgste_ring_decode(&format, page->bytes, events, times, PAGE_BYTES / 8, stats,
				 offset);
}

static void test_ring(bool big_endian)
{
	uint64_t events[PAGE_BYTES / 8], times[PAGE_BYTES / 8];
	struct page page = new_page(UINT64_C(1) << 59 | 1000, big_endian);
	struct pgste_decode_stats stats = { 0 };
	size_t offset;

	put_event(&page, 5, 653, 0x1234, 3, 9, false);
	put_event(&page, 0, 655, 0x1234, 3, 5, true);
	put_event(&page, 7, 654, 0x1234, 0, 5, false);
	put_event(&page, 1, 653, UINT64_MAX, 0, 9, false);	/* failed */
	put_event(&page, 1, 653, 0, 0, 9, false);		/* failed, older kernels */
	put_event(&page, 1, 7, 0, 0, 1, false);			/* another event */
	put_long(&page, 30, 3, 2);				/* extend by 2 * 2^27 + 3 */
	put_event(&page, 0, 655, 1, 0, 5, false);
	put_long(&page, 29, 100, 12);				/* discarded, 100 ns */
	page.end += 8;
	put_long(&page, 29, 1, 4);				/* discarded, its delta is none */
	put_event(&page, 2, 655, 2, 0, 5, false);
	put_long(&page, 31, 9, 1 << 10);			/* absolute: bits 0-58 */
	put_event(&page, 1, 655, 3, 0, 5, false);
	put_long(&page, 31, 9, 0);				/* absolute, wrapped */
	put_event(&page, 1, 655, 4, 0, 5, false);
	put_head(&page, 29, 0);					/* padding to the end */
	page.end += 16;
	CHECK(decode_page(&page, UINT64_C(3) << 30, events, times, &stats, &offset) == 6);
	CHECK(events[0] == A(3, 0x1234) && events[1] == F(3, 0x1234) && events[2] == F(0, 1));
	CHECK(events[3] == F(0, 2) && events[4] == F(0, 3) && events[5] == F(0, 4));
	CHECK(times[0] == (UINT64_C(1) << 59 | 1005) && times[1] == times[0]);
	CHECK(times[2] == times[0] + 10 + (UINT64_C(2) << 27) + 3);
	CHECK(times[3] == times[2] + 102);
	CHECK(times[4] == (UINT64_C(1) << 59 | UINT64_C(1) << 37 | 10));
	CHECK(times[5] == (UINT64_C(1) << 60 | 10));
	CHECK(stats.events == 6 && stats.batched == 1 && stats.failed == 2 && stats.other == 1);
	CHECK(stats.lost_lines == 1 && stats.lost == 0);
	put(&page, page.end, 42, 8);	/* how many were missed is behind the data */
	CHECK(decode_page(&page, UINT64_C(3) << 30, events, times, &stats, &offset) == 6);
	CHECK(stats.lost_lines == 2 && stats.lost == 42 && stats.events == 12);
	free(page.bytes);
}

/* The page ends in zeros behind end, and is damaged at byte at. */
static void check_damage(struct page *page, size_t at, const char *what)
{
	uint64_t events[PAGE_BYTES / 8], times[PAGE_BYTES / 8];
	struct pgste_decode_stats stats = { 0 };
	size_t offset;

	CHECK_FOR(decode_page(page, 0, events, times, &stats, &offset) == PGSTE_E_FORMAT, what);
	CHECK_FOR(offset == at && !stats.events, what);
	page->end = 16 + 40;	/* back to the one good event */
	memset(page->bytes + page->end, 0, PAGE_BYTES - page->end);
}

static void test_ring_damage(void)
{
	struct page page = new_page(0, false);
	size_t good;

	put_event(&page, 5, 653, 0x1234, 3, 9, false);
	good = page.end;
	CHECK(good == 16 + 40);
	put_event(&page, 5, 653, 0x1234, 40, 9, false);
	check_damage(&page, good, "order");
	put_event(&page, 5, 655, UINT64_C(1) << 56, 0, 5, false);
	check_damage(&page, good, "pfn");
	put_event(&page, 5, 655, (UINT64_C(1) << 56) - 1, 1, 5, false);
	check_damage(&page, good, "end of the block");
	put_event(&page, 5, 655, 0, 0, 1, false);
	check_damage(&page, good, "no room for the pfn");
	put_event(&page, 5, 655, 0, 0, 4, false);
	check_damage(&page, good, "no room for the order");
	put_head(&page, 28, 1);
	check_damage(&page, good, "record longer than the data");
	put_long(&page, 0, 1, 8);
	check_damage(&page, good, "long record longer than the data");
	put_long(&page, 0, 1, 0);
	check_damage(&page, good, "length less than its own word");
	put_long(&page, 29, 1, 0xffffffff);
	check_damage(&page, good, "padding longer than the page");
	put_head(&page, 31, 1);
	check_damage(&page, good, "half a time stamp");
	page.end += 2;
	check_damage(&page, good, "half a head");
	page.end = PAGE_BYTES + 1;
	check_damage(&page, 8, "commit");
	free(page.bytes);
}

/* A page without room for the number of missed events, and formats that make no sense. */
static void test_ring_limits(void)
{
	uint64_t events[PAGE_BYTES / 8], times[PAGE_BYTES / 8];
	struct pgste_decode_stats stats = { 0 };
	struct pgste_ring_format format = ring_format;
	struct page page = new_page(0, false);
	size_t offset;
	unsigned nr;

	for (nr = 0; page.end + 24 <= PAGE_BYTES; nr++)
		put_event(&page, 1, 655, nr, 0, 5, false);
	CHECK(page.end == PAGE_BYTES);
	CHECK(decode_page(&page, UINT64_C(3) << 30, events, times, &stats, &offset) == nr);
	CHECK(stats.lost_lines == 1 && !stats.lost && events[nr - 1] == F(0, nr - 1));

	CHECK(pgste_ring_decode(&format, page.bytes, events, times, 511, &stats, &offset) ==
	      PGSTE_E_ARG);
	format.alloc_pfn_bytes = 3;
	CHECK(pgste_ring_decode(&format, page.bytes, events, times, 512, &stats, &offset) ==
	      PGSTE_E_ARG);
	format = ring_format;
	format.data_offset = PAGE_BYTES;
	CHECK(pgste_ring_decode(&format, page.bytes, events, times, 512, &stats, &offset) ==
	      PGSTE_E_ARG);
	free(page.bytes);
}

int main(void)
{
	test_ring(false);
	test_ring(true);
	test_ring_damage();
	test_ring_limits();
	return checks_failed();
}
