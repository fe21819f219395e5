/* SPDX-License-Identifier: MIT */
/* Bare loops that benchmarks are held against; see bare.c. */
#ifndef BARE_H
#define BARE_H

#include <stdint.h>

uint64_t bare_read(const uint8_t *bytes, uint64_t nr);
void bare_write(uint8_t *bytes, uint64_t nr, uint64_t word);
void bare_change(uint8_t *bytes, uint64_t nr);
void bare_memset_blocks(uint8_t *bytes, const int64_t *starts, uint64_t nr, uint64_t block_bytes,
			 int value);
uint64_t bare_lines(const char *text, uint64_t nr);
void bare_update(uint8_t *bytes, const int64_t *gfns, uint64_t nr);
uint64_t bare_spin(uint64_t nr);
/* visits.c: different keys that came up, 0 if there is no memory. */
uint64_t bare_visits(uint64_t keys, uint64_t visits);
uint64_t bare_two_words(uint64_t *pgste, const uint64_t *pte, unsigned orc, const int64_t *gfns,
			 uint64_t nr, uint8_t *results, uint64_t *appended);
uint64_t bare_kernel_words(uint64_t *tables, unsigned orc, const int64_t *gfns, uint64_t nr,
			   uint8_t *results, uint64_t *appended);
uint64_t bare_locked_words(uint64_t *tables, unsigned orc, const int64_t *gfns, uint64_t nr,
			    uint8_t *results, uint64_t *appended);

#endif
