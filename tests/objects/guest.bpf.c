/* Programs for what only the guest's kernel lets in: tracing, LSM, sched_ext. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

SEC("fentry/do_unlinkat")
int BPF_PROG(entry, int dfd, struct filename *name)
{
	bpf_printk("%d %d", dfd, name->refcnt.counter);
	return 0;
}

SEC("fentry/do_unlinkat")
int BPF_PROG(entry_answers, int dfd, struct filename *name)
{
	return 1;
}

SEC("fexit/do_unlinkat")
int BPF_PROG(leave, int dfd, struct filename *name, long ret)
{
	bpf_printk("%ld", ret);
	return 0;
}

SEC("fexit/do_unlinkat")
int BPF_PROG(leave_writes, int dfd, struct filename *name, long ret)
{
	name->refcnt.counter = 0;
	return 0;
}

SEC("fmod_ret/security_file_open")
int BPF_PROG(change, struct file *file, int ret)
{
	return ret;
}

SEC("fmod_ret/do_unlinkat")
int BPF_PROG(change_forbidden, int dfd, struct filename *name, int ret)
{
	return ret;
}

SEC("lsm/file_open")
int BPF_PROG(guard, struct file *file)
{
	return file->f_flags & 1 ? -1 : 0;
}

SEC("lsm/file_open")
int BPF_PROG(guard_wrongly, struct file *file)
{
	return 1;
}

SEC("kprobe/do_unlinkat")
int probe(struct pt_regs *ctx)
{
	return ctx->ip != 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(switching, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	return prev->pid;
}

s32 scx_bpf_select_cpu_dfl(struct task_struct *p, s32 prev_cpu, u64 wake_flags,
			   bool *is_idle) __ksym;

SEC("struct_ops/select_cpu")
s32 BPF_PROG(select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool idle = false;

	return scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);
}

SEC("struct_ops/enqueue")
void BPF_PROG(enqueue, struct task_struct *p, u64 enq_flags)
{
	p->pid = 0;
}

SEC(".struct_ops.link")
struct sched_ext_ops small = {
	.select_cpu = (void *)select_cpu,
	.enqueue = (void *)enqueue,
	.name = "small",
};
