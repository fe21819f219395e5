/* SPDX-License-Identifier: MIT */
/* Events of a page allocator: one word each, decoded from what tracers write, and summed up. */
#ifndef PGSTE_TRACE_H
#define PGSTE_TRACE_H

#include "gfn.h"

PGSTE_BEGIN

/* ---- events ---- */

/* One event in 64 bits: kind (bits 0-1), order (bits 2-7), pfn (bits 8-63). */
enum pgste_event_kind { PGSTE_EVENT_ALLOC = 0, PGSTE_EVENT_FREE = 1 };
#define PGSTE_EVENT(kind, order, pfn) \
	((uint64_t)(pfn) << 8 | (uint64_t)(order) << 2 | (uint64_t)(kind))
#define PGSTE_EVENT_KIND(e) ((unsigned)((e) & 3))
#define PGSTE_EVENT_ORDER(e) ((unsigned)((e) >> 2 & 0x3f))
#define PGSTE_EVENT_PFN(e) ((e) >> 8)

/*
 * An access of a page: the same word with order 0.  Accesses are no events: they have an array of
 * their own, and each has a place, the number of events before it.
 */
enum pgste_access_kind { PGSTE_ACCESS_LOAD = 2, PGSTE_ACCESS_STORE = 3 };

/* ---- summary ---- */

/* What a trace holds, counted in file order as traces do: the live set starts empty. */
#define PGSTE_TRACE_SUMMARY(X)                                                               \
	X(alloc_events)                                                                      \
	X(free_events)                                                                       \
	X(pages_allocated)                                                                   \
	X(pages_freed)                                                                       \
	X(frees_of_allocated)  /* free events all of whose pages were live */                \
	X(frees_of_unknown)    /* free events none of whose pages was live */                \
	X(frees_of_block)      /* free events of exactly one block as it was allocated */    \
	X(frees_of_part)       /* free events of a part of a larger block */                 \
	X(allocs_of_live)      /* alloc events that hit a live page */                       \
	X(unique_allocated)    /* different pages allocated */                               \
	X(unique_pages)	       /* different pages in any event */                            \
	X(peak_live)	       /* most pages live at once, from an empty start */             \
	X(live_at_end)                                                                       \
	X(live_at_start)       /* pages whose first event is a free */                       \
	X(peak_in_use)	       /* most pages in use at once, those of the start included */  \
	X(lowest_pfn)                                                                        \
	X(highest_pfn)	       /* last page of the highest block */

struct pgste_trace_summary {
	PGSTE_TRACE_SUMMARY(PGSTE_STATS_FIELD)
	uint64_t alloc_orders[64], free_orders[64];
};
const char *pgste_trace_summary_name(unsigned i);
/*
 * Takes 96 bytes of memory for each 64 pages, aligned, of which one is in an event.  PGSTE_E_ARG:
 * an event with kind > 1, order > 39 or a block that reaches above pfn 2^56; PGSTE_E_NOMEM, also
 * when the table would need more than half of this machine's memory.
 */
int pgste_trace_summarize(const uint64_t *events, uint64_t nr,
			  struct pgste_trace_summary *summary);

/* What a summary may take: pages of all events, one event's 2^order each; bytes of memory. */
struct pgste_trace_limits {
	uint64_t pages, bytes;
};
enum pgste_trace_limit { PGSTE_LIMIT_PAGES = 1, PGSTE_LIMIT_BYTES = 2 };
/*
 * The same within limits; the limit that was met, a positive number, if the trace takes more.
 * in_use, unless NULL, gets nr numbers: how many pages more are in use after each event than at
 * the start, where live_at_start were.  After an error it may be half written.
 */
int pgste_trace_summarize_within(const uint64_t *events, uint64_t nr,
				 const struct pgste_trace_limits *limits,
				 struct pgste_trace_summary *summary, int64_t *in_use);

/*
 * The same events, and accesses, without most of the pages that no event names.  Pages keep their
 * order and are numbered from 0 on; pages that follow each other still do, and those that do not
 * have one between them, so blocks stay whole but lose their alignment.  *dense_pages: how many
 * there are then.
 * All must be of the nr_pages (at most 2^56) from pfn base on, and accesses of pages that events
 * name: PGSTE_E_ARG if not.  Takes a quarter of a byte for each of nr_pages.  After an error what
 * is written may be half done.
 */
int pgste_trace_dense(const uint64_t *events, uint64_t nr, const uint64_t *accesses,
		      uint64_t nr_accesses, uint64_t base, uint64_t nr_pages,
		      uint64_t *dense_events, uint64_t *dense_accesses, uint64_t *dense_pages);

/*
 * Events of the pages that stand for all, share of 2^32 (1 .. 2^32) by a hash of the pfn, one of
 * order 0 for each such page of an event's block.  pages[i] is the i-th, places[i] how many events
 * come before the one that it is of; the first room of them are written.  How many there are;
 * PGSTE_E_ARG: a share, or an event as for pgste_trace_summarize.  After an error what is written
 * may be half done.
 */
