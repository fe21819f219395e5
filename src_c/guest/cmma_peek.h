/* SPDX-License-Identifier: MIT */
/* PEEK: values of pages, dirty or not. */
#ifndef GUEST_CMMA_PEEK_H
#define GUEST_CMMA_PEEK_H

#include "guest/guest.h"

/*
 * How many values, 0 if there is none to be had: up to the first hole (pgtable, dat_new), or as
 * v7.0 walks its tables.
 */
uint64_t peek_to_hole(const struct pgste_guest *guest, uint64_t start, uint64_t room,
		      uint8_t *values);
uint64_t peek_dat(const struct pgste_guest *guest, uint64_t start, uint64_t room, uint8_t *values);

#endif
