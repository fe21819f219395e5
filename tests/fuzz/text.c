/* SPDX-License-Identifier: MIT */
/*
 * The decoder of trace text.  The input is the text itself.  Promised is:
 *
 *  - text in pieces, cut anywhere, gives what text at once gives, errors included;
 *  - no byte outside a piece is read, no event beyond the room given is written;
 *  - only whole lines are taken, and neither room that is used up nor a call that is told to end
 *    early loses anything;
 *  - every event that comes out is one, time never goes back, and the counters add up;
 *  - after an error every later call gives the same error.
 *
 * Two bytes 1 stand for a run of 'x' that makes their line about as long as a line may be.
 */
#include "fuzz.h"

#include "pgste.h"

#define LONG_RUN 65400u /* with the byte that follows: around 65,536 */
#define MOST_TEXT 8192u

struct result {
	uint64_t *events, *times, nr, line;
	const char *reason;
	enum pgste_text_format format;
	struct pgste_decode_stats stats;
};

/* How text is cut: into pieces of at most piece bytes, decoded into room for at most room. */
struct cut {
	size_t piece;
	uint64_t room, chance;
	bool ends; /* calls are told to end early, now and then */
};

/* Whoever is asked; a no stays one until the call has ended. */
struct asked {
	uint64_t chance;
	bool no;
};

static bool go_on(void *data)
{
	struct asked *asked = data;

	asked->no |= draw(&asked->chance, 4) == 0;
	return !asked->no;
}

static void check_feed(const char *piece, size_t size, size_t used, int64_t nr, uint64_t room)
{
	REQUIRE(used <= size);
	REQUIRE(nr >= 0 && (uint64_t)nr <= room);
	REQUIRE(used == 0 || piece[used - 1] == '\n');
	REQUIRE((uint64_t)nr * PGSTE_MIN_EVENT_LINE <= used);
}

/* One call with blocks of just the right size; *used as it says. */
static int64_t feed(struct pgste_decoder *decoder, const char *text, size_t size, bool end,
		    struct result *r, uint64_t room, size_t *used)
{
	char *piece = block_of_size(size);
	uint64_t *events = block_of_size(room * sizeof(*events));
	uint64_t *times = block_of_size(room * sizeof(*times));
	int64_t nr;

	if (size)
		memcpy(piece, text, size);
	nr = pgste_decoder_feed(decoder, piece, size, end, events, times, room, used);
	if (nr >= 0)
		check_feed(piece, size, *used, nr, room);
	if (nr > 0) {
		memcpy(r->events + r->nr, events, (size_t)nr * sizeof(*events));
		memcpy(r->times + r->nr, times, (size_t)nr * sizeof(*times));
		r->nr += (uint64_t)nr;
	}
	free(piece);
	free(events);
	free(times);
	return nr;
}

static void decode(const char *text, size_t size, struct cut cut, struct result *r)
{
	struct asked asked = { .chance = cut.chance };
	const struct pgste_watch watch = { .go_on = go_on, .data = &asked };
	struct pgste_decoder *decoder;
	size_t start = 0, stop = 0, used;
	int64_t nr = 0;

	r->nr = 0;
	pgste_set_watch(cut.ends ? &watch : NULL);
	REQUIRE(pgste_decoder_new(&decoder) == PGSTE_OK);
	while (start < size) {
		const uint64_t room = cut.room ? draw(&cut.chance, cut.room + 1) : size;

		if (stop < size && nr == 0)
			stop += cut.piece ? 1 + draw(&cut.chance, cut.piece) : size;
		stop = stop < size ? stop : size;
		asked.no = false;
		nr = feed(decoder, text + start, stop - start, stop == size, r, room, &used);
		if (nr < 0)
			break;
		start += used;
		/* with room left, the last piece is taken whole */
		REQUIRE(stop < size || start == size || (uint64_t)nr == room || asked.no);
		if ((uint64_t)nr < room && !asked.no)
			nr = 0;
		else
			nr = 1; /* maybe there is more in this piece */
	}
	pgste_set_watch(NULL);
	r->reason = pgste_decoder_error(decoder, &r->line);
	r->format = pgste_decoder_format(decoder);
	REQUIRE((nr < 0) == (r->reason != NULL) && (nr >= 0 || nr == PGSTE_E_FORMAT));
	REQUIRE(nr >= 0 || feed(decoder, "#\n", 2, false, r, 1, &used) == PGSTE_E_FORMAT);
	REQUIRE(nr >= 0 || pgste_decoder_error(decoder, NULL) == r->reason);
	pgste_decoder_get_stats(decoder, &r->stats);
	pgste_decoder_free(decoder);
}

