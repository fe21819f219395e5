/* SPDX-License-Identifier: MIT */
/*
 * Decoder of page allocator events in text: cuts it into whole lines, keeps what is known so
 * far, and makes sure that time does not go back.  line.c has the formats.
 */
#include "trace/trace.h"

#include <stdlib.h>
#include <string.h>

#define MAX_LINE_BYTES 65536

int64_t pgste_decoder_feed(struct pgste_decoder *decoder, const char *bytes, size_t nr_bytes,
			   bool end, uint64_t *events, uint64_t *times_ns, uint64_t max,
			   size_t *used)
{
	const char *p = bytes, *stop = bytes + nr_bytes, *newline, *line_end;
	struct line_event line;
	enum line_kind kind;
	uint64_t nr = 0;

	*used = 0;
	if (decoder->error)
		return PGSTE_E_FORMAT;
	while (p < stop && nr < max && !watch_stops_at(decoder->stats.lines)) {
		newline = memchr(p, '\n', (size_t)(stop - p));
		line_end = newline ? newline : stop;
		if (line_end - p > MAX_LINE_BYTES || (!newline && end)) {
			decoder->stats.lines++;
			decoder->error = line_end - p > MAX_LINE_BYTES ?
					 "line is longer than 65536 bytes" :
					 "line is cut off: the text ends without a newline";
			return PGSTE_E_FORMAT;
		}
		if (!newline)
			break;
		if (line_end > p && line_end[-1] == '\r')
			line_end--;
		kind = parse_line(decoder, p, line_end, &line);
		if (kind == LINE_BAD)
			return PGSTE_E_FORMAT;
		p = newline + 1;
		if (kind == LINE_SKIP)
			continue;
		if (line.time < decoder->last_time)
			decoder->stats.backwards++;
		else
			decoder->last_time = line.time;
		events[nr] = line.event;
		times_ns[nr++] = decoder->last_time;
	}
	decoder->stats.events += nr;
	*used = (size_t)(p - bytes);
	return (int64_t)nr;
}

int pgste_decoder_new(struct pgste_decoder **decoder)
{
	*decoder = calloc(1, sizeof(**decoder));
	return *decoder ? PGSTE_OK : PGSTE_E_NOMEM;
}

void pgste_decoder_free(struct pgste_decoder *decoder)
{
	free(decoder);
}

enum pgste_text_format pgste_decoder_format(const struct pgste_decoder *decoder)
{
	return decoder->format;
}

void pgste_decoder_get_stats(const struct pgste_decoder *decoder, struct pgste_decode_stats *stats)
{
	*stats = decoder->stats;
}

const char *pgste_decoder_error(const struct pgste_decoder *decoder, uint64_t *line)
{
	if (line)
		*line = decoder->error ? decoder->stats.lines : 0;
	return decoder->error;
}

const char *pgste_decode_stats_name(unsigned i)
{
#define NAME(field) #field,
	static const char *const names[] = { PGSTE_DECODE_STATS(NAME) };
#undef NAME

	return i < sizeof(names) / sizeof(*names) ? names[i] : NULL;
}
