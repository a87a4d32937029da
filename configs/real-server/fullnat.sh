#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Checks that this machine can be a real server for FULLNAT (ipvsadm -b); nothing is set up.
#
#   fullnat.sh up LOCAL [LOCAL...]
#   fullnat.sh down
#
# Requests come from the director's local addresses (ipvsadm -P -z LOCAL) and replies go back to
# them, so all that is needed is a route to each. The server sees LOCAL in place of the client.
set -eu
. "$(dirname "$0")/steps.sh"
begin 'LOCAL [LOCAL...]' "$@"
shift
[ "$verb" = up ] || exit 0

for local; do
    ip route get "$local" >/dev/null 2>&1 || die "no route to the local address $local"
done
