#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Tests of the crates that need no DPDK (wire, lb, control), where there is none to be found.
#
# As root, the test binaries run as nobody. The checkout may be where nobody cannot look (/root),
# so it is built and run under another path that only this script's mount namespace has.
set -euo pipefail
root=$(readlink -f "$(dirname "$(readlink -f "$0")")/..")
crates=(-p wire -p lb -p control)
stage=/run/pointsman-pure

build() {
    PKG_CONFIG_LIBDIR='' PKG_CONFIG_PATH='' cargo test "$@" "${crates[@]}"
}

if [[ $(id -u) -ne 0 ]]; then
    cd "$root"
    build
    exit
fi

if [[ ${1-} != staged ]]; then
    mkdir -p "$stage"
    trap 'rmdir "$stage"' EXIT
    unshare --mount --propagation private "$0" staged "$root"
    exit
fi

mount --bind "$2" "$stage"
cd "$stage"
export CARGO_TARGET_DIR=$stage/target/pure
built=$(build --no-run --message-format=json-render-diagnostics)
mapfile -t binaries < <(
    sed -n 's/.*"manifest_path":"\([^"]*\)".*"executable":"\([^"]*\)".*/\1 \2/p' <<< "$built"
)
((${#binaries[@]})) || { echo "cargo built no test binary" >&2; exit 1; }
for line in "${binaries[@]}"; do
    read -r manifest binary <<< "$line"
    echo "as nobody: ${binary##*/}"
    (
        cd "$(dirname "$manifest")"
        setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --bounding-set=-all \
            env HOME=/nonexistent "$binary" --quiet
    )
done
