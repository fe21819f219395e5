/* SPDX-License-Identifier: MIT */
/* The PTE layer of the dat generation (arch/s390/kvm/dat.c, gmap.c). */
#include "memory/pte_layer.h"

const struct pte_ops pte_ops_dat = { .notify_bits = 0 };
