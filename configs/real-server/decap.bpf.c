// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Unwraps IP in IP on ingress, for kernels without ipip, sit and ip6_tunnel: either family in
 * either (RFC 2003, RFC 2473, RFC 4213). tun.sh loads it.
 *
 * The outer header is removed before the stack sees the packet, which then belongs to the VIP
 * on this machine. Everything else passes unchanged: other protocols, fragments of an outer
 * packet (the stack would have to reassemble them first) and outer headers with options, which
 * a director does not send. To unwrap one family from the other takes Linux 6.3.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HEADERS_MAX (sizeof(struct ethhdr) + sizeof(struct ipv6hdr))
#define IP_MORE_FRAGMENTS_AND_OFFSET 0x3fff

/* BPF_F_ADJ_ROOM_DECAP_L3_*, which older headers lack. */
#define INNER_IPV4 (1ULL << 7)
#define INNER_IPV6 (1ULL << 8)

static int unwrap(struct __sk_buff *skb, int room, __u8 inner, __u8 same)
{
    __u64 flags = inner == same ? 0 : inner == IPPROTO_IPIP ? INNER_IPV4 : INNER_IPV6;

    if (inner != IPPROTO_IPIP && inner != IPPROTO_IPV6)
        return TC_ACT_OK;
    return bpf_skb_adjust_room(skb, -room, BPF_ADJ_ROOM_MAC, flags) ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("tc")
int decap(struct __sk_buff *skb)
{
    /* Of a large packet a driver may leave all but the link-layer header in pages. */
    if (skb->data_end - skb->data < HEADERS_MAX)
        bpf_skb_pull_data(skb, skb->len < HEADERS_MAX ? skb->len : HEADERS_MAX);

    void *end = (void *)(long)skb->data_end;
    struct ethhdr *eth = (void *)(long)skb->data;
    struct iphdr *ip = (void *)(eth + 1);
    struct ipv6hdr *ip6 = (void *)(eth + 1);

    if ((void *)(ip + 1) > end)
        return TC_ACT_OK;
    if (eth->h_proto == bpf_htons(ETH_P_IP)) {
        if (ip->ihl != 5 || (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS_AND_OFFSET)))
            return TC_ACT_OK;
        return unwrap(skb, sizeof(*ip), ip->protocol, IPPROTO_IPIP);
    }
    if (eth->h_proto == bpf_htons(ETH_P_IPV6) && (void *)(ip6 + 1) <= end)
        return unwrap(skb, sizeof(*ip6), ip6->nexthdr, IPPROTO_IPV6);
    return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "MIT OR Apache-2.0";
