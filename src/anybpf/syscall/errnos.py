"""Error numbers that bpf(2) returns and Python's errno module may lack (include/linux/errno.h)."""

from __future__ import annotations

#: "operation is not supported" inside the kernel; it escapes to user space through bpf(2)
ENOTSUPP = 524
#: "file descriptor in bad state"
EBADFD = 77
