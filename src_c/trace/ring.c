/* SPDX-License-Identifier: MIT */
/*
 * Decoder of the pages of the kernel's trace ring buffer (include/linux/ring_buffer.h,
 * kernel/trace/ring_buffer.c), as trace_pipe_raw gives them and trace.dat keeps them.
 *
 * A record starts with 32 bits: type_len (5) and time_delta (27); on a little-endian
 * machine type_len is in the low bits, on a big-endian one in the high bits.
 *
 *   type_len  record
 *   0         data; the next word is its length, that word included
 *   1 .. 28   data of 4 * type_len bytes
 *   29        padding: to the end of the page if time_delta is 0, else as type_len 0
 *   30        time extend: the next word is bits 27 and up of the delta
 *   31        absolute time: bits 0-58; the rest is that of the time before
 */
#include "base/base.h"
#include "pgste/trace.h"

#include <string.h>

#define TYPE_BIG_DATA 0u
#define TYPE_PADDING 29u
#define TYPE_TIME_EXTEND 30u
#define TYPE_TIME_STAMP 31u
#define TIME_DELTA_BITS 27
#define TIME_STAMP_BITS 59

#define COMMIT_BYTES_MASK ((UINT64_C(1) << 27) - 1)
#define COMMIT_MISSED_EVENTS (UINT64_C(1) << 31)
#define COMMIT_MISSED_STORED (UINT64_C(1) << 30) /* how many: behind the data */

struct ring_page {
	const struct pgste_ring_format *format;
	const unsigned char *bytes;
	uint64_t time;
	size_t position, end;
	uint64_t *events, *times;
	uint64_t nr, max;
	struct pgste_decode_stats stats;
};

/* An unsigned number of 1, 2, 4 or 8 bytes in the byte order of the traced machine. */
static uint64_t get(const struct pgste_ring_format *format, const unsigned char *bytes,
		    uint32_t nr_bytes)
{
	uint64_t value = 0;
	uint32_t i;

	for (i = 0; i < nr_bytes; i++)
		value = value << 8 | bytes[format->big_endian ? i : nr_bytes - 1 - i];
	return value;
}

static bool is_field(uint32_t nr_bytes)
{
	return nr_bytes == 1 || nr_bytes == 2 || nr_bytes == 4 || nr_bytes == 8;
}

static bool is_sane(const struct pgste_ring_format *format)
{
	bool alloc = format->id_alloc < 0 ||
		     ((format->alloc_pfn_bytes == 4 || format->alloc_pfn_bytes == 8) &&
		      is_field(format->alloc_order_bytes));
	bool free = format->id_free < 0 ||
		    ((format->free_pfn_bytes == 4 || format->free_pfn_bytes == 8) &&
		     is_field(format->free_order_bytes));

	return alloc && free && is_field(format->common_type_bytes) &&
	       (format->commit_bytes == 4 || format->commit_bytes == 8) &&
	       format->commit_offset >= 8 && format->data_offset >= 12 &&
	       format->commit_offset <= format->data_offset - format->commit_bytes &&
	       format->data_offset < format->page_bytes && format->page_bytes <= 1u << 27;
}

/* A field of a record, false if it reaches past the record. */
static bool get_field(const struct ring_page *page, size_t data, size_t nr_bytes, uint32_t offset,
		      uint32_t field_bytes, uint64_t *value)
{
	if (nr_bytes < field_bytes || offset > nr_bytes - field_bytes)
		return false;
	*value = get(page->format, page->bytes + data + offset, field_bytes);
	return true;
}

/* One data record of nr_bytes at data. */
static int decode_record(struct ring_page *page, size_t data, size_t nr_bytes)
{
	const struct pgste_ring_format *format = page->format;
	enum pgste_event_kind kind;
	uint64_t type, pfn, order;
	uint32_t pfn_bytes;
	bool whole;

	if (!get_field(page, data, nr_bytes, format->common_type_offset,
		       format->common_type_bytes, &type))
		return PGSTE_E_FORMAT;
	if (format->id_alloc >= 0 && type == (uint64_t)format->id_alloc) {
		kind = PGSTE_EVENT_ALLOC;
		pfn_bytes = format->alloc_pfn_bytes;
		whole = get_field(page, data, nr_bytes, format->alloc_pfn_offset,
				  pfn_bytes, &pfn) &&
			get_field(page, data, nr_bytes, format->alloc_order_offset,
				  format->alloc_order_bytes, &order);
	} else if (format->id_free >= 0 && type == (uint64_t)format->id_free) {
		kind = PGSTE_EVENT_FREE;
		pfn_bytes = format->free_pfn_bytes;
		whole = get_field(page, data, nr_bytes, format->free_pfn_offset, pfn_bytes, &pfn) &&
			get_field(page, data, nr_bytes, format->free_order_offset,
				  format->free_order_bytes, &order);
	} else {
		if (format->id_free_batched >= 0 && type == (uint64_t)format->id_free_batched)
			page->stats.batched++;
		else
			page->stats.other++;
		return PGSTE_OK;
	}
	if (!whole || order > PGSTE_MAX_ORDER)
		return PGSTE_E_FORMAT;
	/* A failed alloc has the pfn -1 (since 5.0), before that 0. */
	if (kind == PGSTE_EVENT_ALLOC &&
	    (!pfn || pfn == (pfn_bytes == 8 ? UINT64_MAX : UINT32_MAX))) {
		page->stats.failed++;
		return PGSTE_OK;
	}
	if (pfn >> 56 || pfn + (UINT64_C(1) << order) > UINT64_C(1) << 56 || page->nr == page->max)
		return PGSTE_E_FORMAT;
	page->events[page->nr] = PGSTE_EVENT(kind, order, pfn);
	page->times[page->nr++] = page->time;
	return PGSTE_OK;
}

