/* SPDX-License-Identifier: MIT */
/* Storage keys of the dat generation (arch/s390/kvm/dat.c). */
#include "guest/skey_ops.h"

const struct skey_ops skey_ops_dat = { .set = NULL };
