// SPDX-License-Identifier: BSD-2-Clause
// CO-RE: a tracing program that reads kernel structs. Where their members are is not known when
// this is compiled; the loader finds out from the BTF of the kernel that it loads the program into.
//
// This example declares the few members that it needs instead of including vmlinux.h, so it
// compiles without any kernel's BTF. Both ways give the same relocations.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct inode {
	unsigned long i_ino;
};
struct file {
	struct inode *f_inode;
};
struct mm_struct {
	struct file *exe_file;
};
struct task_struct {
	int pid;
	int tgid;
	unsigned int state; // renamed to __state in Linux 5.14
	struct task_struct *real_parent;
	struct mm_struct *mm;
	char comm[16];
};
struct task_struct___new { // what comes after ___ only tells our variants apart
	unsigned int __state;
};
#pragma clang attribute pop

struct record {
	int pid, parent;
	unsigned int state;
	unsigned long inode;
	char comm[16];
} last;

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task)
{
	struct task_struct___new *newer = (void *)task;

	last.pid = BPF_CORE_READ(task, tgid);
	last.parent = BPF_CORE_READ(task, real_parent, tgid);
	last.inode = BPF_CORE_READ(task, mm, exe_file, f_inode, i_ino);
	BPF_CORE_READ_STR_INTO(&last.comm, task, comm);
	if (bpf_core_field_exists(newer->__state))
		last.state = BPF_CORE_READ(newer, __state);
	else
		last.state = BPF_CORE_READ(task, state);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
