# Helper arguments in checked runs. See arguments.pyx.
from libc.stdint cimport uint32_t, uint64_t

from anybpf.core.run_ctx cimport run_ctx

cdef enum:
    ARG_CHECK_NONE = 0          # any number
    ARG_CHECK_MAP = 1           # a map that the machine knows
    ARG_CHECK_KEY = 2           # memory of the map's key size
    ARG_CHECK_VALUE = 3         # memory of the map's value size
    ARG_CHECK_MEM = 4           # memory whose size is the next argument
    ARG_CHECK_FIXED = 5         # memory of sizes[] bytes
    ARG_CHECK_SIZE = 6          # the size of a MEM argument; 0 only where nullable[] is set
    ARG_CHECK_CTX = 7           # the context that the program got
    ARG_CHECK_FUNC = 8          # a function of the program
    ARG_CHECK_STR = 9           # memory with a NUL in it
    ARG_CHECK_STACK = 10        # the program's stack
    ARG_CHECK_RECORD = 11       # the start of a reserved ring buffer record
    ARG_CHECK_OBJECT = 12       # the start of a region: a socket, a kernel object
    ARG_CHECK_COUNT = 13

# Whether the program may call the helper and the arguments r[0..4] are what its row asks for; if
# not, records the fault.
cdef bint check_arguments(run_ctx *run, uint32_t id, uint64_t *r) noexcept nogil
# Whether `func` is the address of a bpf_func of the running program.
cdef bint is_function(run_ctx *run, uint64_t func) noexcept nogil
