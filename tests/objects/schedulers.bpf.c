/* Two sched_ext schedulers: first come first served, and by virtual time in weighted queues. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

s32 scx_bpf_create_dsq(u64 dsq_id, s32 node) __ksym;
s32 scx_bpf_select_cpu_dfl(struct task_struct *p, s32 prev_cpu, u64 wake_flags,
			   bool *is_idle) __ksym;
void scx_bpf_dsq_insert(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags) __ksym;
void scx_bpf_dsq_insert_vtime(struct task_struct *p, u64 dsq_id, u64 slice, u64 vtime,
			      u64 enq_flags) __ksym;
bool scx_bpf_dsq_move_to_local(u64 dsq_id) __ksym;
void scx_bpf_kick_cpu(s32 cpu, u64 flags) __ksym;
s32 scx_bpf_pick_idle_cpu(const struct cpumask *cpus_allowed, u64 flags) __ksym;
const struct cpumask *scx_bpf_get_idle_cpumask(void) __ksym;
void scx_bpf_put_idle_cpumask(const struct cpumask *idle_mask) __ksym;
bool bpf_cpumask_test_cpu(u32 cpu, const struct cpumask *cpumask) __ksym;
int bpf_iter_scx_dsq_new(struct bpf_iter_scx_dsq *it, u64 dsq_id, u64 flags) __ksym;
struct task_struct *bpf_iter_scx_dsq_next(struct bpf_iter_scx_dsq *it) __ksym;
void bpf_iter_scx_dsq_destroy(struct bpf_iter_scx_dsq *it) __ksym;
void scx_bpf_error_bstr(char *fmt, unsigned long long *data, u32 data__sz) __ksym;

enum { QUEUE = 1, LOCAL_FLAG = 1 };
#define LOCAL (1ULL << 63 | 2)
#define SLICE 5000000ULL
#define FULL_WEIGHT 100

/* -- first come, first served */

struct counts {
	u64 local, queued;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct counts);
} counts SEC(".maps");

static void count(bool local)
{
	u32 zero = 0;
	struct counts *mine = bpf_map_lookup_elem(&counts, &zero);

	if (!mine)
		return;
	if (local)
		mine->local++;
	else
		mine->queued++;
}

SEC("struct_ops/simple_select_cpu")
s32 BPF_PROG(simple_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	bool idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);

	if (idle) {
		count(true);
		scx_bpf_dsq_insert(p, LOCAL, SLICE, 0);
	}
	return cpu;
}

SEC("struct_ops/simple_enqueue")
void BPF_PROG(simple_enqueue, struct task_struct *p, u64 enq_flags)
{
	count(false);
	scx_bpf_dsq_insert(p, QUEUE, SLICE, enq_flags);
}

SEC("struct_ops/simple_dispatch")
void BPF_PROG(simple_dispatch, s32 cpu, struct task_struct *prev)
{
	if (!scx_bpf_dsq_move_to_local(QUEUE) && prev)
		prev->scx.slice = SLICE;
}

SEC("struct_ops.s/simple_init")
s32 BPF_PROG(simple_init)
{
	return scx_bpf_create_dsq(QUEUE, -1);
}

s64 exit_code;
char exit_reason[64];

SEC("struct_ops/simple_exit")
void BPF_PROG(simple_exit, struct scx_exit_info *info)
{
	exit_code = info->exit_code;
	bpf_probe_read_kernel_str(exit_reason, sizeof(exit_reason), info->reason);
}

SEC(".struct_ops.link")
struct sched_ext_ops simple = {
	.select_cpu = (void *)simple_select_cpu,
	.enqueue = (void *)simple_enqueue,
	.dispatch = (void *)simple_dispatch,
	.init = (void *)simple_init,
	.exit = (void *)simple_exit,
	.name = "simple",
};

/* -- by virtual time */

struct task_state {
	u64 started;
	u64 ran;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_state);
} tasks SEC(".maps");

u64 now_served;

static bool before(u64 a, u64 b)
{
	return (s64)(a - b) < 0;
}

SEC("struct_ops/vtime_enqueue")
void BPF_PROG(vtime_enqueue, struct task_struct *p, u64 enq_flags)
{
	u64 vtime = p->scx.dsq_vtime;

	/* who slept long may not catch up more than one slice */
	if (before(vtime, now_served - SLICE))
		vtime = now_served - SLICE;
	scx_bpf_dsq_insert_vtime(p, QUEUE, SLICE, vtime, enq_flags);
}

SEC("struct_ops/vtime_dispatch")
void BPF_PROG(vtime_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local(QUEUE);
}

SEC("struct_ops/vtime_running")
void BPF_PROG(vtime_running, struct task_struct *p)
{
	struct task_state *state = bpf_task_storage_get(&tasks, p, 0, 0);

	if (state)
		state->started = bpf_ktime_get_ns();
	if (before(now_served, p->scx.dsq_vtime))
		now_served = p->scx.dsq_vtime;
}

SEC("struct_ops/vtime_stopping")
void BPF_PROG(vtime_stopping, struct task_struct *p, bool runnable)
{
	struct task_state *state = bpf_task_storage_get(&tasks, p, 0, 0);
	u32 weight = p->scx.weight;

	if (state)
		state->ran += bpf_ktime_get_ns() - state->started;
	if (weight)
		p->scx.dsq_vtime += (SLICE - p->scx.slice) * FULL_WEIGHT / weight;
}

SEC("struct_ops/vtime_enable")
void BPF_PROG(vtime_enable, struct task_struct *p)
{
	p->scx.dsq_vtime = now_served;
}

SEC("struct_ops.s/vtime_init_task")
s32 BPF_PROG(vtime_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	if (args->fork)
		p->scx.disallow = true;
	return bpf_task_storage_get(&tasks, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE) ? 0 : -12;
}

SEC("struct_ops/vtime_tick")
void BPF_PROG(vtime_tick, struct task_struct *p)
{
	const struct cpumask *idle = scx_bpf_get_idle_cpumask();
	struct task_struct *waiting;
	s32 cpu = -1;

	bpf_for_each(scx_dsq, waiting, QUEUE, 0) {
		if (bpf_cpumask_test_cpu(waiting->recent_used_cpu, idle))
			cpu = scx_bpf_pick_idle_cpu(waiting->cpus_ptr, 0);
		break;
	}
	scx_bpf_put_idle_cpumask(idle);
	if (cpu >= 0)
		scx_bpf_kick_cpu(cpu, 0);
}

SEC("struct_ops.s/vtime_init")
s32 BPF_PROG(vtime_init)
{
	static char text[] = "no queue: %d";
	unsigned long long data[1];
	s32 error = scx_bpf_create_dsq(QUEUE, -1);

	if (error) {
		data[0] = error;
		scx_bpf_error_bstr(text, data, sizeof(data));
	}
	return error;
}

SEC(".struct_ops.link")
struct sched_ext_ops vtime = {
	.enqueue = (void *)vtime_enqueue,
	.dispatch = (void *)vtime_dispatch,
	.running = (void *)vtime_running,
	.stopping = (void *)vtime_stopping,
	.enable = (void *)vtime_enable,
	.init_task = (void *)vtime_init_task,
	.tick = (void *)vtime_tick,
	.init = (void *)vtime_init,
	.name = "vtime",
};
