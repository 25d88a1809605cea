"""The verifier (kernel/bpf/verifier.c)."""
