// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Unwraps IPv4 in IPv4 (RFC 2003) on ingress, for kernels without ipip. tun.sh loads it.
 *
 * The outer header is removed before the stack sees the packet, which then belongs to the VIP
 * on this machine. Everything else passes unchanged: other protocols, fragments of an outer
 * packet (the stack would have to reassemble them first) and outer headers with options, which
 * a director does not send.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define IP_MORE_FRAGMENTS_AND_OFFSET 0x3fff

SEC("tc")
int decap(struct __sk_buff *skb)
{
    void *end = (void *)(long)skb->data_end;
    struct ethhdr *eth = (void *)(long)skb->data;
    struct iphdr *outer = (void *)(eth + 1);
    struct iphdr *inner = outer + 1;

    if ((void *)(inner + 1) > end)
        return TC_ACT_OK;
    if (eth->h_proto != bpf_htons(ETH_P_IP) || outer->protocol != IPPROTO_IPIP)
        return TC_ACT_OK;
    if (outer->ihl != 5 || (outer->frag_off & bpf_htons(IP_MORE_FRAGMENTS_AND_OFFSET)))
        return TC_ACT_OK;
    if (inner->version != 4)
        return TC_ACT_OK;

    if (bpf_skb_adjust_room(skb, -(int)sizeof(*outer), BPF_ADJ_ROOM_MAC, 0))
        return TC_ACT_SHOT;
    return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "MIT OR Apache-2.0";
