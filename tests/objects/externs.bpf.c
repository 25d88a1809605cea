/* Things that the kernel provides: configuration, symbols, functions. */
#include "helpers.h"

enum libbpf_tristate { TRI_NO, TRI_YES, TRI_MODULE };

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_ON __kconfig;
extern enum libbpf_tristate CONFIG_THREE __kconfig;
extern char CONFIG_TEXT[8] __kconfig;
extern u64 CONFIG_NUMBER __kconfig __weak;
extern u32 CONFIG_MISSING __kconfig __weak;
extern const void bpf_prog_put __ksym __weak;
extern const int no_such_variable __ksym __weak;
extern u64 bpf_no_such_kfunc(u64 value) __ksym __weak;

SEC("xdp")
int configured(struct xdp_md *ctx)
{
	if (CONFIG_ON && CONFIG_THREE == TRI_MODULE && CONFIG_TEXT[1] == 'i')
		return CONFIG_NUMBER + CONFIG_MISSING;
	return LINUX_KERNEL_VERSION >> 16;
}

SEC("xdp")
int symbols(struct xdp_md *ctx)
{
	if (&no_such_variable)
		return 1;
	if (bpf_no_such_kfunc)
		return bpf_no_such_kfunc(3);
	return &bpf_prog_put ? 2 : 3;
}

char LICENSE[] SEC("license") = "GPL";
