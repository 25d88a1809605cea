/* TCP congestion control: what is in flight may grow by one segment a round trip, and halves. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

u32 tcp_slow_start(struct tcp_sock *tp, u32 acked) __ksym;
void tcp_cong_avoid_ai(struct tcp_sock *tp, u32 w, u32 acked) __ksym;
u32 tcp_reno_undo_cwnd(struct sock *sk) __ksym;

struct memory {
	u32 losses;
	u32 rounds;
};

static struct memory *memory_of(struct sock *sk)
{
	return (struct memory *)((struct inet_connection_sock *)sk)->icsk_ca_priv;
}

SEC("struct_ops/halving_init")
void BPF_PROG(halving_init, struct sock *sk)
{
	struct memory *mine = memory_of(sk);

	mine->losses = 0;
	mine->rounds = 0;
	bpf_setsockopt(sk, 6 /* SOL_TCP */, 10 /* TCP_WINDOW_CLAMP */, &(u32){1 << 20}, 4);
}

SEC("struct_ops/halving_ssthresh")
u32 BPF_PROG(halving_ssthresh, struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	u32 half = tp->snd_cwnd / 2;

	memory_of(sk)->losses++;
	return half > 2 ? half : 2;
}

SEC("struct_ops/halving_cong_avoid")
void BPF_PROG(halving_cong_avoid, struct sock *sk, u32 ack, u32 acked)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	memory_of(sk)->rounds += acked;
	if (tp->snd_cwnd <= tp->snd_ssthresh) {
		acked = tcp_slow_start(tp, acked);
		if (!acked)
			return;
	}
	tcp_cong_avoid_ai(tp, tp->snd_cwnd, acked);
}

SEC("struct_ops/halving_pkts_acked")
void BPF_PROG(halving_pkts_acked, struct sock *sk, const struct ack_sample *sample)
{
	if (sample->rtt_us > 0 && ((struct inet_connection_sock *)sk)->icsk_ca_state == 0)
		((struct tcp_sock *)sk)->snd_cwnd_stamp = sample->rtt_us;
}

SEC("struct_ops/halving_undo_cwnd")
u32 BPF_PROG(halving_undo_cwnd, struct sock *sk)
{
	return tcp_reno_undo_cwnd(sk);
}

SEC(".struct_ops.link")
struct tcp_congestion_ops halving = {
	.init = (void *)halving_init,
	.ssthresh = (void *)halving_ssthresh,
	.cong_avoid = (void *)halving_cong_avoid,
	.pkts_acked = (void *)halving_pkts_acked,
	.undo_cwnd = (void *)halving_undo_cwnd,
	.name = "halving",
};
