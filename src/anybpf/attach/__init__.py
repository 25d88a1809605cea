"""Hooks that programs are attached to, and what calls them (kernel/bpf/link.c)."""
