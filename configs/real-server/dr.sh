#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Makes this machine a real server for direct routing (ipvsadm -g), or undoes that.
#
#   dr.sh up VIP [VIP...]
#   dr.sh down VIP [VIP...]
#
# The director passes a request on with only the MAC addresses changed, so this machine must hold
# the VIP without answering ARP for it (ND answers for no address of lo). Replies go to the client
# without the director: give GATEWAY=ADDRESS, GATEWAY6 for IPv6, if the default route is not the
# right way for them, for example because it leads to the director for services with NAT.
set -eu
. "$(dirname "$0")/steps.sh"
begin 'VIP [VIP...]' "$@"
shift
[ $# -gt 0 ] || die "name at least one VIP"

for vip; do
    if [ "$verb" = up ]; then
        note "dr-$vip" vip
        hide_vips_from_arp
        add_vip "dr-$vip" "$vip" lo
        add_reply_route "dr-$vip" "$vip"
    else
        remove_reply_route "dr-$vip" "$vip"
        remove_vip "dr-$vip" "$vip" lo
        forget "dr-$vip"
    fi
done
