/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Version 1 of the programs of grow.h. */

#define ENTRIES 4
#define RETYPED BPF_MAP_TYPE_HASH
#define SIZE 1
#define FLAGS 0
#include "grow.h"
