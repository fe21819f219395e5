/* SPDX-License-Identifier: MIT */
/*
 * Live memory: a mapping of this process that is treated as a guest's memory with the real
 * madvise(2), process_madvise(2), loads and stores.  The system call surface of the library
 * is this file and residency.c.  Facts: madvise(2), process_madvise(2), mlock2(2), and
 * madvise_vma_behavior of mm/madvise.c for which mapping refuses which advice.
 */
#include "live/live.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define HUGE_BYTES ((size_t)2 << 20)
#define VECTOR_RUNS 256

/* Newer than the headers of some C libraries. */
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif

uint64_t live_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- the mapping -------------------------------------------------------------------- */

/*
 * Map bytes at a multiple of align, followed by a page without access: the kernel would merge
 * two such mappings side by side, and smaps could not tell them apart.
 */
static void *map_aligned(size_t bytes, size_t align, size_t guard, int prot, int flags)
{
	unsigned char *start, *base;
	size_t head, tail;

	start = mmap(NULL, bytes + guard + align, PROT_NONE, flags, -1, 0);
	if (start == MAP_FAILED)
		return MAP_FAILED;
	head = (align - (uintptr_t)start % align) % align;
	tail = align - head;
	base = start + head;
	if (head)
		munmap(start, head);
	if (tail)
		munmap(base + bytes + guard, tail);
	if (mprotect(base, bytes, prot)) {
		munmap(base, bytes + guard);
		return MAP_FAILED;
	}
	return base;
}

/*
 * Of a page of the pool: 2 MiB on x86-64, 1 MiB on s390x, up to 512 MiB on aarch64.  munmap
 * takes whole ones only.
 */
static size_t pool_page_bytes(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	if (!file)
		return HUGE_BYTES;
	while (!kib && fgets(line, sizeof(line), file))
		if (sscanf(line, "Hugepagesize: %llu kB", &kib) != 1)
			kib = 0;
	fclose(file);
	return kib ? (size_t)kib << 10 : HUGE_BYTES;
}

