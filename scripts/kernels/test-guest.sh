#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Inside a guest: runs the built tests that depend on the kernel, and leaves their results to the host.
#   test-guest.sh PROFILE
out=/run/host

uname -r >"$out/release"
# Not at once in the shared directory, where lines that are added at the same time could mix.
export BPFMAN_TEST_SKIPPED=/run/skipped.tsv
rm -f "target/nextest/$1/junit.xml"
cargo-nextest nextest run --profile "$1" \
    --cargo-metadata target/kernels/metadata.json --binaries-metadata target/kernels/binaries.json
status=$?
cp "target/nextest/$1/junit.xml" "$out/"
if [[ -e $BPFMAN_TEST_SKIPPED ]]; then cp "$BPFMAN_TEST_SKIPPED" "$out/"; fi
exit "$status"
