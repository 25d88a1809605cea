/* Programs on a kernel's own types, all from vmlinux.h. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, u64);
} table SEC(".maps");

u64 seen[8];

SEC("fentry/do_unlinkat")
int BPF_PROG(on_unlink, int dfd, struct filename *name)
{
	bpf_printk("%d %s", dfd, name->name);
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	u32 pid = BPF_CORE_READ(prev, pid);
	u64 inode = BPF_CORE_READ(prev, mm, exe_file, f_inode, i_ino);

	bpf_map_update_elem(&table, &pid, &inode, BPF_ANY);
	seen[0] = bpf_core_field_exists(prev->comm);
	seen[1] = BPF_CORE_READ_BITFIELD_PROBED(next, in_iowait);
	return 0;
}

SEC("kprobe/do_sys_openat2")
int BPF_KPROBE(on_open, int dfd, const char *path, struct open_how *how)
{
	seen[2] = BPF_CORE_READ(how, flags) + dfd;
	return 0;
}

SEC("iter/task")
int dump(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;

	if (ctx->task)
		BPF_SEQ_PRINTF(seq, "task\n");
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
