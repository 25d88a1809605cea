"""The Internet checksum for Python callers (lib/checksum.c)."""
from libc.stdint cimport uint8_t, uint32_t

from anybpf.net cimport checksum


def internet_checksum(data, seed=0):
    """The 16-bit checksum of the bytes `data`, as a header would hold it in memory order.

    `seed` is a partial sum to start with, such as `partial_sum(pseudo_header)`. The result is a
    native integer: its bytes in `sys.byteorder` are what goes into the packet.
    """
    cdef const uint8_t[:] view = memoryview(data).cast("B")
    return checksum.fold(checksum.partial(&view[0] if len(view) else NULL, len(view), seed))


def partial_sum(data, seed=0):
    """The 32-bit ones' complement sum of the bytes `data` (native words) added to `seed`."""
    cdef const uint8_t[:] view = memoryview(data).cast("B")
    return checksum.partial(&view[0] if len(view) else NULL, len(view), seed)


def replace(check, old, new, size=4):
    """The checksum `check` after a word of `size` bytes (2 or 4) went from `old` to `new`."""
    if size == 2:
        return checksum.replaced2(check, old, new)
    return checksum.replaced4(check, old, new)
