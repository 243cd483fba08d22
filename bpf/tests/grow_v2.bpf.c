/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Version 2 of the programs of grow.h. */

#define ENTRIES 8
#define RETYPED BPF_MAP_TYPE_LRU_HASH
#define SIZE 2
#define FLAGS BPF_F_NO_PREALLOC
#include "grow.h"
