/* SPDX-License-Identifier: MIT */
/* What every public header needs: integer types, the version, and how declarations are wrapped. */
#ifndef PGSTE_BASE_H
#define PGSTE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PGSTE_VERSION "0.1.0"

/* Around declarations: C names in C++, and exported from a library built with hidden ones. */
#ifdef __cplusplus
#define PGSTE_BEGIN_C extern "C" {
#define PGSTE_END_C }
#else
#define PGSTE_BEGIN_C
#define PGSTE_END_C
#endif
#ifdef __GNUC__
#define PGSTE_BEGIN PGSTE_BEGIN_C _Pragma("GCC visibility push(default)")
#define PGSTE_END _Pragma("GCC visibility pop") PGSTE_END_C
#else
#define PGSTE_BEGIN PGSTE_BEGIN_C
#define PGSTE_END PGSTE_END_C
#endif

struct pgste_host;
struct pgste_guest;

/* Structs of counters are built from lists X(name), whose names pgste_*_stats_name() tells. */
#define PGSTE_STATS_FIELD(name) uint64_t name;

#endif
