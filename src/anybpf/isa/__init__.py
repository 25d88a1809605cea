"""The BPF instruction set: encode, check, read, write and mean it (RFC 9669)."""
