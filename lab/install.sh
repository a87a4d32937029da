#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Installs what building, the demo and the tests need on Debian 12; asks nothing.
#
#   lab/install.sh demo|test|bench
#
# Where all is present it changes nothing and needs neither network nor root. Services of newly
# installed packages are kept from starting: Debian's nginx would take this host's port 80.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
root=$here/..

build_packages=(gcc libc6-dev clang libclang-dev pkg-config libdpdk-dev)
demo_packages=(iproute2 procps ethtool nginx libbpf-dev linux-libc-dev curl tcpdump)
demo_packages+=(python3)
bench_packages=(dpdk valgrind binutils)
test_packages=(lua5.3 python3-pytest python3-pytest-xdist python3-scapy tshark util-linux)

policy=/usr/sbin/policy-rc.d
kept_policy=

fail() {
    echo "$*" >&2
    exit 1
}

# at_least HAVE WANT: compares dotted versions.
at_least() {
    [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]
}

check_rust() {
    local want have
    want=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$root/Cargo.toml")
    if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
        fail "There is no Rust in PATH: install Rust $want or newer from https://rustup.rs" \
            '(with sudo: sudo env "PATH=$PATH" make ...).'
    fi
    have=$(rustc --version | cut -d' ' -f2)
    at_least "${have%%-*}" "$want" \
        || fail "Rust $have is too old: Pointsman needs $want or newer (rustup update stable)."
}

missing() {
    local package
    for package in "$@"; do
        if [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then
            echo "$package"
        fi
    done
}

# Tells Debian's maintainer scripts to start nothing (exit status 101), as long as apt runs.
forbid_services() {
    if [[ -e $policy || -L $policy ]]; then
        kept_policy=$(mktemp -u "$policy.XXXXXX")
        mv "$policy" "$kept_policy"
    fi
    trap allow_services EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
}

allow_services() {
    rm -f "$policy"
    if [[ -n $kept_policy ]]; then
        mv "$kept_policy" "$policy"
    fi
}

case ${1-} in
    demo) wanted=("${build_packages[@]}" "${demo_packages[@]}") ;;
    test) wanted=("${build_packages[@]}" "${demo_packages[@]}" "${test_packages[@]}") ;;
    bench) wanted=("${build_packages[@]}" "${bench_packages[@]}") ;;
    *) fail "usage: $0 demo|test|bench" ;;
esac
check_rust
command -v dpkg-query >/dev/null || fail "This installs Debian packages; elsewhere, provide:" \
    "${wanted[*]}"
mapfile -t absent < <(missing "${wanted[@]}")
if ((${#absent[@]} == 0)); then
    exit 0
fi
if [[ $(id -u) -ne 0 ]]; then
    fail "These packages are missing: ${absent[*]}. Run as root: apt-get install ${absent[*]}"
fi
forbid_services
export DEBIAN_FRONTEND=noninteractive
apt_get=(apt-get -q -o DPkg::Lock::Timeout=120)
"${apt_get[@]}" update
"${apt_get[@]}" -y --no-install-recommends install "${absent[@]}"
