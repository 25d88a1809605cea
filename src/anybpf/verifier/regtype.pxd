# The C side of regtype.py.
from anybpf.proto cimport kinds

cpdef bint is_packet(int kind) noexcept
cpdef bint is_any_packet(int kind) noexcept
cpdef bint may_be_null(int kind) noexcept
