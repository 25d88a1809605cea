"""Programs: decoded instructions with their maps, functions and statistics (kernel/bpf/core.c)."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from anybpf cimport uapi
from anybpf.core.decode cimport OP_BAD, OP_CALL_NATIVE, OP_IMM64, decode
from anybpf.core.run_ctx cimport bpf_func, bpf_op
from anybpf.errors import BpfError

EINVAL = 22


cdef class Image:
    """The native half of a program. `code` is whole little-endian instruction slots."""

    def __cinit__(self, bytes code):
        cdef uint32_t n = len(code) // 8
        memset(&self.c, 0, sizeof(bpf_prog))
        self.c.len = n
        self.c.ops = <bpf_op *> calloc(n + 1, sizeof(bpf_op))
        self.c.funcs = <bpf_func *> calloc(count_functions(code), sizeof(bpf_func))
        if self.c.ops == NULL or self.c.funcs == NULL:
            raise MemoryError
        decode(<const uint8_t *> code, n, self.c.ops)

    def __dealloc__(self):
        free(self.c.ops)
        free(self.c.funcs)


cdef inline bint is_pseudo_imm64(const uint8_t *slot) noexcept nogil:
    return slot[0] == (uapi.BPF_LD | uapi.BPF_IMM | uapi.BPF_DW) and slot[1] >> 4 != 0


cdef uint32_t count_functions(bytes code):
    """Room for the functions that ld_imm64 may name: at least one, so that NULL means no memory."""
    cdef const uint8_t *p = code
    cdef uint32_t i, n = 1
    for i in range(<uint32_t> (len(code) // 8)):
        n += is_pseudo_imm64(p + 8 * i) and p[8 * i + 1] >> 4 == uapi.BPF_PSEUDO_FUNC
    return n


cdef uint64_t add_function(bpf_prog *prog, int64_t start) noexcept:
    """The address of the bpf_func that begins at `start`, made when first asked for."""
    cdef uint32_t i
    for i in range(prog.n_funcs):
        if <int64_t> prog.funcs[i].start == start:
            return <uint64_t> &prog.funcs[i]
    prog.funcs[prog.n_funcs].prog = prog
    prog.funcs[prog.n_funcs].start = start
    prog.n_funcs += 1
    return <uint64_t> &prog.funcs[prog.n_funcs - 1]


cdef object reference(bpf_prog *prog, const uint8_t *slot, uint32_t at, maps, addresses):
    """What a pseudo ld_imm64 at index `at` puts in its register; None: nobody knows."""
    cdef int32_t imm
    memcpy(&imm, slot + 4, 4)
    if at in addresses:
        return addresses[at]
    if slot[1] >> 4 == uapi.BPF_PSEUDO_FUNC:
        start = <int64_t> at + 1 + imm
        return add_function(prog, start) if 0 <= start < prog.len else None
    if at not in maps:
        return None
    map, offset = maps[at]
    return map.address if offset is None else map.value_address(offset)


cdef void resolve(bpf_prog *prog, bytes code, maps, addresses) except *:
    """Fill in addresses; what stays unresolved faults when it is reached."""
    cdef const uint8_t *p = code
    cdef uint32_t i
    for i in range(prog.len):
        if prog.ops[i].op == OP_IMM64 and is_pseudo_imm64(p + 8 * i):
            value = reference(prog, p + 8 * i, i, maps, addresses)
            if value is None:
                prog.ops[i].op = OP_BAD
            else:
                prog.ops[i].imm = value
        elif prog.ops[i].op == OP_CALL_NATIVE:
            prog.ops[i].imm = addresses.get(i, 0)


cdef void fill_in(Prog owner, bytes name, context, gpl) except *:
    cdef bpf_prog *prog = &owner.image.c
    cdef const char *text = name
    prog.prog_type = owner.prog_type
    prog.gpl = bool(gpl)
    prog.owner = <void *> owner
    prog.context = &(<ContextTable?> context).c if context is not None else NULL
    memcpy(prog.name, text, len(name))


cdef class Prog:
    """A program ready to run on `kernel`.

    `insns`: the instructions, little-endian, 8 bytes a slot. `maps`: by index of a ld_imm64, the
    Map and the offset into its value area (None: the map itself). `context`: a ContextTable, or
    None where the context is plain memory. `addresses`: by instruction index, the native address
    of a kernel symbol (ld_imm64) or of a kernel function with a helper's signature (call).
    Raises BpfError(EINVAL) if there is no whole instruction.
    """

    def __init__(self, insns, *, kernel, prog_type=0, name="", maps=None, context=None, gpl=False,
                 addresses=None):
        self.insns = bytes(insns)
        if not self.insns or len(self.insns) % 8:
            raise BpfError(EINVAL)
        self.kernel = kernel
        self.prog_type = prog_type
        self.name = name
        self.image = Image(self.insns)
        self.image.keep = (dict(maps or {}), context)
        fill_in(self, name.encode()[:15], context, gpl)
        resolve(&self.image.c, self.insns, maps or {}, addresses or {})

    def __del__(self):
        if self.image is not None:
            self.image.c.owner = NULL
            self.kernel.retire(self.image)

    @property
    def address(self):
        """Address of the native bpf_prog (what a prog array's slot holds)."""
        return <uint64_t> &self.image.c

    def __len__(self):
        return self.image.c.len

    @property
    def id(self):
        """The program's id in bpf(2), 0 while it has none."""
        return self.image.c.id

    @id.setter
    def id(self, value):
        self.image.c.id = value

    @property
    def gpl(self):
        """Whether the licence is compatible with the GPL."""
        return bool(self.image.c.gpl)

    @property
    def run_cnt(self):
        """Runs counted while the kernel's statistics were enabled."""
        return self.image.c.run_cnt

    @property
    def run_time_ns(self):
        """Nanoseconds spent in the counted runs."""
        return self.image.c.run_time_ns
