# Programs in native form. See prog.pyx.
from anybpf.core.context cimport ContextTable
from anybpf.core.run_ctx cimport bpf_prog

cdef class Image:
    """The native half of a program; whoever may still run it holds a reference."""
    cdef bpf_prog c
    cdef readonly object keep   # maps and context table that the code points to

cdef class Prog:
    cdef readonly Image image
    cdef readonly object kernel
    cdef readonly object name
    cdef readonly object prog_type
    cdef readonly bytes insns
    cdef object __weakref__
    cdef dict __dict__