/* An absolute time has 59 bits; the others are of the time before, carry included. */
static uint64_t absolute_time(uint64_t before, uint64_t stamp)
{
	uint64_t high = before >> TIME_STAMP_BITS << TIME_STAMP_BITS;

	if (high && (high | stamp) < before)
		high += UINT64_C(1) << TIME_STAMP_BITS;
	return high | stamp;
}

/* The record at page->position, which moves behind it. */
static int next_record(struct ring_page *page)
{
	const struct pgste_ring_format *format = page->format;
	size_t left = page->end - page->position, nr_bytes, data = page->position + 4;
	uint64_t head, delta, word = 0;
	unsigned type;

	if (left < 4)
		return PGSTE_E_FORMAT;
	head = get(format, page->bytes + page->position, 4);
	type = (unsigned)(format->big_endian ? head >> TIME_DELTA_BITS : head & 31);
	delta = format->big_endian ? head & ((UINT64_C(1) << TIME_DELTA_BITS) - 1) : head >> 5;
	if (type == TYPE_PADDING && !delta) {
		page->position = page->end;
		return PGSTE_OK;
	}
	nr_bytes = 4 * (size_t)type;
	if (type == TYPE_BIG_DATA || type >= TYPE_PADDING) {
		if (left < 8)
			return PGSTE_E_FORMAT;
		word = get(format, page->bytes + data, 4);
		nr_bytes = 4;
		data += 4;
	}
	if (type == TYPE_TIME_EXTEND || type == TYPE_TIME_STAMP) {
		delta |= word << TIME_DELTA_BITS;
		page->time = type == TYPE_TIME_EXTEND ? page->time + delta :
							absolute_time(page->time, delta);
		page->position = data;
		return PGSTE_OK;
	}
	if (type == TYPE_BIG_DATA || type == TYPE_PADDING) {
		if (word < 4)
			return PGSTE_E_FORMAT;
		nr_bytes = (((size_t)word + 3) & ~(size_t)3) - 4;
	}
	if (nr_bytes > page->end - data)
		return PGSTE_E_FORMAT;
	/* A discarded record is padding; the kernel writes the delta 1 where there was none. */
	if (type != TYPE_PADDING || delta != 1)
		page->time += delta;
	if (type != TYPE_PADDING && decode_record(page, data, nr_bytes))
		return PGSTE_E_FORMAT;
	page->position = data + nr_bytes;
	return PGSTE_OK;
}

int64_t pgste_ring_decode(const struct pgste_ring_format *format, const void *bytes,
			  uint64_t *events, uint64_t *times_ns, uint64_t max,
			  struct pgste_decode_stats *stats, size_t *error_offset)
{
	struct ring_page page = { .format = format, .bytes = bytes, .events = events,
				  .times = times_ns, .max = max, .stats = *stats };
	uint64_t commit;

	*error_offset = 0;
	if (!is_sane(format) || max < format->page_bytes / 8)
		return PGSTE_E_ARG;
	page.time = get(format, page.bytes, 8);
	commit = get(format, page.bytes + format->commit_offset, format->commit_bytes);
	if ((commit & COMMIT_BYTES_MASK) > format->page_bytes - format->data_offset) {
		*error_offset = format->commit_offset;
		return PGSTE_E_FORMAT;
	}
	page.position = format->data_offset;
	page.end = page.position + (size_t)(commit & COMMIT_BYTES_MASK);
	if (commit & COMMIT_MISSED_EVENTS) {
		page.stats.lost_lines++;
		if ((commit & COMMIT_MISSED_STORED) &&
		    page.end + format->commit_bytes <= format->page_bytes)
			page.stats.lost += get(format, page.bytes + page.end, format->commit_bytes);
	}
	while (page.position < page.end) {
		if (next_record(&page)) {
			*error_offset = page.position;
			return PGSTE_E_FORMAT;
		}
	}
	page.stats.events += page.nr;
	*stats = page.stats;
	return (int64_t)page.nr;
}
