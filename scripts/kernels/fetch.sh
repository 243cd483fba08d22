#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fetches one of Debian's kernels and makes it bootable in target/kernels/NAME, without installing it.
#   fetch.sh 5.10|6.1|6.12|newest
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PATH=$PATH:/usr/sbin:/sbin

name=$1
case $name in
    5.10) suite=bullseye ;;
    6.1) suite=bookworm ;;
    6.12) suite=trixie ;;
    newest) suite=sid ;;
    *) echo "fetch: no such kernel: $name" >&2; exit 2 ;;
esac
home=$PWD/target/kernels/$name

if [[ -e $home/version ]]; then
    if [[ $name != newest || -n $(find "$home/version" -mtime -1) ]]; then
        exit
    fi
fi

# A configuration of our own: the machine's mirror, but another suite, and lists that nothing else sees.
apt=$home/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/none"
. /etc/os-release
mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v suite="$VERSION_CODENAME" '($1 == suite || $1 == "stable") && $2 == "main" { print $3; exit }')
if [[ -z $mirror ]]; then
    echo "fetch: the machine has no apt source for $VERSION_CODENAME" >&2
    exit 1
fi
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [arch=amd64 signed-by=$keyring] $mirror $suite main" >"$apt/sources.list"
options=(
    -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::Etc::PreferencesParts=$apt/none"
    -o "Dir::State=$apt" -o Dir::State::status=/dev/null -o "Dir::Cache=$apt/cache" -o APT::Architecture=amd64
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=3
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
)

retry() {
    local attempt
    for attempt in 1 2 3; do
        "$@" && return
        echo "fetch: attempt $attempt failed: $*" >&2
        sleep $((attempt * 5))
    done
    return 1
}

update() { apt-get "${options[@]}" update -q --error-on=any; }
packages() {
    apt-cache "${options[@]}" depends --recurse -i linux-image-amd64 | grep -E '^linux-(image|binary|modules)-[0-9]'
}
download() { (cd "$apt" && rm -f ./*.deb && apt-get "${options[@]}" download -q "$@"); }

if ! retry update >"$home/fetch.log" 2>&1; then
    if [[ -e $home/version ]]; then
        echo "fetch: keeping $name at $(<"$home/version"): looking for a newer one failed" >&2
        exit
    fi
    tail -n 20 "$home/fetch.log" >&2
    exit 1
fi
mapfile -t wanted < <(packages)
if [[ -e $home/version && ${wanted[*]} == "$(<"$home/packages")" ]]; then
    touch "$home/version"
    exit
fi
rm -rf "$home/version" "$home/root" "$home/initrd"
if ! retry download "${wanted[@]}" >>"$home/fetch.log" 2>&1; then
    tail -n 20 "$home/fetch.log" >&2
    exit 1
fi
for package in "$apt"/*.deb; do
    dpkg -x "$package" "$home/root"
    rm "$package"
done

# Debian is moving modules and kernel from /lib and /boot to /usr/lib.
if [[ ! -e $home/root/lib ]]; then ln -s usr/lib "$home/root/lib"; fi
version=$(ls "$home/root/lib/modules")
image=$(find "$home/root" -name 'vmlinuz*' -printf '%P\n' | head -n 1)
ln -sfn "root/$image" "$home/vmlinuz"
depmod -b "$home/root" "$version" 2>>"$home/fetch.log"

# The initramfs only finds the shared root file system; everything else is on it.
initrd=$home/initramfs
rm -rf "$initrd"
mkdir -p "$initrd"/{bin,dev,proc,modules,lower,memory,root}
install "$(command -v busybox)" "$initrd/bin/busybox"
install scripts/kernels/init.sh "$initrd/init"
for module in virtio_pci 9pnet_virtio 9p overlay; do
    # What is built in is not found.
    modprobe -d "$home/root" -S "$version" --show-depends "$module" 2>>"$home/fetch.log" || true
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
    plain=$(basename "${file%.xz}")
    if [[ $file == *.xz ]]; then xz -dc "$file"; else cat "$file"; fi >"$initrd/modules/$plain"
    echo "$plain" >>"$initrd/modules/order"
done
(cd "$initrd" && find . | cpio --quiet -o -H newc) >"$home/initrd"
rm -rf "$initrd"
echo "${wanted[*]}" >"$home/packages"
echo "$version" >"$home/version"
echo "fetch: $name is $version"
