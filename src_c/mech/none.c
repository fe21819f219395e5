/* SPDX-License-Identifier: MIT */
/* none: the guest tells its host nothing about free pages. */
#include "mech/mech.h"

const struct mech mech_none = { .name = "none" };
