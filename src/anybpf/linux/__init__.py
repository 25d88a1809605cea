"""The running kernel behind the same bpf(cmd, attr) that the Machine answers (kernel/bpf/syscall.c).

`Linux()` is a backend for `anybpf.libbpf`: load, test_run and map access, nothing that attaches.
"""

from __future__ import annotations

from anybpf.linux.syscall import Linux

__all__ = ["Linux"]
