/* What the running kernel says about the process that runs this program: known to the test. */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

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
	int pid, tgid;
	struct task_struct *real_parent;
	struct mm_struct *mm;
	char comm[16];
	unsigned in_iowait : 1;
	int no_such_member;
};
struct no_such_struct {
	int member;
};
#pragma clang attribute pop
enum bpf_map_type___mine { BPF_MAP_TYPE_HASH___mine = 77, BPF_MAP_TYPE_NONE___mine = 78 };

int tgid, tgid_direct, tgid_said, parent;
unsigned long inode, inode_probed;
char comm[16];
long answers[8];

SEC("raw_tp")
int current(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	tgid_said = bpf_get_current_pid_tgid() >> 32;
	tgid = BPF_CORE_READ(task, tgid);
	tgid_direct = bpf_core_cast(task, struct task_struct)->tgid;
	parent = BPF_CORE_READ(task, real_parent, tgid);
	inode = BPF_CORE_READ(task, mm, exe_file, f_inode, i_ino);
	BPF_CORE_READ_STR_INTO(&comm, task, comm);
	answers[0] = bpf_core_field_exists(task->comm);
	answers[1] = bpf_core_field_exists(task->no_such_member);
	answers[2] = bpf_core_field_size(task->comm);
	answers[3] = bpf_core_type_exists(struct task_struct);
	answers[4] = bpf_core_type_exists(struct no_such_struct);
	answers[5] = bpf_core_enum_value_exists(enum bpf_map_type___mine, BPF_MAP_TYPE_HASH___mine);
	answers[6] = bpf_core_enum_value(enum bpf_map_type___mine, BPF_MAP_TYPE_HASH___mine);
	answers[7] = BPF_CORE_READ_BITFIELD_PROBED(task, in_iowait);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
