/* SPDX-License-Identifier: MIT */
/* What the decoder of text keeps, and the grammar of its lines. */
#ifndef TRACE_TRACE_H
#define TRACE_TRACE_H

#include "base/base.h"
#include "pgste/trace.h"

struct pgste_decoder {
	struct pgste_decode_stats stats;
	enum pgste_text_format format;
	uint64_t last_time;
	const char *error;	/* NULL: none so far */
	bool in_event;		/* call stack lines may follow */
};

/* What a line turned out to be. */
enum line_kind { LINE_SKIP = 0, LINE_EVENT = 1, LINE_BAD = -1 };

struct line_event {
	uint64_t event;
	uint64_t time;
};

/* One whole line; end is at the "\n" or "\r\n" behind it.  LINE_BAD sets decoder->error. */
enum line_kind parse_line(struct pgste_decoder *decoder, const char *line, const char *end,
				struct line_event *out);

#endif
