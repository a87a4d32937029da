/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Receive-side scaling for a tap: chooses the queue of a TCP or UDP packet over IPv4 by a Toeplitz
 * hash of its whole tuple or of one end, as a NIC would. tests/hashing.py loads and attaches it
 * (TUNSETSTEERINGEBPF); the kernel takes what it returns modulo the number of queues.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define TUPLE_BYTES 12
#define TABLE_VALUES 128

/* The hash of each byte at each place: place * 256 + byte. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, TUPLE_BYTES * 256);
    __type(key, __u32);
    __type(value, __u32);
} contributions SEC(".maps");

/* 0: the tuple; 1: source address and port; 2: destination address and port. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} fields SEC(".maps");

static __u32 at(__u32 place, __u8 byte)
{
    __u32 key = place * 256 + byte;
    __u32 *word = bpf_map_lookup_elem(&contributions, &key);

    return word ? *word : 0;
}

SEC("socket")
int queue(struct __sk_buff *skb)
{
    __u8 addresses[8], ports[4];
    struct iphdr ip;
    __be16 type;
    __u32 zero = 0, hash = 0;
    __u32 *which = bpf_map_lookup_elem(&fields, &zero);

    if (!which || bpf_skb_load_bytes(skb, ETH_HLEN - 2, &type, sizeof(type)) ||
        type != bpf_htons(ETH_P_IP) || bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
        return 0;
    if (ip.ihl != 5 || (ip.protocol != IPPROTO_TCP && ip.protocol != IPPROTO_UDP))
        return 0;
    if (bpf_skb_load_bytes(skb, ETH_HLEN + 12, addresses, sizeof(addresses)) ||
        bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), ports, sizeof(ports)))
        return 0;

    if (*which == 0) {
        for (int i = 0; i < 8; i++)
            hash ^= at(i, addresses[i]);
        for (int i = 0; i < 4; i++)
            hash ^= at(8 + i, ports[i]);
    } else {
        int end = *which == 1 ? 0 : 1;

        for (int i = 0; i < 4; i++)
            hash ^= at(i, end ? addresses[4 + i] : addresses[i]);
        for (int i = 0; i < 2; i++)
            hash ^= at(4 + i, end ? ports[2 + i] : ports[i]);
    }
    return hash % TABLE_VALUES;
}

char LICENSE[] SEC("license") = "MIT OR Apache-2.0";
