"""Error numbers that bpf(2) returns although errno.h lacks them (include/linux/errno.h)."""

from __future__ import annotations

#: "operation is not supported" inside the kernel; it escapes to user space through bpf(2)
ENOTSUPP = 524
