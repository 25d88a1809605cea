"""Hooks that programs are attached to, and what calls them (kernel/bpf/link.c)."""

from __future__ import annotations

from anybpf import uapi

#: the attach types that there is a hook for
ATTACH_TYPES = frozenset({uapi.BPF_LIRC_MODE2})
