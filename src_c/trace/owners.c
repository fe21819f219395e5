/* SPDX-License-Identifier: MIT */
/* Memory of the table of owners: buckets that double, slabs of chunks that never move. */
#include "trace/owners.h"

#define MIN_BITS 10u
#define MIN_SLAB UINT64_C(1024) /* chunks */
#define MOST_FOR_EVENT 64u /* bytes */

static uint64_t bucket_bytes(unsigned bits)
{
	return (UINT64_C(1) << bits) * sizeof(struct bucket);
}

/* Chunks of a slab: as many as all before it have. */
static uint64_t slab_chunks(unsigned slab)
{
	return slab ? MIN_SLAB << (slab - 1) : MIN_SLAB;
}

static uint64_t slab_bytes(unsigned slab)
{
	return slab_chunks(slab) * CHUNK_PAGES;
}

int owners_init(struct owners *owners, uint64_t max_chunks)
{
	*owners = (struct owners){ .bits = MIN_BITS, .max_chunks = max_chunks };
	owners->buckets = table_new(bucket_bytes(MIN_BITS));
	return owners->buckets ? PGSTE_OK : PGSTE_E_NOMEM;
}

int owners_for(struct owners *owners, uint64_t lowest, uint64_t highest, uint64_t nr_events)
{
	const uint64_t nr = highest - lowest + 1;

	if (highest < lowest || nr / MOST_FOR_EVENT >= nr_events ||
	    highest / CHUNK_PAGES - lowest / CHUNK_PAGES + 1 > owners->max_chunks)
		return PGSTE_OK;
	owners->all = table_new(nr);
	owners->base = lowest;
	owners->nr_all = nr;
	return owners->all ? PGSTE_OK : PGSTE_E_NOMEM;
}

void owners_exit(struct owners *owners)
{
	table_free(owners->all, owners->nr_all);
	for (unsigned i = 0; i < owners->nr_slabs; i++)
		table_free(owners->slabs[i], slab_bytes(i));
	table_free(owners->buckets, bucket_bytes(owners->bits));
}

static bool grow(struct owners *owners)
{
	struct bucket *old = owners->buckets;
	const uint64_t nr = UINT64_C(1) << owners->bits;
	struct bucket *buckets = table_new(bucket_bytes(owners->bits + 1));

	if (!buckets)
		return false;
	owners->buckets = buckets;
	owners->bits++;
	for (uint64_t i = 0; i < nr; i++)
		if (old[i].pages)
			*owners_find(owners, old[i].number) = old[i];
	table_free(old, bucket_bytes(owners->bits - 1));
	return true;
}

const struct bucket *owners_add(struct owners *owners, uint64_t number)
{
	const uint64_t at = owners->nr_chunks;
	const unsigned slab = at < MIN_SLAB ? 0 : 64u - (unsigned)__builtin_clzll(at / MIN_SLAB);
	const uint64_t first = slab ? slab_chunks(slab) : 0;
	struct bucket *bucket;

	owners->full = at == owners->max_chunks;
	if (owners->full)
		return NULL;
	if (2 * at >= UINT64_C(1) << owners->bits && !grow(owners))
		return NULL;
	if (slab == owners->nr_slabs) {
		owners->slabs[slab] = table_new(slab_bytes(slab));
		if (!owners->slabs[slab])
			return NULL;
		owners->nr_slabs++;
	}
	bucket = owners_find(owners, number);
	bucket->number = number;
	bucket->pages = owners->slabs[slab] + (at - first) * CHUNK_PAGES;
	owners->nr_chunks++;
	return bucket;
}
