/* Externs that any kernel answers, for comparing what loaders say of them. */
#include "helpers.h"

extern int LINUX_KERNEL_VERSION __kconfig;
extern int CONFIG_HZ __kconfig __weak;
extern _Bool CONFIG_BPF __kconfig;
extern char CONFIG_CC_VERSION_TEXT[8] __kconfig __weak;
extern u64 CONFIG_NO_SUCH_OPTION __kconfig __weak;
extern const void bpf_prog_put __ksym __weak;
extern const void no_such_symbol __ksym __weak;
extern const int no_such_variable __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

struct {
	__uint(type, 1);
	__uint(max_entries, 1);
	__uint(pinning, 1);
	__type(key, u32);
	__type(value, u64);
} shared SEC(".maps");

int counter;

SEC("tc")
int use_all(void *ctx)
{
	u32 key = 0;

	bpf_rcu_read_lock();
	counter += CONFIG_HZ + CONFIG_BPF + CONFIG_CC_VERSION_TEXT[0] + CONFIG_NO_SUCH_OPTION;
	bpf_rcu_read_unlock();
	if (map_lookup(&shared, &key) && &bpf_prog_put && &no_such_symbol)
		return 1;
	return &no_such_variable ? 2 : LINUX_KERNEL_VERSION >> 16;
}

char LICENSE[] SEC("license") = "GPL";
