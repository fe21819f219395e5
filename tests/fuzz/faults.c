/* SPDX-License-Identifier: MIT */
/* See faults.h.  Linked with -Wl,--wrap for each function here. */
#include "faults.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fuzz.h"

#define MOST_IN_HEAP (UINT64_C(1) << 22)
#define MOST_TABLES 256u

void *__real_malloc(size_t size);
void *__real_calloc(size_t nr, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_table_new(uint64_t nr_bytes);
void __real_table_free(void *table, uint64_t nr_bytes);
int __real_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*run)(void *),
			  void *data);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t nr, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_table_new(uint64_t nr_bytes);
void __wrap_table_free(void *table, uint64_t nr_bytes);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*run)(void *),
			  void *data);

/* Threads of a scan make tables too. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned countdown;
static bool failed;
static struct table {
	void *at;
	uint64_t nr_bytes;
} tables[MOST_TABLES];
static uint64_t nr_tables;

void faults_arm(unsigned nth)
{
	countdown = nth;
	failed = false;
}

bool faults_disarm(void)
{
	countdown = 0;
	return failed;
}

uint64_t faults_nr_tables(void)
{
	return nr_tables;
}

static bool fails(void)
{
	bool now;

	pthread_mutex_lock(&lock);
	if (countdown > 1)
		countdown--;
	else if (countdown == 1)
		failed = true;
	now = countdown == 1 && failed;
	pthread_mutex_unlock(&lock);
	return now;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t nr, size_t size)
{
	return fails() ? NULL : __real_calloc(nr, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails() ? NULL : __real_realloc(old, size);
}

int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attr, void *(*run)(void *),
			  void *data)
{
	return fails() ? 11 : __real_pthread_create(id, attr, run, data);
}

static void *heap_table(uint64_t nr_bytes)
{
	void *table = NULL;

	if (posix_memalign(&table, 4096, (size_t)nr_bytes))
		return NULL;
	return memset(table, 0, (size_t)nr_bytes);
}

void *__wrap_table_new(uint64_t nr_bytes)
{
	void *table;

	if (fails())
		return NULL;
	table = nr_bytes <= MOST_IN_HEAP ? heap_table(nr_bytes) : __real_table_new(nr_bytes);
	if (!table)
		return NULL;
	pthread_mutex_lock(&lock);
	REQUIRE(nr_tables < MOST_TABLES);
	tables[nr_tables++] = (struct table){ table, nr_bytes };
	pthread_mutex_unlock(&lock);
	return table;
}

void __wrap_table_free(void *table, uint64_t nr_bytes)
{
	uint64_t i = 0;

	if (!table)
		return;
	pthread_mutex_lock(&lock);
	while (i < nr_tables && tables[i].at != table)
		i++;
	REQUIRE(i < nr_tables && tables[i].nr_bytes == nr_bytes);
	tables[i] = tables[--nr_tables];
	pthread_mutex_unlock(&lock);
	if (nr_bytes <= MOST_IN_HEAP)
		free(table);
	else
		__real_table_free(table, nr_bytes);
}
