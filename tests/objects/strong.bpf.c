/* A strong extern that no kernel has; which one is chosen when compiling. */
#include "helpers.h"

#define ADDRESS(name) ({ u64 at = (u64)&name; asm volatile("" : "+r"(at)); at >> 60; })

#if KIND == 0
extern int CONFIG_NO_SUCH_OPTION __kconfig;
#define USE CONFIG_NO_SUCH_OPTION
#elif KIND == 1
extern const void no_such_symbol __ksym;
#define USE ADDRESS(no_such_symbol)
#elif KIND == 2
extern const int no_such_variable __ksym;
#define USE ADDRESS(no_such_variable)
#elif KIND == 3
extern int bpf_no_such_kfunc(void) __ksym;
#define USE bpf_no_such_kfunc()
#elif KIND == 4
extern int LINUX_NO_SUCH_FACT __kconfig;
#define USE LINUX_NO_SUCH_FACT
#elif KIND == 5
extern int CONFIG_BPF __kconfig;
#define USE CONFIG_BPF
#else
extern int bpf_rcu_read_lock(int, int) __ksym;
#define USE bpf_rcu_read_lock(1, 2)
#endif

SEC("xdp")
int use(struct xdp_md *ctx)
{
	return USE;
}

char LICENSE[] SEC("license") = "GPL";
