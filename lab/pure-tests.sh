#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Tests of the crates that need no DPDK (wire, lb, control), built where pkg-config finds none.
#
# As root, the test binaries run as nobody. The checkout may be where nobody cannot look (/root),
# so they run in a mount namespace in which every folder above it can be passed through.
set -euo pipefail
root=$(readlink -f "$(dirname "$(readlink -f "$0")")/..")
crates=(-p wire -p lb -p control)

build() {
    PKG_CONFIG_LIBDIR='' PKG_CONFIG_PATH='' cargo test "$@" "${crates[@]}"
}

# The first folder above the checkout that others may not pass through, if there is one.
closed_folder() {
    local folder='' part
    while read -r -d / part; do
        folder+=/$part
        if [[ -n $part && $(stat -c %A "$folder") != *[xt] ]]; then
            echo "$folder"
            return
        fi
    done <<< "${root#/}/"
}

# Covers the closed folder with an empty one that holds nothing but the way to the checkout.
open_the_way() {
    local closed held
    closed=$(closed_folder)
    if [[ -n $closed ]]; then
        held=$(mktemp -d /run/pointsman-pure.XXXXXX)
        mount --bind "$root" "$held"
        mount -t tmpfs -o mode=755 tmpfs "$closed"
        mkdir -p "$root"
        mount --move "$held" "$root"
        rmdir "$held"
    fi
}

run_as_nobody() {
    local manifest binary
    while read -r manifest binary; do
        echo "as nobody: ${binary##*/}"
        (
            cd "$(dirname "$manifest")"
            setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all \
                --bounding-set=-all env HOME=/nonexistent "$binary" --quiet </dev/null
        )
    done
}

cd "$root"
if [[ ${1-} == run ]]; then
    open_the_way
    cd "$root"
    run_as_nobody
    exit
fi
if [[ $(id -u) -ne 0 ]]; then
    build
    exit
fi
built=$(build --no-run --message-format=json-render-diagnostics)
binaries=$(
    sed -n 's/.*"manifest_path":"\([^"]*\)".*"executable":"\([^"]*\)".*/\1 \2/p' <<< "$built"
)
[[ -n $binaries ]] || { echo "cargo built no test binary" >&2; exit 1; }
build --doc --quiet
unshare --mount --propagation private "$0" run <<< "$binaries"
