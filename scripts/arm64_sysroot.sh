#!/usr/bin/env bash
# Fetches the libraries that the arm64 preset links into a folder of the build tree, with a package database of its own: neither dpkg's
# architectures nor anything else of this system changes. Debian, whose archive has all architectures side
# by side; needs the network once.
# usage: scripts/arm64_sysroot.sh     fills build/arm64-sysroot; does nothing where TN_ARM64_SYSROOT names another folder
set -euo pipefail
cd "$(dirname "$0")/.."
[ -z "${TN_ARM64_SYSROOT:-}" ] || exit 0
root=build/arm64-sysroot
packages="libhwloc15 libhwloc-dev libudev1 libjansson4 libjansson-dev libxxhash0 libxxhash-dev libutf8proc2 libutf8proc-dev libpcre2-8-0 libpcre2-dev"
stamp="$root/.packages"
[ "$(cat "$stamp" 2>/dev/null)" != "$packages" ] || exit 0

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || {
    echo "arm64_sysroot: this system has no apt-get and dpkg-deb: put the arm64 libraries ($packages) below a folder and name it in TN_ARM64_SYSROOT" >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/debs"
: >"$work/status"
apt=(apt-get -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State="$work/state" -o Dir::State::status="$work/status"
    -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root)
echo "arm64_sysroot: fetching $(wc -w <<<"$packages") packages"
# shellcheck disable=SC2086  # $packages is a list of words
if ! { "${apt[@]}" update && cd "$work/debs" && "${apt[@]}" download $packages; } >"$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    echo "arm64_sysroot: apt-get failed (its last lines are above): the sources of this system must offer arm64" >&2
    exit 1
fi
cd "$OLDPWD"
rm -rf "$root"
mkdir -p "$root"
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done # the stamp comes last: half a folder is filled again
echo "$packages" >"$stamp"
echo "arm64_sysroot: done ($root)"
