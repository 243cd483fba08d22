/* SPDX-License-Identifier: Apache-2.0 */
/* The least a program can do to attach: opens a pinned program, attaches it and pins the link. */

#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>

static int tracepoint(int program, const char *id_file)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
	};
	FILE *file = fopen(id_file, "r");
	int event, link;

	if (!file || fscanf(file, "%llu", &attr.config) != 1) {
		perror(id_file);
		return -1;
	}
	fclose(file);
	event = syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	link = bpf_link_create(program, event, BPF_PERF_EVENT, NULL);
	ioctl(event, PERF_EVENT_IOC_ENABLE, 0);
	return link;
}

/* usage: attach PROGRAM_PIN LINK_PIN tracepoint ID_FILE | tcx IFINDEX */
int main(int argc, char **argv)
{
	int program, link;

	if (argc != 5) {
		fprintf(stderr, "usage: %s PROGRAM_PIN LINK_PIN tracepoint ID_FILE | tcx IFINDEX\n", argv[0]);
		return 2;
	}
	program = bpf_obj_get(argv[1]);
	if (program < 0) {
		perror(argv[1]);
		return 1;
	}
	if (!strcmp(argv[3], "tracepoint"))
		link = tracepoint(program, argv[4]);
	else
		/* BPF_TCX_INGRESS, which the headers of older systems do not name. */
		link = bpf_link_create(program, atoi(argv[4]), 46, NULL);
	if (link < 0) {
		perror("attach");
		return 1;
	}
	if (bpf_obj_pin(link, argv[2])) {
		perror(argv[2]);
		return 1;
	}
	return 0;
}
