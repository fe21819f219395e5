/* SPDX-License-Identifier: MIT */
/* The mechanisms, by name and one by one; guest/guest.h says what a mechanism is. */
#ifndef MECH_MECH_H
#define MECH_MECH_H

#include "guest/guest.h"

extern const struct mech mech_none, mech_cmma, mech_madv_dontneed, mech_madv_free, mech_reporting;

#endif
