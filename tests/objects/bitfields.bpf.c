/* Bitfields of a struct behind the context, read and written through CO-RE. */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

struct mixed {
	__u8 a : 3, b : 5;
	__s32 c : 9, d : 23;
	__u64 e : 40, f : 24;
	__s16 g;
} __attribute__((preserve_access_index));

struct values {
	__u64 a, b, c, d, e, f;
};

SEC("raw_tp")
int read_probed(struct mixed *m)
{
	volatile struct values *out = (void *)m + 64;

	out->a = BPF_CORE_READ_BITFIELD_PROBED(m, a);
	out->b = BPF_CORE_READ_BITFIELD_PROBED(m, b);
	out->c = BPF_CORE_READ_BITFIELD_PROBED(m, c);
	out->d = BPF_CORE_READ_BITFIELD_PROBED(m, d);
	out->e = BPF_CORE_READ_BITFIELD_PROBED(m, e);
	out->f = BPF_CORE_READ_BITFIELD_PROBED(m, f);
	return BPF_CORE_READ(m, g);
}

SEC("raw_tp")
int read_direct(struct mixed *m)
{
	volatile struct values *out = (void *)m + 64;

	out->a = BPF_CORE_READ_BITFIELD(m, a);
	out->b = BPF_CORE_READ_BITFIELD(m, b);
	out->c = BPF_CORE_READ_BITFIELD(m, c);
	out->d = BPF_CORE_READ_BITFIELD(m, d);
	out->e = BPF_CORE_READ_BITFIELD(m, e);
	out->f = BPF_CORE_READ_BITFIELD(m, f);
	return m->g;
}

SEC("raw_tp")
int write(struct mixed *m)
{
	volatile struct values *in = (void *)m + 64;

	BPF_CORE_WRITE_BITFIELD(m, a, in->a);
	BPF_CORE_WRITE_BITFIELD(m, b, in->b);
	BPF_CORE_WRITE_BITFIELD(m, c, in->c);
	BPF_CORE_WRITE_BITFIELD(m, d, in->d);
	BPF_CORE_WRITE_BITFIELD(m, e, in->e);
	BPF_CORE_WRITE_BITFIELD(m, f, in->f);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