static void *map_backing(const struct pgste_live_config *config, struct pgste_live *live)
{
	int prot = PROT_READ | PROT_WRITE;
	size_t bytes = live->map_bytes, huge;

	switch (config->backing) {
	case PGSTE_LIVE_SHARED:
		return mmap(NULL, bytes, prot, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	case PGSTE_LIVE_FILE:
		return mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_NORESERVE, config->fd, 0);
	case PGSTE_LIVE_HUGETLB:
		/* Not NORESERVE: the pool must have the pages, or a store would be SIGBUS. */
		huge = pool_page_bytes();
		bytes = (bytes + huge - 1) / huge * huge;
		live->map_bytes = bytes;
		live->nr_pages = bytes / live->page_bytes;
		return mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	case PGSTE_LIVE_ANONYMOUS:
		break;
	}
	live->guard_bytes = live->page_bytes;
	return map_aligned(bytes, HUGE_BYTES, live->guard_bytes, prot,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
}

/* The choices that are made once for the whole mapping. */
static int set_up(struct pgste_live *live, enum pgste_live_backing backing)
{
	/* A child's copy of the page tables would make pages shared, and madvise skips those. */
	if (madvise(live->base, live->map_bytes, MADV_DONTFORK))
		return PGSTE_OS_ERROR(errno);
	/* A kernel without huge pages refuses this with EINVAL, which loses nothing. */
	if (backing != PGSTE_LIVE_HUGETLB)
		madvise(live->base, live->map_bytes, MADV_NOHUGEPAGE);
	return PGSTE_OK;
}

int pgste_live_new(const struct pgste_live_config *config, struct pgste_live **out)
{
	struct pgste_live *live;
	long page_bytes = sysconf(_SC_PAGESIZE);
	void *base;
	int ret;

	if (config->nr_pages == 0 || config->nr_pages > PGSTE_MAX_PAGES ||
	    (unsigned)config->backing > PGSTE_LIVE_HUGETLB || page_bytes <= 0)
		return PGSTE_E_ARG;
	if (config->nr_pages > (SIZE_MAX - HUGE_BYTES) / (size_t)page_bytes)
		return PGSTE_OS_ERROR(ENOMEM);
	live = calloc(1, sizeof(*live));
	if (!live)
		return PGSTE_E_NOMEM;
	live->page_bytes = (size_t)page_bytes;
	live->pid = getpid();
	live->nr_pages = config->nr_pages;
	live->map_bytes = (size_t)config->nr_pages * live->page_bytes;
	live->pagemap = live->kpageflags = -1;
	live->vector = live->scan = true;
	base = map_backing(config, live);
	if (base == MAP_FAILED) {
		ret = PGSTE_OS_ERROR(errno);
		free(live);
		return ret;
	}
	live->base = base;
	ret = set_up(live, config->backing);
	if (ret) {
		pgste_live_free(live);
		return ret;
	}
	*out = live;
	return PGSTE_OK;
}

void pgste_live_free(struct pgste_live *live)
{
	if (!live)
		return;
	/* In a child its addresses (MADV_DONTFORK) may be those of somebody else by now. */
	if (live->pid == getpid())
		munmap(live->base, live->map_bytes + live->guard_bytes);
	if (live->pagemap >= 0)
		close(live->pagemap);
	if (live->kpageflags >= 0)
		close(live->kpageflags);
	free(live);
}

uint64_t pgste_live_pages(const struct pgste_live *live)
{
	return live->nr_pages;
}

uint64_t pgste_live_page_bytes(const struct pgste_live *live)
{
	return live->page_bytes;
}

void *pgste_live_base(const struct pgste_live *live)
{
	return live->base;
}

int pgste_live_lock(struct pgste_live *live)
{
	if (syscall(SYS_mlock2, live->base, live->map_bytes, MLOCK_ONFAULT))
		return PGSTE_OS_ERROR(errno);
	return PGSTE_OK;
}

int pgste_live_lock_others(struct pgste_live *live)
{
	int error;

	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		return PGSTE_OS_ERROR(errno);
	if (!munlock(live->base, live->map_bytes))
		return PGSTE_OK;
	error = errno;
	munlockall();
	return PGSTE_OS_ERROR(error);
}

void pgste_live_allow(struct pgste_live *live, bool vector, bool scan)
{
	live->vector = vector;
	live->scan = scan;
}

/* ---- madvise ------------------------------------------------------------------------ */

int live_madvise(struct pgste_live *live, uint64_t gfn, uint64_t nr, int advice)
{
	if (madvise(live->base + gfn * live->page_bytes, nr * live->page_bytes, advice))
		return PGSTE_OS_ERROR(errno);
	return PGSTE_OK;
}

/* One process_madvise on ourselves: bytes done, or -1 if the kernel does not do this. */
static ssize_t advise_vector(const struct iovec *runs, size_t nr, int advice)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	ssize_t done;

	if (pidfd < 0)
		return -1;
	done = syscall(SYS_process_madvise, pidfd, runs, nr, advice, 0);
	close(pidfd);
	return done;
}

/*
 * Advise all runs.  What a vectored call leaves undone goes through madvise run by run, so that
 * errno is that of the run.  (An old kernel lets a process give itself few kinds of advice; a
 * refused run ends the call.)
 */
static int advise_runs(struct pgste_live *live, const struct iovec *runs, size_t nr, int advice,
		       struct pgste_live_cost *cost)
{
	uint64_t gfn, pages;
	size_t done = 0;
	ssize_t bytes;
	int ret;

	if (live->vector && nr > 1) {
		bytes = advise_vector(runs, nr, advice);
		cost->calls++;
		if (bytes < 0)
			live->vector = errno != ENOSYS && errno != EPERM;
		for (; done < nr && bytes >= (ssize_t)runs[done].iov_len; done++) {
			bytes -= (ssize_t)runs[done].iov_len;
			cost->pages += runs[done].iov_len / live->page_bytes;
		}
	}
	for (; done < nr; done++) {
		gfn = (uint64_t)((unsigned char *)runs[done].iov_base - live->base) /
		      live->page_bytes;
		pages = runs[done].iov_len / live->page_bytes;
		ret = live_madvise(live, gfn, pages, advice);
		cost->calls++;
		if (ret) {
			cost->failed_gfn = gfn;
			cost->failed_pages = pages;
			return ret;
		}
		cost->pages += pages;
	}
	return PGSTE_OK;
}

