/* SPDX-License-Identifier: MIT */
/* A check that ends the program: for tests whose next step makes no sense after one that failed. */
#ifndef CHECK_OR_EXIT_H
#define CHECK_OR_EXIT_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(x) do {                                                                        \
		if (!(x)) {                                                                  \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);              \
			exit(1);                                                             \
		}                                                                            \
	} while (0)

#endif
