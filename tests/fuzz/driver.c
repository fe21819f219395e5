/* SPDX-License-Identifier: MIT */
/*
 * Runs a harness where the compiler has no libFuzzer:
 *
 *	HARNESS [-runs=N] [-max_total_time=SECONDS] [-seed=N] [-max_len=N] [-timeout=SECONDS]
 *		[-artifact_prefix=PREFIX] [FOLDER or FILE...]
 *
 * All files are run as they are, then changed ones, N of them or until the time is over.  The
 * changes follow from the seed alone.  Without coverage nothing is kept; before a changed input
 * is run it is written to PREFIX + "current", which stays if the run ends in an abort, or in an
 * alarm because an input took more than the timeout.
 */
#include "fuzz.h"

#include <dirent.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct file {
	uint8_t *bytes;
	size_t size;
};

static struct file *files;
static size_t nr_files;
static uint64_t runs, seconds, seed = 1, max_len = 4096, timeout = 20;
static const char *prefix = "./";

static void load_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct file f = { .bytes = block_of_size((size_t)max_len + 1) };

	REQUIRE(file != NULL);
	f.size = fread(f.bytes, 1, (size_t)max_len, file);
	fclose(file);
	files = realloc(files, (nr_files + 1) * sizeof(*files));
	REQUIRE(files != NULL);
	files[nr_files++] = f;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void load(const char *path)
{
	struct dirent **entries;
	struct stat st;
	char name[4096];
	int n;

	REQUIRE(stat(path, &st) == 0);
	if (!S_ISDIR(st.st_mode)) {
		load_file(path);
		return;
	}
	n = scandir(path, &entries, NULL, by_name);
	REQUIRE(n >= 0);
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			load(name);
		free(entries[i]);
	}
	free(entries);
}

/* One change: a bit, a byte, a number, a run doubled, removed or moved, another file's end. */
static size_t change(uint8_t *bytes, size_t size, uint64_t *chance)
{
	static const uint8_t interesting[] = { 0, 1, 2, 10, 31, 32, 58, 127, 128, 240, 254, 255 };
	const size_t room = (size_t)max_len, at = size ? draw(chance, size) : 0;
	size_t run = 1 + draw(chance, 24);
	const struct file *other;

	run = run < size - at ? run : size - at;
	switch (size ? draw(chance, 7) : 6) {
	case 0: bytes[at] ^= (uint8_t)(1u << draw(chance, 8)); return size;
	case 1: bytes[at] = interesting[draw(chance, sizeof(interesting))]; return size;
	case 2: bytes[at] = (uint8_t)(bytes[at] + draw(chance, 9) - 4); return size;
	case 3:
		run = run < room - size ? run : room - size;
		memmove(bytes + at + run, bytes + at, size - at);
		return size + run;
	case 4:
		memmove(bytes + at, bytes + at + run, size - at - run);
		return size - run;
	case 5: memmove(bytes + draw(chance, size - run + 1), bytes + at, run); return size;
	default:
		if (!nr_files && size < room)
			bytes[size++] = (uint8_t)draw(chance, 256);
		if (!nr_files)
			return size;
		other = &files[draw(chance, nr_files)];
		run = other->size ? draw(chance, other->size) : 0; /* from there on */
		if (other->size - run > room - at)
			return size;
		memcpy(bytes + at, other->bytes + run, other->size - run);
		return at + other->size - run;
	}
}

static void write_current(const char *name, const uint8_t *bytes, size_t size)
{
	FILE *file = fopen(name, "wb");

	REQUIRE(file != NULL && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
}

static void run_one(const uint8_t *bytes, size_t size)
{
	uint8_t *exact = block_of_size(size);

	if (size)
		memcpy(exact, bytes, size);
	alarm((unsigned)timeout);
	LLVMFuzzerTestOneInput(exact, size);
	alarm(0);
	free(exact);
}

static void run_changed(const char *current)
{
	const time_t end = time(NULL) + (time_t)seconds;
	uint8_t *bytes = block_of_size((size_t)max_len + 1);
	uint64_t done, chance = seed | 1;
	size_t size;

	for (done = 0; (!runs || done < runs) && (!seconds || time(NULL) < end); done++) {
		const struct file *f = nr_files ? &files[draw(&chance, nr_files)] : NULL;

		size = f ? f->size : 0;
		if (size)
			memcpy(bytes, f->bytes, size);
		for (uint64_t n = 1 + draw(&chance, 5); n--;)
			size = change(bytes, size, &chance);
		write_current(current, bytes, size);
		run_one(bytes, size);
	}
	free(bytes);
	printf("stat::number_of_executed_units: %llu\n", (unsigned long long)(done + nr_files));
}

static bool option(const char *arg, const char *name, uint64_t *value)
{
	const size_t n = strlen(name);

	if (strncmp(arg, name, n))
		return false;
	*value = strtoull(arg + n, NULL, 10);
	return true;
}

int main(int argc, char **argv)
{
	static const char artifact[] = "-artifact_prefix=";
	char current[4096];

	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], artifact, sizeof(artifact) - 1))
			prefix = argv[i] + sizeof(artifact) - 1;
		else if (!option(argv[i], "-runs=", &runs) && !option(argv[i], "-seed=", &seed) &&
			 !option(argv[i], "-max_len=", &max_len) &&
			 !option(argv[i], "-timeout=", &timeout) &&
			 !option(argv[i], "-max_total_time=", &seconds) && argv[i][0] != '-')
			load(argv[i]);
	if (!runs && !seconds)
		runs = 1000;
	snprintf(current, sizeof(current), "%scurrent", prefix);
	for (size_t i = 0; i < nr_files; i++) {
		write_current(current, files[i].bytes, files[i].size);
		run_one(files[i].bytes, files[i].size);
	}
	run_changed(current);
	remove(current);
	for (size_t i = 0; i < nr_files; i++)
		free(files[i].bytes);
	free(files);
	return 0;
}
