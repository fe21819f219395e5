/* SPDX-License-Identifier: MIT */
/* The sentences of enum pgste_error. */
#include <errno.h>

#include "base/base.h"

static const char *const sentences[] = {
	[PGSTE_OK] = "no error",
	[-PGSTE_E_NOMEM] = "this machine has no memory for the model",
	[-PGSTE_E_ARG] = "an argument is out of range",
	[-PGSTE_E_GFN] = "a gfn lies outside the guest",
	[-PGSTE_E_STATE] = "free of a free page, or alloc of an allocated one",
	[-PGSTE_E_NO_FRAME] = "the host is out of frames and reclaim finds nothing to take",
	[-PGSTE_E_NO_SWAP] = "the host has no free swap slot",
	[-PGSTE_E_FOREIGN] = "the page's PTE was loaded and names no memory of the host",
	[-PGSTE_E_BUSY] = "the host still has guests",
	[-PGSTE_E_NAME] = "unknown or unsupported name",
	[-PGSTE_E_FORMAT] = "the trace is damaged",
	[-PGSTE_E_PGM_OPERATION] = "operation exception: CMMA is not enabled for the guest",
	[-PGSTE_E_PGM_PRIVILEGED] = "privileged-operation exception: problem state",
	[-PGSTE_E_PGM_ADDRESSING] = "addressing exception: outside every memory slot",
	[-PGSTE_E_PGM_SPECIFICATION] = "specification exception: no such operation request code",
	[-PGSTE_E_CHANGED] = "an array was changed by somebody else during the call",
	[-PGSTE_E_CANCELLED] = "the call was told to end early",
	[-PGSTE_E_KVM_NXIO] = "ENXIO: CMMA is not enabled",
	[-PGSTE_E_KVM_INVAL] = "EINVAL: the kernel takes no such argument now",
	[-PGSTE_E_KVM_FAULT] = "EFAULT: a page lies outside every memory slot",
	[-PGSTE_E_KVM_BUSY] = "EBUSY: a virtual CPU exists already",
	[-PGSTE_E_KVM_EXIST] = "EEXIST: the memory slot would overlap another one",
	[-PGSTE_E_PGM_DISCARD] = "page discarded: the host no longer has the volatile page",
};

const char *pgste_strerror(int error)
{
	if (error > 0 || error < PGSTE_E_LAST)
		return "unknown error";
	return sentences[-error];
}

unsigned pgste_pgm_code(int error)
{
	switch (error) {
	case PGSTE_E_PGM_OPERATION: return 0x0001;
	case PGSTE_E_PGM_PRIVILEGED: return 0x0002;
	case PGSTE_E_PGM_ADDRESSING: return 0x0005;
	case PGSTE_E_PGM_SPECIFICATION: return 0x0006;
	case PGSTE_E_PGM_DISCARD: return 0x001a;
	default: return 0;
	}
}

int pgste_kvm_errno(int error)
{
	switch (error) {
	case PGSTE_E_KVM_NXIO: return ENXIO;
	case PGSTE_E_KVM_INVAL: return EINVAL;
	case PGSTE_E_KVM_FAULT: return EFAULT;
	case PGSTE_E_KVM_BUSY: return EBUSY;
	case PGSTE_E_KVM_EXIST: return EEXIST;
	default: return 0;
	}
}
