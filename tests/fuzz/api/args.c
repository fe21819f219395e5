/* SPDX-License-Identifier: MIT */
/* Arguments: near the edges, in runs, of every type, and some that are wrong. */
#include "api.h"

#define MOST_GFNS 700u

static uint64_t bad_gfn(struct world *w, const struct guest *guest)
{
	static const uint64_t bad[] = {
		0, 1, UINT64_C(1) << 31, UINT64_C(1) << 32, UINT64_C(1) << 39, UINT64_C(1) << 40,
		(UINT64_C(1) << 52) - 1, UINT64_C(1) << 52, UINT64_C(1) << 63,
		UINT64_MAX - 63, UINT64_MAX - 1, UINT64_MAX,
	};
	const uint8_t which = take_byte(&w->in);

	if (which & 1)
		return guest->nr_pages - (which >> 1) % 3 + 1;
	return bad[(which >> 1) % (sizeof(bad) / sizeof(*bad))];
}

uint64_t take_gfn(struct world *w, const struct guest *guest)
{
	const uint8_t byte = take_byte(&w->in);

	if (byte == 255)
		return bad_gfn(w, guest);
	if (guest->nr_pages < 255)
		return byte % guest->nr_pages;
	/* pages that are looked at: the first ones, the last ones, and around chunks */
	switch (byte >> 6) {
	case 0: return byte & 63;
	case 1: return guest->nr_pages - 1 - (byte & 63);
	case 2: return (UINT64_C(4096) - 16 + (byte & 63)) % guest->nr_pages;
	default: return ((uint64_t)(byte & 63) << 8 | take_byte(&w->in)) % guest->nr_pages;
	}
}

static void put_gfn(void *data, enum pgste_gfn_type type, uint64_t i, uint64_t gfn)
{
	switch (type) {
	case PGSTE_GFN_U8: case PGSTE_GFN_I8: ((uint8_t *)data)[i] = (uint8_t)gfn; break;
	case PGSTE_GFN_U16: case PGSTE_GFN_I16: ((uint16_t *)data)[i] = (uint16_t)gfn; break;
	case PGSTE_GFN_U32: case PGSTE_GFN_I32: ((uint32_t *)data)[i] = (uint32_t)gfn; break;
	default: ((uint64_t *)data)[i] = gfn; break;
	}
}

/* What an element of the type is once gfn was stored in it. */
static uint64_t as_type(enum pgste_gfn_type type, uint64_t gfn)
{
	switch (type) {
	case PGSTE_GFN_U8: return (uint8_t)gfn;
	case PGSTE_GFN_U16: return (uint16_t)gfn;
	case PGSTE_GFN_U32: return (uint32_t)gfn;
	case PGSTE_GFN_I8: return (uint64_t)(int64_t)(int8_t)(uint8_t)gfn;
	case PGSTE_GFN_I16: return (uint64_t)(int64_t)(int16_t)(uint16_t)gfn;
	case PGSTE_GFN_I32: return (uint64_t)(int64_t)(int32_t)(uint32_t)gfn;
	default: return gfn;
	}
}

/* A few runs: up, down, in steps, or one page again and again. */
static uint64_t take_runs(struct world *w, const struct guest *guest, uint64_t *values)
{
	static const uint64_t steps[] = { 1, 0, UINT64_MAX, 3 };
	const uint64_t nr_runs = take_byte(&w->in) % 5;
	uint64_t nr = 0;

	for (uint64_t run = 0; run < nr_runs; run++) {
		const uint8_t form = take_byte(&w->in);
		uint64_t length = form & 15, gfn = take_gfn(w, guest);

		length = form & 16 ? length * 16 + 1 : length;
		for (; length && nr < MOST_GFNS; length--, gfn += steps[form >> 6])
			values[nr++] = form & 32 ? gfn : gfn % guest->nr_pages;
	}
	return nr;
}

static struct gfns array(struct world *w, const struct guest *guest, enum pgste_gfn_type type,
			 uint64_t most)
{
	static const uint8_t width[] = { 0, 1, 2, 4, 8, 1, 2, 4, 8 };
	struct gfns g = { .arg = { .type = type } };

	g.values = block_of_size(MOST_GFNS * sizeof(*g.values));
	g.nr = take_runs(w, guest, g.values);
	g.nr = g.nr < most ? g.nr : most;
	g.data = block_of_size(g.nr * width[type]);
	for (uint64_t i = 0; i < g.nr; i++) {
		put_gfn(g.data, type, i, g.values[i]);
		g.values[i] = as_type(type, g.values[i]);
	}
	g.arg.data = g.data;
	g.arg.nr = g.nr;
	g.arg.first = UINT64_C(0xdeadbeef); /* not to be looked at */
	return g;
}

