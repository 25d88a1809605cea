"""What one instruction does to a state (do_check_insn, kernel/bpf/verifier.c)."""
