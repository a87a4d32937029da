#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Shows that the check of instruction counts finds a stage that became slower.
#
#   perf/slowdown.sh [hash|conn|network]
#
# Copies the working tree to a temporary folder, counts and records its instructions there, puts a
# short loop into one stage of the copy, and checks again: that must fail and name the stage. The
# tree itself is not touched. Two release builds; what they leave is kept in target/slowdown.
set -euo pipefail
root=$(dirname "$(dirname "$(readlink -f "$0")")")
stage=${1:-hash}

# The file of a stage, and the beginning of a function in it that each packet passes.
case $stage in
    hash) file=appliance/lb/src/hash.rs function='fn bytes_of(' ;;
    conn) file=appliance/lb/src/conn.rs function='pub(crate) fn go_on(' ;;
    network) file=appliance/lb/src/network.rs function='pub(crate) fn place(' ;;
    *)
        echo "usage: $0 [hash|conn|network]" >&2
        exit 2
        ;;
esac

copy=$(mktemp -d "${TMPDIR:-/tmp}/pointsman-slowdown.XXXXXX")
trap 'rm -rf "$copy"' EXIT
tar -C "$root" --exclude=./target --exclude=./.git -cf - . | tar -C "$copy" -xf -
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/slowdown

count() {
    cargo run --quiet --release --manifest-path "$copy/Cargo.toml" \
        -p perf --bin instructions -- "$@"
}

echo "counting the tree as it is"
count --record > /dev/null
if ! count > /dev/null; then
    echo "the check fails on an unchanged tree: its counts do not repeat" >&2
    exit 1
fi

awk -v function_at="$function" '
    { print }
    index($0, function_at) { inside = 1 }
    inside && /{$/ {
        print "        for turn in 0_u64..8 { std::hint::black_box(turn); }"
        inside = 0
        done = 1
    }
    END { exit !done }
' "$copy/$file" > "$copy/slower.rs" || {
    echo "$file has no \"$function\" any more: name another function in $0" >&2
    exit 1
}
mv "$copy/slower.rs" "$copy/$file"

echo "counting it with a loop of 8 turns in $stage"
if count > "$copy/out" 2> "$copy/found"; then
    echo "the check did not see that $stage became slower" >&2
    exit 1
fi
if ! grep -q ", $stage: " "$copy/found"; then
    cat "$copy/found" >&2
    echo "the check failed, but did not name $stage" >&2
    exit 1
fi
echo "the check fails, as it should; of each scenario the stage and the whole:"
grep -E "counts changed|IPv[46](, $stage)?: " "$copy/found"
