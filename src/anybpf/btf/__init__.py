"""BTF, the type information of the kernel and of BPF programs (kernel/bpf/btf.c)."""
