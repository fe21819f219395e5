/* SPDX-License-Identifier: MIT */
/*
 * Memory that is locked (VM_LOCKED), as QEMU's is with -overcommit mem-lock=on: mlockall, which
 * faults every page in.  Reclaim passes it over, and madvise fails with EINVAL (mm/madvise.c:
 * madvise_dontneed_free_valid_vma, for MADV_PAGEOUT can_madv_lru_vma).  A hole in a file is punched
 * all the same.
 *
 * The kernel has such folios on the unevictable list; here they stay on the lists that they are
 * on, and whoever comes to one puts it back.  docs/model.md, "Locked memory".
 */
#include "memory/memory.h"

int mm_lock(struct mm *mm)
{
	const struct pgste_gfns all = { .first = 0, .nr = mm->nr_pages };
	const uint32_t zero = 0;
	int error;

	/* a page is unevictable as soon as it is there */
	mm->mlocked = true;
	mm->host->nr_mlocked++;
	error = mm_write(mm, &all, &zero, 0);
	for (uint64_t gfn = 0; !error && mm->two.bits && gfn < mm->nr_pages; gfn++)
		pte_set_apart(mm, gfn);
	return error;
}
