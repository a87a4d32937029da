/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <stddef.h>

#include "shim.h"

/*
 * src/mbuf.rs declares struct rte_mbuf by hand, so that Rust code is the same for every release.
 * A release that moves a field stops the build here.
 */
#define AT(field, offset) \
	_Static_assert(offsetof(struct rte_mbuf, field) == (offset), \
		       "rte_mbuf." #field " moved: adapt dpdk-build/sys/src/mbuf.rs")
AT(buf_addr, 0);
AT(data_off, 16);
AT(refcnt, 18);
AT(nb_segs, 20);
AT(port, 22);
AT(ol_flags, 24);
AT(packet_type, 32);
AT(pkt_len, 36);
AT(data_len, 40);
AT(vlan_tci, 42);
AT(hash, 44);
AT(buf_len, 54);
AT(pool, 56);
AT(next, 64);
_Static_assert(sizeof(struct rte_mbuf) == 128, "rte_mbuf grew: adapt dpdk-build/sys/src/mbuf.rs");

int shim_errno(void)
{
	return rte_errno;
}

unsigned int shim_lcore_id(void)
{
	return rte_lcore_id();
}

struct rte_mbuf *shim_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

void shim_mbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

uint16_t shim_rx_burst(uint16_t nic, uint16_t queue, struct rte_mbuf **frames, uint16_t room)
{
	return rte_eth_rx_burst(nic, queue, frames, room);
}

uint16_t shim_tx_burst(uint16_t nic, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_tx_burst(nic, queue, frames, count);
}

unsigned int shim_ring_enqueue(struct rte_ring *ring, struct rte_mbuf **frames, unsigned int count)
{
	return rte_ring_enqueue_burst(ring, (void *const *)frames, count, NULL);
}

unsigned int shim_ring_dequeue(struct rte_ring *ring, struct rte_mbuf **frames, unsigned int room)
{
	return rte_ring_dequeue_burst(ring, (void **)frames, room, NULL);
}

unsigned int shim_ring_count(const struct rte_ring *ring)
{
	return rte_ring_count(ring);
}

int shim_link_status(uint16_t nic, struct shim_link *out)
{
	struct rte_eth_link link = {0};
	int rc = rte_eth_link_get_nowait(nic, &link);

	out->speed_mbps = link.link_speed;
	out->up = link.link_status;
	out->full_duplex = link.link_duplex;
	return rc;
}

int shim_flow_rss(uint16_t nic, int ipv6, int udp, uint64_t types, const uint8_t *key,
		  uint32_t key_bytes, const uint16_t *queues, uint32_t count)
{
	const struct rte_flow_attr attr = {.ingress = 1};
	const struct rte_flow_item pattern[] = {
		{.type = RTE_FLOW_ITEM_TYPE_ETH},
		{.type = ipv6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4},
		{.type = udp ? RTE_FLOW_ITEM_TYPE_UDP : RTE_FLOW_ITEM_TYPE_TCP},
		{.type = RTE_FLOW_ITEM_TYPE_END},
	};
	const struct rte_flow_action_rss rss = {
		.func = RTE_ETH_HASH_FUNCTION_TOEPLITZ,
		.types = types,
		.key_len = key_bytes,
		.queue_num = count,
		.key = key,
		.queue = queues,
	};
	const struct rte_flow_action actions[] = {
		{.type = RTE_FLOW_ACTION_TYPE_RSS, .conf = &rss},
		{.type = RTE_FLOW_ACTION_TYPE_END},
	};
	struct rte_flow_error error;

	return rte_flow_create(nic, &attr, pattern, actions, &error) ? 0 : -rte_errno;
}

uint32_t shim_softrss(uint32_t *tuple, uint32_t words, const uint8_t *key)
{
	return rte_softrss(tuple, words, key);
}
