/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The next version of xdp_guard: looks at TCP, too. */

#define PROTOCOLS(protocol) ((protocol) == IPPROTO_UDP || (protocol) == IPPROTO_TCP)
#include "xdp_guard.bpf.c"