int64_t pgste_live_advise(struct pgste_live *live, const struct pgste_gfns *gfns, unsigned order,
			  int advice, struct pgste_live_cost *cost)
{
	struct iovec runs[VECTOR_RUNS];
	size_t block_bytes, nr = 0;
	unsigned char *at;
	uint64_t i, start, gfn;
	int ret = PGSTE_OK;

	if (order > PGSTE_MAX_ORDER)
		return PGSTE_E_ARG;
	if (!live_has(live, gfns, order))
		return PGSTE_E_GFN;
	block_bytes = live->page_bytes << order;
	*cost = (struct pgste_live_cost){ 0 };
	start = live_clock();
	for (i = 0; i < gfns->nr && !ret; i++) {
		if (!gfn_get(gfns, i, live_limit(live, order), &gfn)) {
			ret = PGSTE_E_CHANGED;
			break;
		}
		at = live->base + gfn * live->page_bytes;
		if (nr && (unsigned char *)runs[nr - 1].iov_base + runs[nr - 1].iov_len == at) {
			runs[nr - 1].iov_len += block_bytes;
			continue;
		}
		if (nr == VECTOR_RUNS) {
			ret = advise_runs(live, runs, nr, advice, cost);
			nr = 0;
		}
		runs[nr++] = (struct iovec){ at, block_bytes };
	}
	if (!ret && nr)
		ret = advise_runs(live, runs, nr, advice, cost);
	cost->ns = live_clock() - start;
	return ret ? ret : (int64_t)cost->pages;
}

/* ---- loads and stores --------------------------------------------------------------- */

static int check_words(const struct pgste_live *live, const struct pgste_gfns *gfns,
		       unsigned offset, unsigned nr_words)
{
	if (offset % sizeof(uint32_t) || nr_words > live->page_bytes / sizeof(uint32_t) ||
	    offset > live->page_bytes - nr_words * sizeof(uint32_t))
		return PGSTE_E_ARG;
	return live_has(live, gfns, 0) ? PGSTE_OK : PGSTE_E_GFN;
}

int pgste_live_store(struct pgste_live *live, const struct pgste_gfns *gfns, unsigned offset,
		     const uint32_t *words, unsigned word_step, struct pgste_live_cost *cost)
{
	int ret = check_words(live, gfns, offset, 1);
	uint64_t i, start, gfn;

	if (ret)
		return ret;
	start = live_clock();
	for (i = 0; i < gfns->nr; i++) {
		if (!gfn_get(gfns, i, live->nr_pages, &gfn))
			return PGSTE_E_CHANGED;
		*(volatile uint32_t *)(void *)(live->base + gfn * live->page_bytes + offset) =
			words[i * word_step];
	}
	if (cost)
		*cost = (struct pgste_live_cost){ .pages = gfns->nr,
						  .ns = live_clock() - start };
	return PGSTE_OK;
}

int pgste_live_load(struct pgste_live *live, const struct pgste_gfns *gfns, unsigned offset,
		    uint32_t *words, unsigned nr_words, struct pgste_live_cost *cost)
{
	int ret = check_words(live, gfns, offset, nr_words);
	const volatile uint32_t *page;
	uint64_t i, start, gfn;
	unsigned w;

	if (ret)
		return ret;
	start = live_clock();
	for (i = 0; i < gfns->nr; i++) {
		if (!gfn_get(gfns, i, live->nr_pages, &gfn))
			return PGSTE_E_CHANGED;
		page = (const volatile uint32_t *)(void *)(live->base + gfn * live->page_bytes +
							   offset);
		for (w = 0; w < nr_words; w++)
			words[i * nr_words + w] = page[w];
	}
	if (cost)
		*cost = (struct pgste_live_cost){ .pages = gfns->nr,
						  .ns = live_clock() - start };
	return PGSTE_OK;
}
