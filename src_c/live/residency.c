/* SPDX-License-Identifier: MIT */
/*
 * What the kernel says about the pages of a live mapping, without touching them:
 * /proc/self/pagemap and its ioctl PAGEMAP_SCAN (Linux 6.7), /proc/kpageflags (root), and
 * mincore(2).  Facts: Documentation/admin-guide/mm/pagemap.rst.
 */
#include "live/live.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define AT_ONCE 512 /* pages looked at in one go */

/* An entry of /proc/self/pagemap. */
#define PM_PRESENT (UINT64_C(1) << 63)
#define PM_SWAPPED (UINT64_C(1) << 62)
#define PM_EXCLUSIVE (UINT64_C(1) << 56)
#define PM_PFN ((UINT64_C(1) << 55) - 1)

/* An entry of /proc/kpageflags. */
#define KPF_WRITEBACK (UINT64_C(1) << 8)
#define KPF_ANON (UINT64_C(1) << 12)
#define KPF_SWAPCACHE (UINT64_C(1) << 13)
#define KPF_SWAPBACKED (UINT64_C(1) << 14)
#define KPF_ZERO_PAGE (UINT64_C(1) << 24)

/* The ioctl, as its users' interface has it since 6.7; older headers lack it. */
#define SCAN_PRESENT (UINT64_C(1) << 3)
#define SCAN_SWAPPED (UINT64_C(1) << 4)
#define SCAN_PFNZERO (UINT64_C(1) << 5)
#define SCAN_HUGE (UINT64_C(1) << 6)

struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags;
	uint64_t start, end, walk_end;
	uint64_t vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)

/*
 * Regions of [*gfn, end) with any of the categories: how many, and *gfn is where the scan
 * stopped; -1 where the kernel has no such ioctl.
 */
static int scan(struct pgste_live *live, uint64_t *gfn, uint64_t end, uint64_t categories,
		struct scan_region *regions, unsigned max)
{
	uint64_t base = (uint64_t)(uintptr_t)live->base;
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = base + *gfn * live->page_bytes,
		.end = base + end * live->page_bytes,
		.vec = (uint64_t)(uintptr_t)regions,
		.vec_len = max,
		.category_anyof_mask = categories,
		.return_mask = SCAN_PRESENT | SCAN_SWAPPED | SCAN_PFNZERO | SCAN_HUGE,
	};
	int nr;

	if (!live->scan)
		return -1;
	nr = ioctl(live->pagemap, SCAN_IOCTL, &arg);
	if (nr < 0) {
		live->scan = false;
		return -1;
	}
	*gfn = (arg.walk_end - base) / live->page_bytes;
	return nr;
}

/* A file that is opened when it is first needed. */
static int open_once(int *fd, const char *path)
{
	if (*fd < 0)
		*fd = open(path, O_RDONLY | O_CLOEXEC);
	return *fd < 0 ? PGSTE_OS_ERROR(errno) : PGSTE_OK;
}

static int read_at(int fd, void *buffer, size_t bytes, uint64_t offset)
{
	ssize_t done = pread(fd, buffer, bytes, (off_t)offset);

	if (done == (ssize_t)bytes)
		return PGSTE_OK;
	return PGSTE_OS_ERROR(done < 0 ? errno : EIO);
}

/* ---- states of a run ---------------------------------------------------------------- */

static void add_scan_bits(struct pgste_live *live, uint64_t first, unsigned nr, uint8_t *states)
{
	struct scan_region regions[64];
	uint64_t base = (uint64_t)(uintptr_t)live->base, gfn = first, end, page;
	int i, found;

	while (gfn < first + nr) {
		found = scan(live, &gfn, first + nr, SCAN_PFNZERO | SCAN_HUGE, regions, 64);
		if (found < 0)
			return;
		for (i = 0; i < found; i++) {
			page = (regions[i].start - base) / live->page_bytes;
			end = (regions[i].end - base) / live->page_bytes;
			for (; page < end; page++) {
				if (regions[i].categories & SCAN_PFNZERO)
					states[page - first] |= PGSTE_LIVE_ZERO;
				if (regions[i].categories & SCAN_HUGE &&
				    states[page - first] & PGSTE_LIVE_PRESENT)
					states[page - first] |= PGSTE_LIVE_HUGE;
			}
		}
	}
}

static int add_kernel_flags(struct pgste_live *live, const uint64_t *entries, unsigned nr,
			    uint8_t *states)
{
	uint64_t flags;
	unsigned i;
	int ret = open_once(&live->kpageflags, "/proc/kpageflags");

	if (ret)
		return ret;
	for (i = 0; i < nr; i++) {
		if (!(entries[i] & PM_PRESENT))
			continue;
		/* The file hides frame numbers from users without privilege. */
		if (!(entries[i] & PM_PFN))
			return PGSTE_OS_ERROR(EPERM);
		ret = read_at(live->kpageflags, &flags, sizeof(flags),
			      (entries[i] & PM_PFN) * sizeof(flags));
		if (ret)
			return ret;
		if (flags & KPF_ZERO_PAGE)
			states[i] |= PGSTE_LIVE_ZERO;
		else if (flags & KPF_ANON && !(flags & KPF_SWAPBACKED))
			states[i] |= PGSTE_LIVE_LAZYFREE;
		if (flags & KPF_SWAPCACHE)
			states[i] |= PGSTE_LIVE_SWAPCACHE;
		if (flags & KPF_WRITEBACK)
			states[i] |= PGSTE_LIVE_WRITEBACK;
	}
	return PGSTE_OK;
}