int64_t pgste_trace_share(const uint64_t *events, uint64_t nr, uint64_t share, uint64_t *pages,
			  uint64_t *places, uint64_t room);

/* ---- decoding ---- */

enum pgste_text_format {
	PGSTE_TEXT_UNKNOWN = 0, PGSTE_TEXT_FTRACE, PGSTE_TEXT_TRACE_CMD, PGSTE_TEXT_PERF
};

#define PGSTE_DECODE_STATS(X)                                                                \
	X(lines)	/* lines read, those of comments included */                          \
	X(comments)	/* comment, header and blank lines */                                 \
	X(events)	/* alloc and free events decoded */                                   \
	X(batched)	/* mm_page_free_batched lines, skipped */                             \
	X(other)	/* other events, and lines of call stacks below events, skipped */    \
	X(failed)	/* failed allocs (no page: pfn 0 or -1), skipped */                   \
	X(backwards)	/* events older than the one above, which take its time */            \
	X(lost)		/* events that the tracer says it lost, as far as it counts them */   \
	X(lost_lines)	/* lines or ring-buffer pages that say so */

struct pgste_decode_stats {
	PGSTE_DECODE_STATS(PGSTE_STATS_FIELD)
};
const char *pgste_decode_stats_name(unsigned i);

struct pgste_decoder;
int pgste_decoder_new(struct pgste_decoder **decoder);
void pgste_decoder_free(struct pgste_decoder *decoder);
/*
 * Decode the next bytes of ftrace, perf script or trace-cmd text.  Only whole lines are
 * taken: *used tells how many bytes, and the rest must be given again with more behind it.
 * Pieces may end anywhere.  end: these are the last bytes; text that ends without a newline
 * is cut off, and so an error, as is a line of more than 64 KiB.  Writes at most max events
 * and their times (ns, never going back) and stops when there is room for no more: then
 * *used < nr_bytes and the call is to be repeated.  No line of an event has fewer than
 * PGSTE_MIN_EVENT_LINE bytes.
 * Returns the events written, or PGSTE_E_FORMAT; pgste_decoder_error then has the number of
 * the line and the reason, what the call wrote is undefined, and every later call gives
 * the same error.
 */
#define PGSTE_MIN_EVENT_LINE 38u
int64_t pgste_decoder_feed(struct pgste_decoder *decoder, const char *bytes, size_t nr_bytes,
			   bool end, uint64_t *events, uint64_t *times_ns, uint64_t max,
			   size_t *used);
enum pgste_text_format pgste_decoder_format(const struct pgste_decoder *decoder);
void pgste_decoder_get_stats(const struct pgste_decoder *decoder, struct pgste_decode_stats *stats);
const char *pgste_decoder_error(const struct pgste_decoder *decoder, uint64_t *line);

/*
 * Ring-buffer pages of the kernel's tracer (kernel/trace/ring_buffer.c).  A page is what one
 * read of page_bytes from per_cpu/cpuN/trace_pipe_raw gives, and what trace.dat holds for
 * each CPU, one after another: a header (time stamp in bytes 0-7, commit: bytes of data in
 * the page, with flags for lost events) and commit bytes of records from data_offset on.
 * A short read leaves the rest of the page undefined, which is not looked at.
 * The layout comes from events/header_page and the format files of the events; an id of -1
 * says that there is no such event.  A pfn has 4 or 8 bytes, the others 1, 2, 4 or 8.
 */
struct pgste_ring_format {
	int32_t id_alloc, id_free, id_free_batched;
	uint32_t common_type_offset, common_type_bytes;
	uint32_t alloc_pfn_offset, alloc_pfn_bytes, alloc_order_offset, alloc_order_bytes;
	uint32_t free_pfn_offset, free_pfn_bytes, free_order_offset, free_order_bytes;
	uint32_t page_bytes;			    /* size of one ring-buffer page */
	uint32_t commit_offset, commit_bytes, data_offset; /* of header_page */
	bool big_endian;
};
/*
 * Decode one page: events written (at most max), their times as the trace clock gave them
 * (ns for the clocks "local", "global", "mono", "boot").  stats is added to: events,
 * batched, other, failed, lost, lost_lines.  PGSTE_E_FORMAT with *error_offset the byte
 * within the page; PGSTE_E_ARG if format makes no sense, or if max cannot hold a page's worth
 * (page_bytes / 8).  After an error the arrays are undefined and stats is as it was.
 */
int64_t pgste_ring_decode(const struct pgste_ring_format *format, const void *page,
			  uint64_t *events, uint64_t *times_ns, uint64_t max,
			  struct pgste_decode_stats *stats, size_t *error_offset);

PGSTE_END

#endif