static void check_result(const struct result *r, const char *text, size_t size)
{
	const struct pgste_decode_stats *s = &r->stats;
	uint64_t lines = 0;

	for (uint64_t i = 0; i < r->nr; i++) {
		const uint64_t blocks = UINT64_C(1) << PGSTE_EVENT_ORDER(r->events[i]);

		REQUIRE(PGSTE_EVENT_KIND(r->events[i]) <= PGSTE_EVENT_FREE);
		REQUIRE(PGSTE_EVENT_ORDER(r->events[i]) <= PGSTE_MAX_ORDER);
		REQUIRE(PGSTE_EVENT_PFN(r->events[i]) + blocks <= UINT64_C(1) << 56);
		REQUIRE(i == 0 || r->times[i] >= r->times[i - 1]);
	}
	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n';
	if (r->reason) {
		REQUIRE(r->line == s->lines && s->lines >= 1 && s->lines <= lines + 1);
		return;
	}
	REQUIRE(s->lines == lines && s->events == r->nr && s->backwards <= r->nr);
	REQUIRE(s->comments + s->events + s->batched + s->other + s->failed + s->lost_lines ==
		lines);
}

static void compare(const struct result *whole, const struct result *parts)
{
	REQUIRE(whole->reason == parts->reason && whole->line == parts->line);
	REQUIRE(whole->format == parts->format);
	if (whole->reason) {
		/* how far a call comes that fails is its own business */
		REQUIRE(whole->stats.lines == parts->stats.lines);
		return;
	}
	REQUIRE(whole->nr == parts->nr);
	REQUIRE(!whole->nr || !memcmp(whole->events, parts->events, whole->nr * 8));
	REQUIRE(!whole->nr || !memcmp(whole->times, parts->times, whole->nr * 8));
	REQUIRE(!memcmp(&whole->stats, &parts->stats, sizeof(whole->stats)));
}

/* The first two bytes 1 as a long run, whose length the next byte has a say in; a new block. */
static char *expand(const uint8_t *data, size_t *size)
{
	const uint8_t *mark = memmem(data, *size, "\1\1", 2);
	const size_t before = mark ? (size_t)(mark - data) : *size;
	const size_t run = !mark ? 0 : LONG_RUN + (before + 2 < *size ? mark[2] : 0u);
	char *text = block_of_size(*size + run);

	if (*size) {
		memcpy(text, data, before);
		memset(text + before, 'x', run);
		memcpy(text + before + run, data + before, *size - before);
	}
	*size += run;
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct result whole = { 0 }, parts = { 0 };
	const uint64_t chance = hash_bytes(HASH_START, data, size) | 1;
	const struct cut at_once = { 0, 0, 1, false };
	char *text;

	if (size > MOST_TEXT)
		return -1;
	text = expand(data, &size);
	whole.events = block_of_size(8 * (size + 1));
	whole.times = block_of_size(8 * (size + 1));
	parts.events = block_of_size(8 * (size + 1));
	parts.times = block_of_size(8 * (size + 1));
	decode(text, size, at_once, &whole);
	check_result(&whole, text, size);
	decode(text, size, (struct cut){ size, 2, chance, false }, &parts);
	compare(&whole, &parts);
	decode(text, size, (struct cut){ 1 + size / 16, 0, chance + 2, true }, &parts);
	compare(&whole, &parts);
	if (size <= 400) {
		decode(text, size, (struct cut){ 1, 1, chance, false }, &parts);
		compare(&whole, &parts);
	}
	free(whole.events);
	free(whole.times);
	free(parts.events);
	free(parts.times);
	free(text);
	return 0;
}
