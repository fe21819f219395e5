/* SPDX-License-Identifier: MIT */
/*
 * What the harnesses share: bytes of the input as numbers, and a check that stops the fuzzer.
 * Each harness is a file (api: a folder) with LLVMFuzzerTestOneInput(), and runs under libFuzzer
 * or under driver.c.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition) require(condition, #condition, __FILE__, __LINE__)

static inline void require(bool holds, const char *condition, const char *file, int line)
{
	if (holds)
		return;
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
	abort();
}

/* The input, taken from its start; what is missing at its end reads as zeros. */
struct input {
	const uint8_t *at, *end;
};

static inline uint64_t take(struct input *in, unsigned nr_bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < nr_bytes && in->at < in->end; i++)
		value |= (uint64_t)*in->at++ << 8 * i;
	return value;
}

static inline uint8_t take_byte(struct input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

/* A number below n, of one byte, or two where that is not enough. */
static inline uint64_t take_below(struct input *in, uint64_t n)
{
	return take(in, n > 256 ? 2 : 1) % n;
}

/* Zeros, in a block of just this size, so that the sanitizer sees a step over its end. */
static inline void *block_of_size(size_t nr_bytes)
{
	void *block = calloc(1, nr_bytes);

	REQUIRE(block || !nr_bytes);
	return block;
}

/* A number that follows from the bytes alone: FNV-1a. */
static inline uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t nr_bytes)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < nr_bytes; i++)
		hash = (hash ^ b[i]) * UINT64_C(0x100000001b3);
	return hash;
}
#define HASH_START UINT64_C(0xcbf29ce484222325)

/* xorshift: choices that follow from a number that is not 0. */
static inline uint64_t draw(uint64_t *state, uint64_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state % below;
}

#endif
