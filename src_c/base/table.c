/* SPDX-License-Identifier: MIT */
/*
 * Memory for the big tables: zeroed by the OS and not resident until touched, so that a guest
 * of any size costs nothing until its pages are used.
 */
#include <sys/mman.h>

#include "base/base.h"

#define HUGE_BYTES (UINT64_C(2) << 20)

void *table_new(uint64_t nr_bytes)
{
	void *table;

	if (nr_bytes > (uint64_t)PTRDIFF_MAX)
		return NULL;
	table = mmap(NULL, nr_bytes ? (size_t)nr_bytes : 1, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (table == MAP_FAILED)
		return NULL;
#ifdef MADV_HUGEPAGE
	/* Random access to millions of pages is bound by the TLB; a refusal costs only speed. */
	if (nr_bytes >= 2 * HUGE_BYTES)
		(void)madvise(table, (size_t)nr_bytes, MADV_HUGEPAGE);
#endif
	return table;
}

void table_free(void *table, uint64_t nr_bytes)
{
	if (table)
		munmap(table, nr_bytes ? (size_t)nr_bytes : 1);
}
