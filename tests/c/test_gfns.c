/* SPDX-License-Identifier: MIT */
/*
 * Gfns that a call takes a batch or a run at a time, against loops over single elements.  Nothing
 * that is told may be outside, whatever the array has, as calls do not look again.
 */
#include "base/base.h"
#include "check.h"

#define MOST 700u

static const enum pgste_gfn_type types[] = {
	PGSTE_GFN_U8,  PGSTE_GFN_U16, PGSTE_GFN_U32, PGSTE_GFN_U64, PGSTE_GFN_I8,
	PGSTE_GFN_I16, PGSTE_GFN_I32, PGSTE_GFN_I64, PGSTE_GFN_RANGE,
};

static uint64_t seed = 88172645463325252u;

static uint64_t draw(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

/* The element as a gfn: what is negative is beyond every limit. */
static void put(enum pgste_gfn_type type, void *data, unsigned i, uint64_t value)
{
	switch (type) {
	case PGSTE_GFN_U8: ((uint8_t *)data)[i] = (uint8_t)value; break;
	case PGSTE_GFN_U16: ((uint16_t *)data)[i] = (uint16_t)value; break;
	case PGSTE_GFN_U32: ((uint32_t *)data)[i] = (uint32_t)value; break;
	case PGSTE_GFN_U64: ((uint64_t *)data)[i] = value; break;
	case PGSTE_GFN_I8: ((int8_t *)data)[i] = (int8_t)value; break;
	case PGSTE_GFN_I16: ((int16_t *)data)[i] = (int16_t)value; break;
	case PGSTE_GFN_I32: ((int32_t *)data)[i] = (int32_t)value; break;
	case PGSTE_GFN_I64: ((int64_t *)data)[i] = (int64_t)value; break;
	case PGSTE_GFN_RANGE: break;
	}
}

/* Runs of a step that wrap where the type does, and single values, some of them outside. */
static void fill(enum pgste_gfn_type type, void *data, unsigned nr, uint64_t step, uint64_t limit)
{
	uint64_t value = 0;
	unsigned left = 0;

	for (unsigned i = 0; i < nr; i++, value += step, left -= left != 0) {
		if (!left) {
			left = (unsigned)draw(draw(2) ? 3 : 200) + 1;
			value = draw(limit + limit / 4 + 2);
		}
		put(type, data, i, value);
	}
}

static void try_take(const struct pgste_gfns *gfns, uint64_t i, uint64_t limit)
{
	uint64_t batch[GFN_BATCH];
	const unsigned taken = gfns_take(gfns, i, limit, batch);
	const uint64_t fit = min_u64(gfns->nr - i, GFN_BATCH - i % GFN_BATCH);
	unsigned right = 0;

	while (right < fit && gfn_unbounded(gfns->type, gfns, i + right) < limit)
		right++;
	CHECK(taken == right);
	for (unsigned k = 0; k < taken; k++)
		CHECK(batch[k] == gfn_unbounded(gfns->type, gfns, i + k) && batch[k] < limit);
}

static void try_run(const struct pgste_gfns *gfns, uint64_t i, uint64_t most, uint64_t step,
		    uint64_t limit)
{
	uint64_t first = 0, right = 0;
	const uint64_t run = gfns_run(gfns, i, most, step, limit, &first);
	const uint64_t start = gfn_unbounded(gfns->type, gfns, i);

	while (right < most && i + right < gfns->nr && start + right * step < limit &&
	       gfn_unbounded(gfns->type, gfns, i + right) == start + right * step)
		right++;
	CHECK(first == start);
	/* of short ones, and of a range by another step than its own, nobody needs all */
	if (gfns->type == PGSTE_GFN_RANGE && step != 1)
		CHECK(run <= right);
	else
		CHECK(run == right || (run == 0 && right < 32));
}

int main(void)
{
	static uint64_t data[MOST];

	for (unsigned round = 0; round < 20000; round++) {
		struct pgste_gfns gfns = { .type = types[draw(9)], .data = data };
		const uint64_t limit = draw(2) ? draw(120) + 1 : draw(2000) + 1;
		const uint64_t step = draw(2) ? 1 : UINT64_C(1) << draw(4);
		uint64_t i;

		gfns.nr = draw(MOST) + 1;
		gfns.first = draw(limit + 1);
		fill(gfns.type, data, (unsigned)gfns.nr, step, limit);
		i = draw(gfns.nr);
		try_take(&gfns, i, limit);
		try_run(&gfns, i, draw(2) ? draw(300) + 1 : UINT64_MAX, step, limit);
	}
	if (!failures)
		printf("test_gfns: passed\n");
	return checks_failed();
}
