/* SPDX-License-Identifier: MIT */
/*
 * The storage key of the page of linear.h, from arch/s390/mm/pgtable.c (pgtable) and
 * arch/s390/kvm/dat.c (dat).  R and C here are bits of a key: 4 and 2.
 */
#ifndef LINEAR_KEYS_H
#define LINEAR_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#define KEY_R 0x04u
#define KEY_C 0x02u
#define KEY_RC 0x06u
#define KEY_AF 0xf8u

/* What a call on a key is given, as the argument of its step. */
#define WITH_MR 0x100u
#define WITH_MC 0x200u

struct keys_now {
	uint8_t pgste;	 /* ACC, F, GR, GC, as a key */
	uint8_t host;	 /* HR, HC, as R and C */
	uint8_t real;	 /* the frame's; 0 if the page has none */
	uint8_t changed; /* pgtable: UC; dat: soft dirty of the guest's PTE */
};

static unsigned key_seen(const struct keys_now *k, bool valid)
{
	return valid ? k->real | (k->pgste & KEY_RC) : k->pgste;
}

static void key_put(struct keys_now *k, unsigned key)
{
	const uint8_t was = k->pgste;

	k->pgste = (uint8_t)(key & (KEY_AF | KEY_RC));
	k->changed |= k->pgste != was;
}

static void key_set_step(struct keys_now *k, bool valid, unsigned key)
{
	key_put(k, key);
	if (!valid)
		return;
	k->host |= k->real & KEY_RC;
	k->real = (uint8_t)(key & KEY_AF);
}

/* rc << 8 | the old key, or 0 where the kernel does not tell it */
static int key_cond_step(struct keys_now *k, bool valid, bool dat, unsigned arg)
{
	const unsigned mask = KEY_AF | (arg & WITH_MR ? 0 : KEY_R) | (arg & WITH_MC ? 0 : KEY_C);
	const unsigned key = arg & 0xff, seen = key_seen(k, valid), real = k->real;
	bool sets = true;

	if (!dat) {
		if (!(arg & (WITH_MR | WITH_MC))) {
			key_set_step(k, valid, key);
			return 0x100;
		}
		sets = (seen ^ key) & mask;
		if (sets)
			key_set_step(k, valid, key);
		return (int)((unsigned)sets << 8 | seen);
	}
	/* the PGSTE gets the key whether the frame does or not */
	key_put(k, key);
	if (valid) {
		sets = (real ^ key) & mask;
		if (sets)
			k->real = (uint8_t)(key & (KEY_AF | KEY_RC));
		k->host |= real & KEY_RC;
	}
	return (int)((unsigned)sets << 8 | seen);
}

static int key_reset_step(struct keys_now *k, bool valid, bool dat)
{
	const unsigned seen = k->pgste | (valid ? k->real : 0);

	k->changed |= (k->pgste & KEY_R) != 0;
	k->pgste &= (uint8_t)~KEY_R;
	if (valid) {
		if (dat)
			k->host &= (uint8_t)~KEY_R;
		k->host |= k->real & KEY_R;
		k->real &= (uint8_t)~KEY_R;
	}
	return (int)((seen & KEY_RC) >> 1);
}

/* A store, which maps the page if it is not; keys are in use. */
static void key_stored(struct keys_now *k, bool valid, bool dat)
{
	if (!valid) /* pgste_set_key; __dat_ptep_xchg */
		k->real = dat ? k->pgste & KEY_AF : k->pgste;
	k->real |= KEY_RC; /* the machine */
}

/* pgste_update_all; __dat_ptep_xchg */
static void key_unmapped(struct keys_now *k)
{
	k->pgste = (uint8_t)((k->real & KEY_AF) | ((k->real | k->pgste) & KEY_RC));
	k->real = 0;
}

#endif
