#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Counts the lines of the product by crate: what is built into bpfman and its helper, without tests. Prints a table.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
git ls-files 'crates/*/src/*.rs' |
    grep -vE '^crates/bpfman-(model|testing)/|/tests?(/|\.rs$)|/testing\.rs$' |
    awk '
    function add(crate, kind) { lines[crate, kind]++; lines["all", kind]++; lines[crate, "lines"]++; lines["all", "lines"]++ }
    {
        file = $0; split(file, part, "/"); crate = part[2]
        if (!(crate in seen)) { seen[crate]; order[++crates] = crate }
        lines[crate, "files"]++; lines["all", "files"]++
        test = 0; import = 0
        while ((getline line < file) > 0) {
            # Modules of tests stand at the end of their files.
            if (line ~ /^#\[cfg\(test\)\]$/) { test = 1; continue }
            if (test == 1 && line !~ /^mod [a-z_]+ \{$/) { test = 0; continue }
            if (test) { test = 2; continue }
            if (line ~ /^[ \t]*$/) add(crate, "blank")
            else if (line ~ /^[ \t]*\/\//) add(crate, "comments")
            else if (import || line ~ /^[ \t]*(pub(\([a-z]+\))? )?use /) { import = line !~ /;/; add(crate, "imports") }
            else add(crate, "code")
        }
        close(file)
    }
    END {
        printf "%-20s %6s %8s %8s %8s %8s %8s\n", "", "files", "lines", "code", "comments", "imports", "blank"
        order[++crates] = "all"
        for (n = 1; n <= crates; n++) {
            c = order[n]
            printf "%-20s %6d %8d %8d %8d %8d %8d\n", c, lines[c, "files"], lines[c, "lines"], lines[c, "code"],
                lines[c, "comments"], lines[c, "imports"], lines[c, "blank"]
        }
    }'
