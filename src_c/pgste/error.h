/* SPDX-License-Identifier: MIT */
/* Error codes of every function, their sentences, and program interruption codes. */
#ifndef PGSTE_ERROR_H
#define PGSTE_ERROR_H

#include "base.h"

PGSTE_BEGIN

enum pgste_error {
	PGSTE_OK = 0,
	PGSTE_E_NOMEM = -1,	    /* this machine has no memory for the model itself */
	PGSTE_E_ARG = -2,	    /* an argument is outside its documented range */
	PGSTE_E_GFN = -3,	    /* a gfn, or the end of a block or range, outside the guest */
	PGSTE_E_STATE = -4,	    /* strict guest: free of a free page, alloc of one in use */
	PGSTE_E_NO_FRAME = -5,	    /* no free host frame and nothing that reclaim could take */
	PGSTE_E_NO_SWAP = -6,	    /* no free swap slot */
	PGSTE_E_FOREIGN = -7,	    /* the PTE, loaded by set_words, names nothing of the host */
	PGSTE_E_BUSY = -8,	    /* a host that still has guests cannot be freed */
	PGSTE_E_NAME = -9,	    /* unknown mechanism, or CPU variant unknown or not supported */
	PGSTE_E_FORMAT = -10,	    /* damaged trace; the decoder tells the line or byte */
	PGSTE_E_PGM_OPERATION = -11,	 /* program interruption 0x0001: CMMA is off */
	PGSTE_E_PGM_PRIVILEGED = -12,	 /* program interruption 0x0002: problem state */
	PGSTE_E_PGM_ADDRESSING = -13,	 /* program interruption 0x0005: outside every slot */
	PGSTE_E_PGM_SPECIFICATION = -14, /* program interruption 0x0006: no such orc */
	PGSTE_E_PGM_DISCARD = -15,	 /* program interruption 0x001a (z/VM): page discarded */
	PGSTE_E_CHANGED = -16,		 /* an array that the call reads was changed meanwhile */
	PGSTE_E_CANCELLED = -17,	 /* pgste_set_watch, or a search's go_on, said no */
	/* What KVM refuses with an errno: slots, controls and the CMMA log. */
	PGSTE_E_KVM_NXIO = -18,		 /* ENXIO: CMMA is not there, or not enabled */
	PGSTE_E_KVM_INVAL = -19,	 /* EINVAL */
	PGSTE_E_KVM_FAULT = -20,	 /* EFAULT: a page outside every memory slot */
	PGSTE_E_KVM_BUSY = -21,		 /* EBUSY: a vcpu exists */
	PGSTE_E_KVM_EXIST = -22,	 /* EEXIST: memory slots would overlap */
	PGSTE_E_LAST = -22
};

/* A fixed English sentence for an error; "unknown error" for any other number. */
const char *pgste_strerror(int error);
/* Program interruption code (1, 2, 5, 6, 0x1a) of an error, 0 if it is none. */
unsigned pgste_pgm_code(int error);
/* errno of what KVM refuses (PGSTE_E_KVM_*), 0 for any other error. */
int pgste_kvm_errno(int error);

PGSTE_END

#endif
