/* SPDX-License-Identifier: MIT */
/*
 * Lines of page allocator events: the "trace" and "trace_pipe" files of ftrace, "perf script"
 * and "trace-cmd report".  Formats as printed by kernel/trace/trace_output.c,
 * include/trace/events/kmem.h, tools/perf/builtin-script.c and libtraceevent:
 *
 *   ftrace     "%16s-%-7d [(%7d) ][%03d] [flags ]%12s: event: fields"
 *   trace-cmd  "%16s-%-5d [%03d] [flags ]%12s: event:   fields"
 *   perf       "%16s %7d [%03d] %12s: system:event: fields"
 *
 * A task name may hold anything, but has 15 bytes at most, so that the separator before the
 * pid is at column 16.  Text that lost its padding is searched for the separator instead.
 */
#include "trace/trace.h"
#include "trace/words.h"

#include <string.h>

#define COMM_COLUMNS 16
/* Kernels print 4 to 8 flags.  Unbounded, "-1[1]-1[1]..." would be scanned once for each "-". */
#define MAX_FLAGS 32

/*
 * The line from the separator before the pid on: up to and with the ':' after the time.
 * Returns what follows, NULL if this is not the header of an event.
 */
static const char *parse_header(const char *p, char separator, uint64_t *time)
{
	const char *pid;

	if (*p++ != separator)
		return NULL;
	if (separator == ' ')
		p = skip_blanks(p);
	pid = p;
	p = skip_digits(p);
	if (p == pid)
		return NULL;
	if (separator == ' ' && *p == '/')	/* perf script -F pid,tid */
		p = skip_digits(p + 1);
	p = skip_blanks(p);
	if (*p == '(') {			/* ftrace option record-tgid */
		for (p++; *p == ' ' || *p == '-' || is_digit(*p); p++)
			;
		if (*p++ != ')')
			return NULL;
		p = skip_blanks(p);
	}
	if (*p != '[' || !is_digit(p[1]))
		return NULL;
	p = skip_digits(p + 1);
	if (*p != ']')
		return NULL;
	p = skip_blanks(p + 1);
	if (!is_digit(*p)) {			/* irq-info; never starts with a digit */
		const char *flags = p;

		while (*p > ' ' && p - flags < MAX_FLAGS)
			p++;
		p = skip_blanks(p);
	}
	return parse_time(p, time);
}

/* Find the header: at the column where the tools put it, else wherever it is whole. */
static const char *find_header(struct pgste_decoder *decoder, const char *line, const char *end,
			       uint64_t *time, char *separator)
{
	static const char separators[] = { '-', ' ' };
	bool perf = decoder->format == PGSTE_TEXT_PERF;
	bool known = decoder->format != PGSTE_TEXT_UNKNOWN;
	const char *p, *rest;
	unsigned i;

	for (i = 0; i < 2; i++) {
		*separator = separators[i];
		if ((known && perf != (*separator == ' ')) || end - line <= COMM_COLUMNS)
			continue;
		rest = parse_header(line + COMM_COLUMNS, *separator, time);
		if (rest)
			return rest;
	}
	for (p = line + 1; p < end; p++) {
		*separator = *p;
		if (*p != '-' && (*p != ' ' || p[-1] == ' '))
			continue;
		if (known && perf != (*p == ' '))
			continue;
		rest = parse_header(p, *p, time);
		if (rest)
			return rest;
	}
	return NULL;
}

static enum line_kind bad(struct pgste_decoder *decoder, const char *reason)
{
	decoder->error = reason;
	return LINE_BAD;
}

/* "page=X pfn=Y order=Z", and for an alloc more; p is behind "mm_page_alloc:" or "_free:". */
static enum line_kind parse_fields(struct pgste_decoder *decoder, const char *p, const char *end,
				   enum pgste_event_kind kind, struct line_event *out)
{
	uint64_t pfn, order;

	p = skip_blanks(p);
	if (STARTS(p, end, "page=")) {
		for (p += 5; (unsigned char)*p > ' '; p++)
			;
		p = skip_blanks(p);
	}
	if (!STARTS(p, end, "pfn="))
		return bad(decoder, "no pfn= where it should be");
	p = parse_pfn(p + 4, &pfn);
	if (!p || *p != ' ')
		return bad(decoder, "pfn is not a number");
	p = skip_blanks(p);
	if (!STARTS(p, end, "order="))
		return bad(decoder, "no order= after pfn");
	p = parse_decimal(p + 6, &order);
	if (!p || (*p != ' ' && p != end))
		return bad(decoder, "order is not a number");
	p = skip_blanks(p);
	if (kind == PGSTE_EVENT_ALLOC) {
		if (!STARTS(p, end, "migratetype="))
			return bad(decoder, "no migratetype= after order");
		p = skip_blanks(skip_digits(p + 12));
		if (!STARTS(p, end, "gfp_flags=") || end - p == 10)
			return bad(decoder, "no gfp_flags= after migratetype");
	} else if (p != end) {
		return bad(decoder, "text after the order of a free");
	}
	if (order > PGSTE_MAX_ORDER)
		return bad(decoder, "order is above 39");
	if (pfn >> 56 || (pfn + (UINT64_C(1) << order)) > UINT64_C(1) << 56)
		return bad(decoder, "block reaches above pfn 2^56");
	if (kind == PGSTE_EVENT_ALLOC && !pfn) {
		decoder->stats.failed++;
		return LINE_SKIP;
	}
	out->event = PGSTE_EVENT(kind, order, pfn);
	return LINE_EVENT;
}

