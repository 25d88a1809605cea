/* A queueing discipline that sends packets in the order in which they came. */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

void bpf_qdisc_skb_drop(struct sk_buff *skb, struct bpf_sk_buff_ptr *to_free) __ksym;
void bpf_qdisc_bstats_update(struct Qdisc *sch, const struct sk_buff *skb) __ksym;
void bpf_qdisc_watchdog_schedule(struct Qdisc *sch, u64 expire, u64 delta_ns) __ksym;
void bpf_kfree_skb(struct sk_buff *skb) __ksym;
u32 bpf_skb_get_hash(struct sk_buff *skb) __ksym;
void *bpf_obj_new_impl(u64 local_type_id__k, void *meta__ign) __ksym;
void bpf_obj_drop_impl(void *p__alloc, void *meta__ign) __ksym;
int bpf_list_push_back_impl(struct bpf_list_head *head, struct bpf_list_node *node,
			    void *meta__ign, u64 off) __ksym;
struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head) __ksym;

#define __contains(name, node) __attribute__((btf_decl_tag("contains:" #name ":" #node)))
#define container(ptr, type, member) ((type *)((void *)(ptr) - __builtin_offsetof(type, member)))
#define SENT 0
#define DROPPED 1

struct waiting {
	struct bpf_list_node node;
	struct sk_buff __kptr *skb;
};

struct bpf_spin_lock lock SEC(".data.queue");
struct bpf_list_head queue __contains(waiting, node) SEC(".data.queue");
u64 by_hash[16];

static int drop(struct sk_buff *skb, struct bpf_sk_buff_ptr *to_free)
{
	bpf_qdisc_skb_drop(skb, to_free);
	return DROPPED;
}

SEC("struct_ops/fifo_enqueue")
int BPF_PROG(fifo_enqueue, struct sk_buff *skb, struct Qdisc *sch,
	     struct bpf_sk_buff_ptr *to_free)
{
	struct waiting *made;
	u32 length = skb->len;

	by_hash[bpf_skb_get_hash(skb) & 15]++;
	if (sch->q.qlen >= sch->limit)
		return drop(skb, to_free);
	made = bpf_obj_new_impl(bpf_core_type_id_local(struct waiting), 0);
	if (!made)
		return drop(skb, to_free);
	skb = bpf_kptr_xchg(&made->skb, skb);
	if (skb)
		bpf_qdisc_skb_drop(skb, to_free);
	bpf_spin_lock(&lock);
	bpf_list_push_back_impl(&queue, &made->node, 0, 0);
	bpf_spin_unlock(&lock);
	sch->q.qlen++;
	sch->qstats.backlog += length;
	return SENT;
}

SEC("struct_ops/fifo_dequeue")
struct sk_buff *BPF_PROG(fifo_dequeue, struct Qdisc *sch)
{
	struct bpf_list_node *node;
	struct waiting *first;
	struct sk_buff *skb = 0;

	bpf_spin_lock(&lock);
	node = bpf_list_pop_front(&queue);
	bpf_spin_unlock(&lock);
	if (!node)
		return 0;
	first = container(node, struct waiting, node);
	skb = bpf_kptr_xchg(&first->skb, skb);
	bpf_obj_drop_impl(first, 0);
	if (!skb)
		return 0;
	sch->q.qlen--;
	sch->qstats.backlog -= skb->len;
	bpf_qdisc_bstats_update(sch, skb);
	return skb;
}

SEC("struct_ops/fifo_init")
int BPF_PROG(fifo_init, struct Qdisc *sch, struct nlattr *opt, struct netlink_ext_ack *extack)
{
	sch->limit = 1000;
	return 0;
}

SEC("struct_ops/fifo_reset")
void BPF_PROG(fifo_reset, struct Qdisc *sch)
{
	struct bpf_list_node *node;
	struct waiting *first;
	struct sk_buff *skb;
	int i;

	bpf_for(i, 0, sch->q.qlen) {
		skb = 0;
		bpf_spin_lock(&lock);
		node = bpf_list_pop_front(&queue);
		bpf_spin_unlock(&lock);
		if (!node)
			break;
		first = container(node, struct waiting, node);
		skb = bpf_kptr_xchg(&first->skb, skb);
		if (skb)
			bpf_kfree_skb(skb);
		bpf_obj_drop_impl(first, 0);
	}
	sch->q.qlen = 0;
}

SEC("struct_ops/fifo_destroy")
void BPF_PROG(fifo_destroy, struct Qdisc *sch)
{
}

SEC(".struct_ops.link")
struct Qdisc_ops fifo = {
	.enqueue = (void *)fifo_enqueue,
	.dequeue = (void *)fifo_dequeue,
	.init = (void *)fifo_init,
	.reset = (void *)fifo_reset,
	.destroy = (void *)fifo_destroy,
	.id = "bpf_fifo",
};

/* a packet that is kept, which the kernel refuses */
SEC("struct_ops/careless_enqueue")
int BPF_PROG(careless_enqueue, struct sk_buff *skb, struct Qdisc *sch,
	     struct bpf_sk_buff_ptr *to_free)
{
	return skb->len ? drop(skb, to_free) : SENT;
}

SEC("?.struct_ops.link")
struct Qdisc_ops careless = {
	.enqueue = (void *)careless_enqueue,
	.id = "careless",
};