static struct gfns range(struct world *w, const struct guest *guest, uint64_t most)
{
	struct gfns g = { .arg = { .first = take_gfn(w, guest) } };
	const uint8_t form = take_byte(&w->in);

	if (form < 200)
		g.arg.nr = form % 80;
	else if (form < 230)
		g.arg.nr = guest->nr_pages - (g.arg.first < guest->nr_pages ? g.arg.first : 0);
	else
		g.arg.nr = bad_gfn(w, guest);
	if (g.arg.nr > most && g.arg.nr <= guest->nr_pages)
		g.arg.nr = most;
	g.nr = g.arg.nr <= guest->nr_pages ? g.arg.nr : 16; /* more is refused */
	return g;
}

static void tell(const struct guest *guest, const struct gfns *gfns)
{
	fprintf(stderr, "guest %u (%s, generation %u) type %u first %llu nr %llu:",
		pgste_guest_number(guest->g), guest->config.mechanism,
		(unsigned)guest->config.generation, (unsigned)gfns->arg.type,
		(unsigned long long)gfns->arg.first, (unsigned long long)gfns->arg.nr);
	for (uint64_t i = 0; gfns->values && i < gfns->nr && i < 20; i++)
		fprintf(stderr, " %llu", (unsigned long long)gfns->values[i]);
	fputc('\n', stderr);
}

struct gfns take_gfns(struct world *w, const struct guest *guest, unsigned order)
{
	const uint8_t form = take_byte(&w->in);
	const uint64_t most = order > 18 ? 1 : MOST_WORK >> order;
	struct gfns gfns;

	if (form % 3 == 0)
		gfns = range(w, guest, most);
	else
		gfns = array(w, guest, (enum pgste_gfn_type)(1 + form % 8), most);
	if (w->tells)
		tell(guest, &gfns);
	return gfns;
}

void gfns_free(struct gfns *gfns)
{
	free(gfns->data);
	free(gfns->values);
}

uint64_t gfn_of(const struct gfns *gfns, uint64_t i)
{
	return gfns->values ? gfns->values[i] : gfns->arg.first + i;
}

bool all_below(const struct gfns *gfns, uint64_t limit)
{
	if (!gfns->values)
		return !gfns->arg.nr || (gfns->arg.nr <= limit &&
					 gfns->arg.first <= limit - gfns->arg.nr);
	for (uint64_t i = 0; i < gfns->nr; i++)
		if (gfns->values[i] >= limit)
			return false;
	return true;
}

unsigned take_order(struct world *w)
{
	const uint8_t byte = take_byte(&w->in);

	if (byte < 128)
		return 0;
	if (byte < 220)
		return byte % 5;
	return byte == 255 ? UINT32_MAX : byte - 195u; /* 25 and up, too large ones as well */
}

uint32_t take_vcpu(struct world *w, const struct guest *guest)
{
	const uint8_t byte = take_byte(&w->in);

	if (byte < 240)
		return byte % guest->config.nr_vcpus;
	return byte == 255 ? UINT32_MAX : guest->config.nr_vcpus + byte % 3;
}

uint64_t take_time(struct world *w)
{
	static const uint64_t times[] = {
		0, 1, 2, 1000, UINT64_C(1000000), UINT64_C(1999999999), UINT64_C(2000000000),
		UINT64_C(2000000001), UINT64_C(1) << 40, PGSTE_MAX_NS / 2, PGSTE_MAX_NS - 1,
		PGSTE_MAX_NS, PGSTE_MAX_NS + 1, UINT64_C(1) << 63, UINT64_MAX - 1, UINT64_MAX,
	};

	return times[take_byte(&w->in) % 16];
}

unsigned take_threads(struct world *w)
{
	static const unsigned threads[] = { 1, 1, 1, 0, 1, 3, 1, UINT32_MAX };

	return threads[take_byte(&w->in) % 8];
}

unsigned take_step(struct world *w)
{
	const uint8_t byte = take_byte(&w->in);

	return byte < 250 ? byte & 1 : byte;
}
