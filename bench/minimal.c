/* SPDX-License-Identifier: Apache-2.0 */
/* The least a loader can do: loads one program of an object and pins it. */

#include <stdio.h>
#include <string.h>

#include <bpf/libbpf.h>

int main(int argc, char **argv)
{
	struct bpf_object *object;
	struct bpf_program *program, *wanted = NULL;

	if (argc != 4) {
		fprintf(stderr, "usage: %s OBJECT PROGRAM PIN\n", argv[0]);
		return 2;
	}
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	object = bpf_object__open_file(argv[1], NULL);
	if (!object) {
		perror("open");
		return 1;
	}
	bpf_object__for_each_program(program, object) {
		int match = !strcmp(bpf_program__name(program), argv[2]);

		bpf_program__set_autoload(program, match);
		if (match)
			wanted = program;
	}
	if (!wanted) {
		fprintf(stderr, "%s: no program %s\n", argv[1], argv[2]);
		return 1;
	}
	if (bpf_object__load(object)) {
		perror("load");
		return 1;
	}
	if (bpf_program__pin(wanted, argv[3])) {
		perror("pin");
		return 1;
	}
	bpf_object__close(object);
	return 0;
}
