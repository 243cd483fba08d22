/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packet REPEAT ROUNDS ID...: what one packet costs each of some XDP programs,
 * by BPF_PROG_TEST_RUN. A line `ID NANOSECONDS` each, the least of all rounds;
 * a round measures every program once, so that all meet the same noise.
 */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e9 + time.tv_nsec;
}

int main(int argc, char **argv)
{
	int repeat, rounds, programs = argc - 3;
	double least[programs > 0 ? programs : 1];
	char packet[64] = { 0 };

	if (programs < 1) {
		fprintf(stderr, "usage: packet REPEAT ROUNDS ID...\n");
		return 2;
	}
	repeat = atoi(argv[1]);
	rounds = atoi(argv[2]);
	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < programs; i++) {
			int fd = bpf_prog_get_fd_by_id(strtoul(argv[3 + i], NULL, 10));
			double start, each;
			LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet,
				    .data_size_in = sizeof(packet), .repeat = repeat);

			if (fd < 0) {
				perror(argv[3 + i]);
				return 1;
			}
			start = now();
			if (bpf_prog_test_run_opts(fd, &options)) {
				perror(argv[3 + i]);
				return 1;
			}
			each = (now() - start) / repeat;
			if (!round || each < least[i])
				least[i] = each;
			close(fd);
		}
	}
	for (int i = 0; i < programs; i++)
		printf("%s %.2f\n", argv[3 + i], least[i]);
	return 0;
}
