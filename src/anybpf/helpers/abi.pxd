# What every helper needs: the kernel's error numbers and how a helper answers with one.
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "string.h":
    size_t strnlen(const char *s, size_t n) nogil

cdef enum:
    EPERM = 1
    ENOENT = 2
    E2BIG = 7
    EAGAIN = 11
    ENOMEM = 12
    EACCES = 13
    EFAULT = 14
    EBUSY = 16
    ENODEV = 19
    EINVAL = 22
    ENOSPC = 28
    EDOM = 33
    ERANGE = 34
    EBADMSG = 74
    EOPNOTSUPP = 95
    EAFNOSUPPORT = 97
    EALREADY = 114
    ENOTSUPP = 524

cdef inline uint64_t fail(int number) noexcept nogil:
    """A negative error number as r0 holds it."""
    return <uint64_t> (-<int64_t> number)
