"""The native engine: memory, programs, runs, interpreter (kernel/bpf/core.c)."""
