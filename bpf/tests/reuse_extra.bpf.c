/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The same maps, of which one has another map_extra. */

#define HASHES 4
#include "reuse.bpf.c"
