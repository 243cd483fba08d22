/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What both dispatchers share. A dispatcher calls its slots in turn; each slot
 * is a global function that an extension program (freplace) takes the place of.
 *
 * The configuration is constant: it is written before the load, and libbpf
 * freezes the map of .rodata, so that the verifier drops the slots not in use.
 * Volatile, lest the compiler takes the zeros in the object for its values.
 */
#ifndef BPFMAN_SLOTS_H
#define BPFMAN_SLOTS_H

/* Ten, as in libxdp and in everything that reads its dispatchers. */
#define MAX_SLOTS 10
#define EACH_SLOT(DO) \
	DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9)

/* A slot must be a function of its own, and callable from outside. */
#define SLOT __attribute__((noinline)) int

#endif