/* "PERF_RECORD_LOST lost 7", "PERF_RECORD_LOST_SAMPLES lost 7" (perf --show-lost-events). */
static enum line_kind perf_lost(struct pgste_decoder *decoder, const char *p, const char *end)
{
	uint64_t lost;

	while (p < end && !is_digit(*p))
		p++;
	if (parse_decimal(p, &lost))
		decoder->stats.lost += lost;
	decoder->stats.lost_lines++;
	return LINE_SKIP;
}

/*
 * "CPU:1 [LOST 403 EVENTS]" and "CPU:1 [LOST EVENTS]" of ftrace, "CPU:1 [403 EVENTS DROPPED]"
 * and "CPU:1 [EVENTS DROPPED]" of trace-cmd; p is behind "CPU:".
 */
static enum line_kind cpu_lost(struct pgste_decoder *decoder, const char *p, const char *end)
{
	uint64_t lost = 0;
	const char *number;
	bool ftrace;

	number = skip_digits(p);
	if (number == p || !STARTS(number, end, " ["))
		return bad(decoder, "not a line of a trace");
	p = number + 2;
	ftrace = STARTS(p, end, "LOST ");
	if (ftrace)
		p += 5;
	number = parse_decimal(p, &lost);
	if (number)
		p = skip_blanks(number);
	if (ftrace ? !STARTS(p, end, "EVENTS]") : !STARTS(p, end, "EVENTS DROPPED]"))
		return bad(decoder, "damaged line of lost events");
	if (decoder->format == PGSTE_TEXT_UNKNOWN)
		decoder->format = ftrace ? PGSTE_TEXT_FTRACE : PGSTE_TEXT_TRACE_CMD;
	decoder->stats.lost += lost;
	decoder->stats.lost_lines++;
	return LINE_SKIP;
}

/* A line of a call stack: "=> function" (ftrace), tab and "address function" (perf). */
static bool is_call_stack(const char *line, const char *p, const char *end)
{
	const char *address = p;

	if (STARTS(p, end, "=> "))
		return true;
	while (hex_digit(*p) < 16)
		p++;
	return *line == '\t' && p > address && (*p == ' ' || p == end);
}

/* Lines that are no event: comments, headers, lost events, call stacks. */
static enum line_kind parse_other(struct pgste_decoder *decoder, const char *line, const char *end)
{
	const char *p = line;

	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	if (p == end || *line == '#') {
		if (STARTS(line, end, "# tracer:") && decoder->format == PGSTE_TEXT_UNKNOWN)
			decoder->format = PGSTE_TEXT_FTRACE;
		decoder->stats.comments++;
		return LINE_SKIP;
	}
	if (STARTS(line, end, "CPU:"))
		return cpu_lost(decoder, line + 4, end);
	if (STARTS(line, end, "cpus=") || STARTS(line, end, "version =")) {
		if (decoder->format == PGSTE_TEXT_UNKNOWN)
			decoder->format = PGSTE_TEXT_TRACE_CMD;
		decoder->stats.comments++;
		return LINE_SKIP;
	}
	if (STARTS(p, end, "PERF_RECORD_LOST"))
		return perf_lost(decoder, p, end);
	if (decoder->in_event && is_call_stack(line, p, end)) {
		decoder->stats.other++;
		return LINE_SKIP;
	}
	if (decoder->format == PGSTE_TEXT_UNKNOWN)
		return bad(decoder, "neither ftrace, perf script nor trace-cmd report text");
	return bad(decoder, "not a line of a trace");
}

enum line_kind parse_line(struct pgste_decoder *decoder, const char *line, const char *end,
				struct line_event *out)
{
	char separator;
	const char *p;

	decoder->stats.lines++;
	p = *line == '#' || *line == 'C' ? NULL :
	    find_header(decoder, line, end, &out->time, &separator);
	if (!p)
		return parse_other(decoder, line, end);
	decoder->in_event = true;
	if (*p != ' ')
		return bad(decoder, "no event after the time");
	p = skip_blanks(p);
	if (p == end)
		return bad(decoder, "no event after the time");
	if (decoder->format == PGSTE_TEXT_UNKNOWN) {
		const char *colon = memchr(p, ':', (size_t)(end - p));

		if (separator == ' ')
			decoder->format = PGSTE_TEXT_PERF;
		else if (colon && STARTS(colon, end, ":  "))
			decoder->format = PGSTE_TEXT_TRACE_CMD;
		else
			decoder->format = PGSTE_TEXT_FTRACE;
	}
	if (STARTS(p, end, "kmem:"))
		p += 5;
	if (STARTS(p, end, "mm_page_alloc:"))
		return parse_fields(decoder, p + 14, end, PGSTE_EVENT_ALLOC, out);
	if (STARTS(p, end, "mm_page_free:"))
		return parse_fields(decoder, p + 13, end, PGSTE_EVENT_FREE, out);
	if (STARTS(p, end, "PERF_RECORD_LOST"))
		return perf_lost(decoder, p, end);
	if (STARTS(p, end, "mm_page_free_batched:"))
		decoder->stats.batched++;
	else
		decoder->stats.other++;
	return LINE_SKIP;
}
