// SPDX-License-Identifier: BSD-2-Clause
// A small XDP firewall: an allow list of sources, counters per verdict, an event for each drop.
//
// Built once with:  clang -target bpf -mcpu=v3 -O2 -g -c firewall.bpf.c -o firewall.bpf.o
// It includes nothing, so that any clang compiles it.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define htons(x) __builtin_bswap16(x)

enum { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT };
enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_PERCPU_ARRAY = 6, BPF_MAP_TYPE_RINGBUF = 27 };

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_trace_printk)(const char *fmt, u32 fmt_size, ...) = (void *)6;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static void *(*bpf_ringbuf_reserve)(void *ringbuf, u64 size, u64 flags) = (void *)131;
static void (*bpf_ringbuf_submit)(void *data, u64 flags) = (void *)132;

struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

struct ethhdr {
	u8 dest[6], source[6];
	u16 proto;
} __attribute__((packed));

struct iphdr {
	u8 version_ihl, tos;
	u16 tot_len, id, frag_off;
	u8 ttl, protocol;
	u16 check;
	u32 saddr, daddr;
};

struct icmphdr {
	u8 type, code;
	u16 checksum;
	u32 rest;
};

struct l4hdr {
	u16 source, dest;
};

// A source may reach one port, or any (0), for which the rule counts its packets.
struct rule {
	u16 port;
	u16 pad;
	u32 packets;
};

enum reason { MALFORMED, NOT_IPV4, NOT_ALLOWED, WRONG_PORT };

struct event {
	u64 time_ns;
	u32 saddr;
	u16 port;
	u8 protocol;
	u8 reason;
};

// names the type, so that it stands in the BTF for those who read events
const struct event *event_type __attribute__((unused));

struct counter {
	u64 packets, bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, struct rule);
} allow SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 5);
	__type(key, u32);
	__type(value, struct counter);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

const volatile u8 answer_ping = 1; // set before load: reply to ICMP echo requests from here
u64 pings;			   // how many were answered

static __attribute__((noinline)) int count(int verdict, u64 bytes)
{
	u32 key = verdict;
	struct counter *c = bpf_map_lookup_elem(&counters, &key);

	if (c) {
		c->packets++;
		c->bytes += bytes;
	}
	return verdict;
}

static void tell(u32 saddr, u16 port, u8 protocol, enum reason reason)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e)
		return;
	e->time_ns = bpf_ktime_get_ns();
	e->saddr = saddr;
	e->port = port;
	e->protocol = protocol;
	e->reason = reason;
	bpf_ringbuf_submit(e, 0);
}

static void swap_addresses(struct ethhdr *eth, struct iphdr *ip)
{
	u32 addr = ip->saddr;

	for (int i = 0; i < 6; i++) {
		u8 byte = eth->source[i];
		eth->source[i] = eth->dest[i];
		eth->dest[i] = byte;
	}
	ip->saddr = ip->daddr;
	ip->daddr = addr;
}

// Turn an echo request into its reply: type 8 -> 0, checksum adjusted by hand (RFC 1624).
static int reply(struct ethhdr *eth, struct iphdr *ip, struct icmphdr *icmp)
{
	static const char fmt[] = "ping %d answered";
	u32 sum = (u16)~icmp->checksum + (u16)~htons(0x0800);

	icmp->type = 0;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	icmp->checksum = ~sum;
	swap_addresses(eth, ip);
	pings++;
	bpf_trace_printk(fmt, sizeof(fmt), (u32)pings);
	return XDP_TX;
}

static int filter(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	void *l4 = (void *)(ip + 1);
	struct rule *rule;
	u16 port = 0;

	if ((void *)(eth + 1) > end) {
		tell(0, 0, 0, MALFORMED);
		return XDP_ABORTED;
	}
	if (eth->proto == htons(0x0806)) // ARP
		return XDP_PASS;
	if (eth->proto != htons(0x0800)) {
		tell(0, 0, 0, NOT_IPV4);
		return XDP_DROP;
	}
	if (l4 > end || ip->version_ihl != 0x45) {
		tell(0, 0, 0, MALFORMED);
		return XDP_ABORTED;
	}
	if (ip->protocol == 1) {
		struct icmphdr *icmp = l4;

		if ((void *)(icmp + 1) <= end && icmp->type == 8 && answer_ping)
			return reply(eth, ip, icmp);
	}
	if (ip->protocol == 6 || ip->protocol == 17) {
		struct l4hdr *ports = l4;

		if ((void *)(ports + 1) > end) {
			tell(ip->saddr, 0, ip->protocol, MALFORMED);
			return XDP_ABORTED;
		}
		port = htons(ports->dest);
	}
	rule = bpf_map_lookup_elem(&allow, &ip->saddr);
	if (!rule) {
		tell(ip->saddr, port, ip->protocol, NOT_ALLOWED);
		return XDP_DROP;
	}
	if (rule->port && rule->port != port) {
		tell(ip->saddr, port, ip->protocol, WRONG_PORT);
		return XDP_DROP;
	}
	__sync_fetch_and_add(&rule->packets, 1);
	return XDP_PASS;
}

SEC("xdp")
int firewall(struct xdp_md *ctx)
{
	u64 bytes = ctx->data_end - ctx->data;

	return count(filter(ctx), bytes);
}

char _license[] SEC("license") = "Dual BSD/GPL";