static int run_states(struct pgste_live *live, uint64_t first, unsigned nr, uint8_t *states,
		      bool flags)
{
	uint64_t entries[AT_ONCE];
	unsigned i;
	int ret = open_once(&live->pagemap, "/proc/self/pagemap");

	if (ret)
		return ret;
	ret = read_at(live->pagemap, entries, nr * sizeof(entries[0]),
		      ((uint64_t)(uintptr_t)live->base / live->page_bytes + first) *
			      sizeof(entries[0]));
	if (ret)
		return ret;
	for (i = 0; i < nr; i++) {
		states[i] = 0;
		if (entries[i] & PM_PRESENT)
			states[i] = PGSTE_LIVE_PRESENT;
		else if (entries[i] & PM_SWAPPED)
			states[i] = PGSTE_LIVE_SWAPPED;
		if (entries[i] & PM_PRESENT && entries[i] & PM_EXCLUSIVE)
			states[i] |= PGSTE_LIVE_EXCLUSIVE;
	}
	add_scan_bits(live, first, nr, states);
	return flags ? add_kernel_flags(live, entries, nr, states) : PGSTE_OK;
}

/*
 * How many gfns from i on are consecutive, at most AT_ONCE, and the first of them; 0: it is not
 * inside the mapping any more.
 */
static unsigned run_at(const struct pgste_live *live, const struct pgste_gfns *gfns, uint64_t i,
		       uint64_t *first)
{
	unsigned nr = 1;
	uint64_t gfn;

	if (!gfn_get(gfns, i, live->nr_pages, first))
		return 0;
	while (nr < AT_ONCE && i + nr < gfns->nr && gfn_get(gfns, i + nr, live->nr_pages, &gfn) &&
	       gfn == *first + nr)
		nr++;
	return nr;
}

int pgste_live_states(struct pgste_live *live, const struct pgste_gfns *gfns, uint8_t *states,
		      bool flags)
{
	int ret = live_has(live, gfns, 0) ? PGSTE_OK : PGSTE_E_GFN;
	uint64_t i, first;
	unsigned nr;

	for (i = 0; i < gfns->nr && !ret; i += nr) {
		nr = run_at(live, gfns, i, &first);
		ret = nr ? run_states(live, first, nr, states + i, flags) : PGSTE_E_CHANGED;
	}
	return ret;
}

static int run_resident(struct pgste_live *live, uint64_t first, unsigned nr, uint8_t *resident)
{
	if (mincore(live->base + first * live->page_bytes, nr * live->page_bytes, resident))
		return PGSTE_OS_ERROR(errno);
	for (unsigned k = 0; k < nr; k++)
		resident[k] &= 1;
	return PGSTE_OK;
}

int pgste_live_mincore(struct pgste_live *live, const struct pgste_gfns *gfns, uint8_t *resident)
{
	int ret = live_has(live, gfns, 0) ? PGSTE_OK : PGSTE_E_GFN;
	uint64_t i, first;
	unsigned nr;

	for (i = 0; i < gfns->nr && !ret; i += nr) {
		nr = run_at(live, gfns, i, &first);
		ret = nr ? run_resident(live, first, nr, resident + i) : PGSTE_E_CHANGED;
	}
	return ret;
}

/* ---- the whole mapping -------------------------------------------------------------- */

static void count_region(struct pgste_live_counts *counts, uint64_t categories, uint64_t pages)
{
	if (categories & SCAN_PFNZERO)
		counts->zero += pages;
	else if (categories & SCAN_PRESENT) {
		counts->present += pages;
		counts->huge += categories & SCAN_HUGE ? pages : 0;
	} else if (categories & SCAN_SWAPPED)
		counts->swapped += pages;
}

static int count_by_states(struct pgste_live *live, struct pgste_live_counts *counts)
{
	uint8_t states[AT_ONCE];
	uint64_t first;
	unsigned nr, i;
	int ret;

	*counts = (struct pgste_live_counts){ 0 };
	for (first = 0; first < live->nr_pages; first += nr) {
		nr = AT_ONCE;
		if (live->nr_pages - first < AT_ONCE)
			nr = (unsigned)(live->nr_pages - first);
		ret = run_states(live, first, nr, states, false);
		if (ret)
			return ret;
		for (i = 0; i < nr; i++) {
			counts->present += states[i] & PGSTE_LIVE_PRESENT;
			counts->swapped += states[i] & PGSTE_LIVE_SWAPPED ? 1 : 0;
		}
	}
	return PGSTE_OK;
}

int pgste_live_count(struct pgste_live *live, struct pgste_live_counts *counts)
{
	struct scan_region regions[AT_ONCE];
	uint64_t gfn = 0;
	int i, nr, ret = open_once(&live->pagemap, "/proc/self/pagemap");

	*counts = (struct pgste_live_counts){ 0 };
	if (ret)
		return ret;
	while (gfn < live->nr_pages) {
		nr = scan(live, &gfn, live->nr_pages, SCAN_PRESENT | SCAN_SWAPPED, regions,
			  AT_ONCE);
		if (nr < 0)
			return count_by_states(live, counts);
		for (i = 0; i < nr; i++)
			count_region(counts, regions[i].categories,
				     (regions[i].end - regions[i].start) / live->page_bytes);
	}
	return PGSTE_OK;
}
