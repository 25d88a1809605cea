/* CO-RE against a real kernel: every kind of record, present and missing fields, direct accesses. */
#include "core.h"

struct mm_struct___v1 { int map_count; } CORE;
struct list_head { struct list_head *next, *prev; } CORE;
struct upid { int nr; } CORE;
struct pid { unsigned int level; struct upid numbers[1]; } CORE;
enum pid_type { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_MAX, PIDTYPE_GONE = 77 };
enum perf_callchain_context { PERF_CONTEXT_KERNEL = -128, PERF_CONTEXT_USER = -512 };
enum blake2b_iv { BLAKE2B_IV0 = 0x1234567890ULL, BLAKE2B_NONE = 0x7777777777ULL };
struct task_struct {
	int pid, tgid;
	u64 flags;				/* unsigned int in the kernel */
	char comm[16];
	struct mm_struct___v1 *mm;
	struct task_struct *real_parent;
	struct list_head tasks;
	struct pid *thread_pid;
	unsigned in_execve : 1, sched_migrated : 1;
	long state;				/* gone since 5.14 */
	u64 exit_code;				/* signed in the kernel */
} CORE;
struct task_struct___new { unsigned int __state; } CORE;
struct task_struct___typed { struct list_head comm; } CORE;
struct sk_buff { u32 len; unsigned char pkt_type : 3, ip_summed : 2; u16 protocol; } CORE;
struct not_anywhere { int x; } CORE;
union bpf_attr { struct { u32 map_type, key_size; }; } CORE;
typedef int (*initcall_t)(void);
typedef struct { int counter; } atomic_t;
typedef unsigned int u32_not_there;
struct hlist_head;
struct hlist_node { struct hlist_node *next, **pprev; } CORE;
struct hlist_head___match { struct hlist_node *first; } CORE;

SEC("raw_tp/x") int fields(struct task_struct *t)
{
	ALL(t->pid);
	ALL(t->flags);
	PLACE(t->mm);
	ALL(t->real_parent->real_parent->mm->map_count);
	ALL(t->in_execve);
	ALL(t->sched_migrated);
	PLACE(t->tasks.next);
	PLACE(t->tasks.prev);
	ALL(((struct sk_buff *)t)->pkt_type);
	ALL(((struct sk_buff *)t)->ip_summed);
	ALL(((union bpf_attr *)t)->key_size);
	put(field_info(t->comm, OFFSET));
	put(field_info(t->comm, SIZE));
	put(field_info(t->comm[3], OFFSET));
	put(field_info(t->comm[3], SIZE));
	put(field_info(((struct pid *)t)->numbers[0].nr, OFFSET));
	put(field_info(t[2].pid, OFFSET));
	return 0;
}

SEC("raw_tp/x") int missing(struct task_struct *t)
{
	ALL(t->state);
	PLACE(((struct task_struct___typed *)t)->comm);
	ALL(((struct task_struct___new *)t)->__state);
	ALL(((struct not_anywhere *)t)->x);
	return 0;
}

SEC("raw_tp/x") int types(void *ctx)
{
	TYPE(struct task_struct);
	TYPE(struct not_anywhere);
	TYPE(struct hlist_head___match);
	TYPE(struct hlist_node);
	TYPE(atomic_t);
	TYPE(initcall_t);
	TYPE(u32_not_there);
	TYPE(enum pid_type);
	return 0;
}

SEC("raw_tp/x") int values(void *ctx)
{
	VALUE(enum pid_type, PIDTYPE_TGID);
	VALUE(enum pid_type, PIDTYPE_GONE);
	VALUE(enum perf_callchain_context, PERF_CONTEXT_USER);
	VALUE(enum blake2b_iv, BLAKE2B_IV0);
	VALUE(enum blake2b_iv, BLAKE2B_NONE);
	return 0;
}

SEC("tp_btf/task_newtask") int direct(u64 *ctx)
{
	struct task_struct *t = (void *)ctx[0];

	put(t->pid);
	put(t->flags);
	put(t->exit_code);
	put((u64)t->mm);
	put((u64)t->real_parent->thread_pid);
	put(t->comm[2]);
	t->tgid = ctx[1];
	t->flags = 7;
	t->comm[1] = 3;
	put(t->state);
	return 0;
}

static __noinline int shared(struct task_struct *t)
{
	put(t->tgid);
	return field_info(t->state, EXISTS) ? t->state : t->pid;
}

SEC("raw_tp/x") int first(u64 *ctx) { return shared((void *)ctx[0]); }
SEC("raw_tp/x") int second(u64 *ctx) { return shared((void *)ctx[1]) + 1; }

char _license[] SEC("license") = "GPL";
