/* SPDX-License-Identifier: MIT */
/* The memory slots that a new guest has, and their end; pgste/slots.h has what changes them. */
#ifndef GUEST_SLOTS_H
#define GUEST_SLOTS_H

struct pgste_guest;
struct pgste_guest_config;

/* The slots that the configuration wants: PGSTE_OK or as pgste_slot_add. */
int slots_init(struct pgste_guest *guest, const struct pgste_guest_config *config);
void slots_exit(struct pgste_guest *guest);

#endif
