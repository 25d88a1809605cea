"""The running kernel behind the Machine's own bpf(cmd, attr) (kernel/bpf/syscall.c).

`Linux()` is a backend for `anybpf.libbpf`: load, test_run and map access, nothing that attaches.
"""

from __future__ import annotations

from anybpf.linux.syscall import Linux

__all__ = ["Linux"]
