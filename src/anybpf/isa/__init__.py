"""The BPF instruction set: encode, check, read, write and mean it (Documentation/bpf/standardization)."""
