/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What Rust cannot call or read in DPDK's headers: static inline functions, macros, bit fields and
 * constants made by function-like macros. One line each; nothing is decided here.
 */
#ifndef POINTSMAN_DPDK_SHIM_H
#define POINTSMAN_DPDK_SHIM_H

#include <rte_config.h>
#include <rte_version.h>
#include <rte_eal.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_dev.h>
#include <rte_mempool.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_thash.h>

static const uint64_t SHIM_RSS_IPV4 = RTE_ETH_RSS_IPV4;
static const uint64_t SHIM_RSS_FRAG_IPV4 = RTE_ETH_RSS_FRAG_IPV4;
static const uint64_t SHIM_RSS_IPV4_TCP = RTE_ETH_RSS_NONFRAG_IPV4_TCP;
static const uint64_t SHIM_RSS_IPV4_UDP = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
static const uint64_t SHIM_RSS_IPV6 = RTE_ETH_RSS_IPV6;
static const uint64_t SHIM_RSS_FRAG_IPV6 = RTE_ETH_RSS_FRAG_IPV6;
static const uint64_t SHIM_RSS_IPV6_TCP = RTE_ETH_RSS_NONFRAG_IPV6_TCP;
static const uint64_t SHIM_RSS_IPV6_UDP = RTE_ETH_RSS_NONFRAG_IPV6_UDP;
static const uint64_t SHIM_RSS_L3_SRC_ONLY = RTE_ETH_RSS_L3_SRC_ONLY;
static const uint64_t SHIM_RSS_L3_DST_ONLY = RTE_ETH_RSS_L3_DST_ONLY;
static const uint64_t SHIM_RSS_L4_SRC_ONLY = RTE_ETH_RSS_L4_SRC_ONLY;
static const uint64_t SHIM_RSS_L4_DST_ONLY = RTE_ETH_RSS_L4_DST_ONLY;
static const uint64_t SHIM_RX_OFFLOAD_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t SHIM_TX_OFFLOAD_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;

/* Sizes of names, the final zero included. */
static const uint32_t SHIM_POOL_NAME_BYTES = RTE_MEMPOOL_NAMESIZE;
static const uint32_t SHIM_RING_NAME_BYTES = RTE_RING_NAMESIZE;

/* Frame bytes beside the MTU: Ethernet header and CRC, rte_ether.h. */
static const uint32_t SHIM_ETHER_OVERHEAD = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;

static const uint32_t SHIM_LCORE_NONE = LCORE_ID_ANY;

/* struct rte_eth_link without bit fields. */
struct shim_link {
	uint32_t speed_mbps;
	uint8_t up;
	uint8_t full_duplex;
};

int shim_errno(void);
unsigned int shim_lcore_id(void);

struct rte_mbuf *shim_mbuf_alloc(struct rte_mempool *pool);
void shim_mbuf_free(struct rte_mbuf *mbuf);

uint16_t shim_rx_burst(uint16_t nic, uint16_t queue, struct rte_mbuf **frames, uint16_t room);
uint16_t shim_tx_burst(uint16_t nic, uint16_t queue, struct rte_mbuf **frames, uint16_t count);

unsigned int shim_ring_enqueue(struct rte_ring *ring, struct rte_mbuf **frames, unsigned int count);
unsigned int shim_ring_dequeue(struct rte_ring *ring, struct rte_mbuf **frames, unsigned int room);
unsigned int shim_ring_count(const struct rte_ring *ring);

int shim_link_status(uint16_t nic, struct shim_link *out);

/* Packets of one address family and transport to a set of queues, by what `types` says. */
int shim_flow_rss(uint16_t nic, int ipv6, int udp, uint64_t types, const uint8_t *key,
		  uint32_t key_bytes, const uint16_t *queues, uint32_t count);

uint32_t shim_softrss(uint32_t *tuple, uint32_t words, const uint8_t *key);

#endif
