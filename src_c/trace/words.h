/* SPDX-License-Identifier: MIT */
/*
 * Words and numbers in a line of text.  Each line ends in '\n' (or in "\r\n"), which none of
 * these steps over: that byte is the bound of every scan.
 */
#ifndef TRACE_WORDS_H
#define TRACE_WORDS_H

#include "base/base.h"
#include "pgste/trace.h"

#include <string.h>

#define NSEC_PER_SEC UINT64_C(1000000000)

#define STARTS(p, end, literal) \
	((size_t)((end) - (p)) >= sizeof(literal) - 1 && !memcmp(p, literal, sizeof(literal) - 1))

static inline bool is_digit(char c)
{
	return (unsigned char)(c - '0') < 10;
}

static inline const char *skip_blanks(const char *p)
{
	while (*p == ' ')
		p++;
	return p;
}

static inline const char *skip_digits(const char *p)
{
	while (is_digit(*p))
		p++;
	return p;
}

/* A decimal number of 19 digits at most; NULL if there is none or it is longer. */
static inline const char *parse_decimal(const char *p, uint64_t *value)
{
	const char *start = p;
	uint64_t n = 0;

	for (; is_digit(*p); p++)
		n = n * 10 + (uint64_t)(*p - '0');
	*value = n;
	return p == start || p - start > 19 ? NULL : p;
}

static inline unsigned hex_digit(char c)
{
	if (is_digit(c))
		return (unsigned)(c - '0');
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

/* "0x" and at most 16 hexadecimal digits, or decimal. */
static inline const char *parse_pfn(const char *p, uint64_t *value)
{
	const char *start;
	uint64_t n = 0;
	unsigned digit;

	if (p[0] != '0' || (p[1] | 0x20) != 'x')
		return parse_decimal(p, value);
	p += 2;
	for (start = p; (digit = hex_digit(*p)) < 16; p++)
		n = n << 4 | digit;
	*value = n;
	return p == start || p - start > 16 ? NULL : p;
}

/* "seconds.fraction:", 1 to 9 digits of fraction; "number:" for clocks that only count. */
static inline const char *parse_time(const char *p, uint64_t *time)
{
	static const uint32_t scale[10] = { 0, 100000000, 10000000, 1000000, 100000, 10000,
					    1000, 100, 10, 1 };
	uint64_t seconds, fraction;
	const char *dot = parse_decimal(p, &seconds);

	if (!dot)
		return NULL;
	if (*dot == ':') {
		*time = seconds;
		return dot + 1;
	}
	if (*dot != '.' || seconds > UINT64_MAX / NSEC_PER_SEC - 1)
		return NULL;
	p = parse_decimal(dot + 1, &fraction);
	if (!p || p - dot > 10 || *p != ':')
		return NULL;
	*time = seconds * NSEC_PER_SEC + fraction * scale[p - dot - 1];
	return p + 1;
}

#endif
