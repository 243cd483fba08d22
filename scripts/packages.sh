#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages named as arguments; only what is missing.
set -euo pipefail

if ! command -v dpkg-query >/dev/null; then
    echo "setup: not a Debian system; install the like of: $*" >&2
    exit 1
fi

# dpkg-query fails when it does not know one of the packages; its output counts.
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
missing=()
for package; do
    grep -qx "installed $package" <<<"$installed" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
    exit
fi
if ((EUID != 0)); then
    echo "setup: missing; install as root: apt-get install ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
for attempt in 1 2 3; do
    if apt-get update -q && apt-get install -qy --no-install-recommends "${missing[@]}"; then
        exit
    fi
    echo "setup: attempt $attempt failed" >&2
    sleep $((attempt * 5))
done
exit 1
