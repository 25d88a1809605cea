"""Arguments of helpers (check_func_arg, kernel/bpf/verifier.c).

`ARGS` has one function for each kind of argument; `COMPATIBLE` says which registers fit.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EACCES, EINVAL
from typing import Final

from anybpf import uapi
from anybpf.btf.fields import Field
from anybpf.btf.parse import Btf
from anybpf.errors import Bug, NotSupported
from anybpf.proto import kinds
from anybpf.proto.helpers import Arg, Helper
from anybpf.proto.kinds import (
    KIND_MASK,
    MEM_ALIGNED,
    MEM_FIXED_SIZE,
    MEM_RDONLY,
    MEM_RINGBUF,
    MEM_UNINIT,
    MEM_WRITE,
    OBJ_RELEASE,
    PTR_MAYBE_NULL,
)
from anybpf.verifier import backtrack, regtype
from anybpf.verifier.backtrack import Wanted
from anybpf.verifier.consts import SLOT_BYTES, SPILL, ZERO
from anybpf.verifier.env import Env
from anybpf.verifier.facts import MapFacts
from anybpf.verifier.region import btf_ptr, buffer, ctx, dynptrs, kptr, map_value, packet, stack
from anybpf.verifier.region.access import check_region, make
from anybpf.verifier.reject import ENOTSUPP, Reject
from anybpf.verifier.state import Reg, Slot
from anybpf.verifier.step import btf_args, dynptr, fields, graph, mem, regs
from anybpf.verifier.walk import Walk

MAX_SIZE: Final = 1 << 29

#: program types whose context is in memory as programs see it
UNCONVERTED = frozenset({
    uapi.BPF_PROG_TYPE_KPROBE, uapi.BPF_PROG_TYPE_TRACEPOINT, uapi.BPF_PROG_TYPE_RAW_TRACEPOINT,
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, uapi.BPF_PROG_TYPE_TRACING,
    uapi.BPF_PROG_TYPE_LSM, uapi.BPF_PROG_TYPE_STRUCT_OPS, uapi.BPF_PROG_TYPE_SYSCALL,
    uapi.BPF_PROG_TYPE_NETFILTER, uapi.BPF_PROG_TYPE_LIRC_MODE2,
    uapi.BPF_PROG_TYPE_CGROUP_DEVICE})

_MEMORY = (kinds.PTR_TO_STACK, kinds.PTR_TO_PACKET, kinds.PTR_TO_PACKET_META,
           kinds.PTR_TO_MAP_KEY, kinds.PTR_TO_MAP_VALUE, kinds.PTR_TO_MEM,
           kinds.PTR_TO_MEM | MEM_RINGBUF, kinds.PTR_TO_BUF,
           kinds.PTR_TO_BTF_ID | kinds.PTR_TRUSTED)
_NUMBER = (kinds.SCALAR_VALUE,)
_SOCKETS = (kinds.PTR_TO_SOCK_COMMON, kinds.PTR_TO_SOCKET, kinds.PTR_TO_TCP_SOCK,
            kinds.PTR_TO_XDP_SOCK)
#: what may have locks and kernel pointers inside
_OWNERS = (kinds.PTR_TO_MAP_VALUE, kinds.PTR_TO_BTF_ID | kinds.MEM_ALLOC)
_TYPED = (kinds.PTR_TO_BTF_ID, kinds.PTR_TO_BTF_ID | kinds.PTR_TRUSTED,
          kinds.PTR_TO_BTF_ID | kinds.MEM_RCU)

#: kind of argument -> kinds of registers that may be passed
COMPATIBLE: dict[int, tuple[int, ...]] = {
    kinds.ARG_PTR_TO_MAP_KEY: _MEMORY,
    kinds.ARG_PTR_TO_MAP_VALUE: _MEMORY,
    kinds.ARG_PTR_TO_MEM: _MEMORY,
    kinds.ARG_CONST_SIZE: _NUMBER,
    kinds.ARG_CONST_SIZE_OR_ZERO: _NUMBER,
    kinds.ARG_CONST_ALLOC_SIZE_OR_ZERO: _NUMBER,
    kinds.ARG_CONST_MAP_PTR: (kinds.CONST_PTR_TO_MAP,),
    kinds.ARG_PTR_TO_CTX: (kinds.PTR_TO_CTX,),
    kinds.ARG_PTR_TO_SOCK_COMMON: _SOCKETS,
    kinds.ARG_PTR_TO_SOCKET: (kinds.PTR_TO_SOCKET,),
    kinds.ARG_PTR_TO_BTF_ID_SOCK_COMMON: (*_SOCKETS, kinds.PTR_TO_BTF_ID,
                                          kinds.PTR_TO_BTF_ID | kinds.PTR_TRUSTED),
    kinds.ARG_PTR_TO_RINGBUF_MEM: (kinds.PTR_TO_MEM | MEM_RINGBUF,),
    kinds.ARG_PTR_TO_FUNC: (kinds.PTR_TO_FUNC,),
    kinds.ARG_PTR_TO_STACK: (kinds.PTR_TO_STACK,),
    kinds.ARG_PTR_TO_CONST_STR: (kinds.PTR_TO_MAP_VALUE,),
    kinds.ARG_PTR_TO_DYNPTR: (kinds.PTR_TO_STACK, kinds.CONST_PTR_TO_DYNPTR),
    kinds.ARG_PTR_TO_SPIN_LOCK: _OWNERS,
    kinds.ARG_KPTR_XCHG_DEST: _OWNERS,
    kinds.ARG_PTR_TO_TIMER: (kinds.PTR_TO_MAP_VALUE,),
    kinds.ARG_PTR_TO_BTF_ID: _TYPED,
    kinds.ARG_PTR_TO_PERCPU_BTF_ID: (
        kinds.PTR_TO_BTF_ID | kinds.MEM_PERCPU,
        kinds.PTR_TO_BTF_ID | kinds.MEM_PERCPU | kinds.MEM_RCU,
        kinds.PTR_TO_BTF_ID | kinds.MEM_PERCPU | kinds.PTR_TRUSTED),
}
#: registers that may be passed at any offset; slices of dynptrs are not among them
AT_OFFSET = frozenset({
    kinds.PTR_TO_STACK, kinds.PTR_TO_PACKET, kinds.PTR_TO_PACKET_META, kinds.PTR_TO_MAP_KEY,
    kinds.PTR_TO_MAP_VALUE, kinds.PTR_TO_MEM, kinds.PTR_TO_MEM | MEM_RDONLY,
    kinds.PTR_TO_MEM | MEM_RINGBUF, kinds.PTR_TO_BUF, kinds.PTR_TO_BUF | MEM_RDONLY,
    kinds.PTR_TO_ARENA, kinds.SCALAR_VALUE})
_ELIDE_NULL = frozenset({uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_PERCPU_ARRAY})


class Call:
    """What the arguments of one call tell (struct bpf_call_arg_meta)."""

    def __init__(self, walk: Walk, row: Helper) -> None:
        self.walk = walk
        self.env = walk.env
        self.row = row
        self.map: MapFacts | None = None
        self.map_uid = 0
        self.raw = False
        #: memory on the stack that the helper fills: register and bytes
        self.fills: tuple[int, int] | None = None
        self.release = 0
        self.ref = 0
        self.mem_size = 0
        self.size_max = 0
        self.subprog = 0
        #: the array's index, if it is known
        self.key = -1
        #: what is kept of the dynptr that was passed
        self.dynptr: Reg | None = None
        #: its id and reference
        self.dynptr_ids = (0, 0)
        #: what the variable of every CPU is that was passed: flags, types, number
        self.percpu: tuple[int, Btf | None, int] = (0, None, 0)
        #: the pointer in a map or object that is exchanged, and its owner's types
        self.kptr: tuple[Field, Btf | None] | None = None


def check(call: Call, number: int, arg: Arg) -> None:
    """Argument `number` (from 0)."""
    env, regno = call.env, number + 1
    reg = regs.read(env, regno)
    kind = arg.kind
    if kind == kinds.ARG_ANYTHING:
        return
    if regtype.is_packet(reg.kind) and not packet.may_pass(env, call.row.pkt):
        raise env.reject(EACCES, "helper access to the packet is not allowed")
    if kind & kinds.KIND_MASK == kinds.ARG_PTR_TO_MAP_VALUE:
        arg = _resolved(call, arg)
        kind = arg.kind
    if not kind & kinds.PTR_MAYBE_NULL or not regs.is_zero(reg):
        check_kind(env, call.row.name, reg, regno, arg, call.kptr)
        check_offset(env, reg, regno, arg)
    _note_reference(call, reg, regno, arg)
    rule = ARGS.get(kind & kinds.KIND_MASK)
    if rule is None:
        raise Bug(f"no rule for an argument of {call.row.symbol}")
    rule(call, reg, regno, arg)


def _resolved(call: Call, arg: Arg) -> Arg:
    """What some maps take for a value (resolve_map_arg_type)."""
    env, found = call.env, call.map
    if found is None:
        raise env.reject(EACCES, "invalid map_ptr to access map->type")
    if found.type in (uapi.BPF_MAP_TYPE_SOCKMAP, uapi.BPF_MAP_TYPE_SOCKHASH):
        if arg.kind != kinds.ARG_PTR_TO_MAP_VALUE:
            raise env.reject(EINVAL, "invalid arg_type for sockmap/sockhash")
        return Arg(kinds.ARG_PTR_TO_BTF_ID_SOCK_COMMON, btf="sock_common")
    if found.type == uapi.BPF_MAP_TYPE_BLOOM_FILTER and call.row.name == "map_peek_elem":
        return Arg(kinds.ARG_PTR_TO_MAP_VALUE)
    return arg


def check_kind(env: Env, helper: str, reg: Reg, regno: int, arg: Arg,
               exchanged: tuple[Field, Btf | None] | None = None) -> None:
    wanted = arg.kind
    expected = COMPATIBLE.get(wanted & kinds.KIND_MASK)
    if expected is None:
        raise Bug(f"no registers for arguments of kind {wanted & KIND_MASK}")
    kind = reg.kind
    if wanted & kinds.MEM_RDONLY:
        kind &= ~kinds.MEM_RDONLY
    if wanted & kinds.PTR_MAYBE_NULL:
        kind &= ~kinds.PTR_MAYBE_NULL
    if wanted & kinds.KIND_MASK == kinds.ARG_PTR_TO_MEM:
        kind &= ~kinds.DYNPTR_TYPES
    if helper == "kptr_xchg" and regno == 2 and kind & kinds.MEM_ALLOC:
        kind &= ~(kinds.MEM_ALLOC | kinds.MEM_PERCPU)
    if kind not in expected:
        names = ", ".join([regtype.text(k) for k in expected])
        raise env.reject(EACCES, f"R{regno} type={regtype.text(reg.kind)} expected={names}")
    if reg.kind & kinds.KIND_MASK == kinds.PTR_TO_BTF_ID:
        btf_args.check(env, helper, reg, regno, arg, exchanged)


def check_offset(env: Env, reg: Reg, regno: int, arg: Arg) -> None:
    """The same of a helper's argument (check_func_arg_reg_off)."""
    wanted = arg.kind
    if wanted & kinds.KIND_MASK == kinds.ARG_PTR_TO_DYNPTR and reg.kind == kinds.PTR_TO_STACK:
        return
    check_moved(env, reg, regno, bool(wanted & kinds.OBJ_RELEASE))


def check_moved(env: Env, reg: Reg, regno: int, release: bool = False) -> None:
    """The pointer was not moved, where it must not be; `release`: it is given back."""
    if release and reg.off:
        raise env.reject(EINVAL, f"R{regno} must have zero offset when passed to release func or "
                                 "trusted arg to kfunc")
    if release or reg.kind not in AT_OFFSET:
        fixed = not release and btf_args.at_offset(reg.kind)
        ctx.check_unmoved(env, reg, regno, fixed)


def _note_reference(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    if arg.kind & OBJ_RELEASE:
        if arg.kind & KIND_MASK == kinds.ARG_PTR_TO_DYNPTR:
            dynptr.check_owned(call.env, reg, regno)
        elif not reg.ref and not regs.is_zero(reg):
            raise call.env.reject(
                EINVAL, f"R{regno} must be referenced when passed to release function")
        call.release = regno
    if reg.ref and arg.kind & KIND_MASK != kinds.ARG_KPTR_XCHG_DEST:
        if call.ref:
            # this text has no end of line
            raise Reject(EACCES, f"more than one arg with ref_obj_id R{regno} {reg.ref} {call.ref}",
                         call.env.idx, end="")
        call.ref = reg.ref


# -- memory


def memory(call: Call, regno: int, size: int, write: bool, zero_ok: bool, raw: bool) -> None:
    """`size` bytes where the register points to (check_helper_mem_access)."""
    env = call.env
    reg = env.reg(regno)
    base = reg.kind & kinds.KIND_MASK
    if base in (kinds.PTR_TO_PACKET, kinds.PTR_TO_PACKET_META):
        packet.check(env, reg, regno, reg.off, size, zero_ok)
    elif base == kinds.PTR_TO_MAP_KEY:
        _no_write(env, reg, regno, write)
        check_region(env, reg, regno, reg.off, size, map_value.map_of(reg).key_size)
    elif base == kinds.PTR_TO_MAP_VALUE:
        map_value.check_flags(env, reg, reg.off, size, write)
        map_value.check(env, reg, regno, reg.off, size, zero_ok)
    elif base == kinds.PTR_TO_MEM:
        _no_write(env, reg, regno, write and bool(reg.kind & MEM_RDONLY))
        check_region(env, reg, regno, reg.off, size, reg.mem_size, zero_ok)
    elif base == kinds.PTR_TO_BUF:
        _no_write(env, reg, regno, write and bool(reg.kind & MEM_RDONLY))
        buffer.check(env, reg, regno, reg.off, size)
    elif base == kinds.PTR_TO_STACK:
        if stack.check_initialized(call.walk, reg, regno, reg.off, size, zero_ok, write, raw):
            call.fills = (regno, size)
    elif base == kinds.PTR_TO_CTX and env.facts.type in UNCONVERTED:
        _context(call, reg, regno, size, write)
    elif base == kinds.PTR_TO_BTF_ID:
        btf_ptr.check(env, reg, regno, reg.off, size, False)
    elif not (zero_ok and size == 0 and regs.is_zero(reg)):
        raise env.reject(EACCES, f"R{regno} type={regtype.text(reg.kind)} expected=fp")


def _context(call: Call, reg: Reg, regno: int, size: int, write: bool) -> None:
    """A context that is memory as it is: its last byte must be one that may be accessed."""
    if size:
        walk = call.walk
        insn = walk.env.decoded[walk.env.idx]
        ctx.access(make(walk, insn, reg, regno, reg.off + size - 1, 1, write, -1))


def _no_write(env: Env, reg: Reg, regno: int, refused: bool) -> None:
    if refused:
        raise env.reject(EACCES, f"R{regno} cannot write into {regtype.text(reg.kind)}")


# -- one function a kind


def _nothing_more(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    """The kind was all there is to check."""


def _map(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    found = map_value.map_of(reg)
    if call.map is not None and (call.map is not found or call.map_uid != reg.map_uid):
        raise call.env.reject(
            EINVAL, f"timer pointer in R1 map_uid={call.map_uid} doesn't match map pointer in R2 "
                    f"map_uid={reg.map_uid}")
    call.map, call.map_uid = found, reg.map_uid


def _key(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    if call.map is None:
        raise call.env.reject(EACCES, "invalid map_ptr to access map->key")
    memory(call, regno, call.map.key_size, False, False, False)
    # an inner map may have fewer elements than the one that is known of it
    if call.map.type in _ELIDE_NULL and not call.map.flags & uapi.BPF_F_INNER_MAP:
        call.key = _constant_key(call.env, reg, call.map.key_size)


def _constant_key(env: Env, reg: Reg, size: int) -> int:
    """The index on the stack, if it is known (get_constant_map_key); else -1."""
    if reg.kind != kinds.PTR_TO_STACK or reg.vm:
        return -1
    number, byte = divmod(-(reg.off + reg.smin) - 1, SLOT_BYTES)
    frame = stack.frame_of(env, reg)
    slot = frame.stack[number]
    if _leading(slot, byte, ZERO) >= size:
        return 0
    if not slot.scalar_spilled() or _leading(slot, byte, SPILL) != size or slot.reg.vm:
        return -1
    wanted = Wanted(len(env.state.frames) - 1)
    wanted.add_slot(reg.frameno, number)
    backtrack.chain(env, env.state, wanted)
    return slot.reg.vv


def _leading(slot: Slot, byte: int, kind: int) -> int:
    """How many bytes from `byte` on, upwards in memory, are of a kind."""
    count = 0
    while byte >= 0 and slot.kind(byte) == kind:
        byte -= 1
        count += 1
    return count


def _value(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    if arg.kind & PTR_MAYBE_NULL and regs.is_zero(reg):
        return
    if call.map is None:
        raise call.env.reject(EACCES, "invalid map_ptr to access map->value")
    call.raw = bool(arg.kind & MEM_UNINIT)
    memory(call, regno, call.map.value_size, bool(arg.kind & MEM_WRITE), False, call.raw)


def _memory(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    """Checked with the size that follows, unless it is fixed."""
    call.raw = bool(arg.kind & MEM_UNINIT)
    if arg.kind & MEM_FIXED_SIZE:
        memory(call, regno, arg.size, bool(arg.kind & MEM_WRITE), False, call.raw)
        if arg.kind & MEM_ALIGNED:
            mem.check_alignment(call.env, reg, 0, arg.size, True)


def _size(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    """The size of the memory before it (check_mem_size_reg)."""
    sized_memory(call, regno, bool(call.row.args[regno - 2].kind & MEM_WRITE),
                 arg.kind & KIND_MASK == kinds.ARG_CONST_SIZE_OR_ZERO, call.raw)


def sized_memory(call: Call, regno: int, write: bool, zero_ok: bool, raw: bool) -> None:
    """Register `regno` is the size of the memory that the register before it points to."""
    env = call.env
    reg = env.regs[regno]
    call.size_max = reg.umax
    if reg.smin < 0:
        raise env.reject(EACCES, f"R{regno} min value is negative, either use unsigned or "
                                 "'var &= const'")
    if reg.umin == 0 and not zero_ok:
        raise env.reject(EACCES, f"R{regno} invalid zero-sized read: u64=[{reg.umin},{reg.umax}]")
    if reg.umax >= MAX_SIZE:
        raise env.reject(EACCES, f"R{regno} unbounded memory access, use 'var &= const' or "
                                 "'if (var < const)'")
    memory(call, regno - 1, reg.umax, write, zero_ok, raw and not reg.vm)
    backtrack.mark(env, regno)


def _alloc_size(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    if reg.vm:
        raise call.env.reject(EACCES, f"R{regno} is not a known constant'")
    call.mem_size = reg.vv
    backtrack.mark(call.env, regno)


def _function(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    call.subprog = reg.subprog


def _string(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    constant_string(call.env, reg, regno)


def constant_string(env: Env, reg: Reg, regno: int) -> None:
    """A constant string in a frozen map (check_reg_const_str)."""
    found = map_value.map_of(reg)
    if not found.frozen or not found.flags & uapi.BPF_F_RDONLY_PROG:
        raise env.reject(EACCES, f"R{regno} does not point to a readonly map'")
    if reg.vm:
        raise env.reject(EACCES, f"R{regno} is not a constant address'")
    if found.type != uapi.BPF_MAP_TYPE_ARRAY:
        raise env.reject(EACCES, "no direct value access support for this map type")
    at = reg.off + reg.vv
    map_value.check(env, reg, regno, reg.off, found.value_size - reg.off)
    if found.max_entries != 1:
        raise env.reject(ENOTSUPP, "direct value access on string failed")
    if found.content is None:
        raise NotSupported("a constant string in a map whose content is not told "
                           "(MapFacts.content)")
    if b"\0" not in found.content[at:]:
        raise env.reject(EINVAL, "string is not zero-terminated")


def _lock(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    if graph.in_tree_callback(call.env):
        raise call.env.reject(EACCES, "can't spin_{lock,unlock} in rbtree cb")
    change = fields.lock if call.row.name == "spin_lock" else fields.unlock
    change(call.env, reg, regno)


def _percpu(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    if not reg.btf_id:
        raise call.env.reject(EACCES, f"Helper has invalid btf_id in R{regno}")
    call.percpu = (reg.kind & ~KIND_MASK, reg.btf, reg.btf_id)


def _timer(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    call.map, call.map_uid = fields.check_at(call.env, reg, regno, "bpf_timer"), reg.map_uid


def _kptr(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    call.kptr = kptr.check_destination(call.env, reg, regno)


def _dynptr(call: Call, reg: Reg, regno: int, arg: Arg) -> None:
    word = dynptrs.of_flags(arg.kind)
    dynptr.check_pointer(call.env, reg, regno - 1)
    if arg.kind & MEM_UNINIT:
        dynptr.make(call.walk, reg, regno, word)
    else:
        held = dynptr.use(call.walk, reg, regno - 1, word, bool(arg.kind & MEM_RDONLY))
        call.dynptr, call.dynptr_ids = held, (held.id, held.ref)


ARGS: dict[int, Callable[[Call, Reg, int, Arg], None]] = {
    kinds.ARG_PTR_TO_DYNPTR: _dynptr,
    kinds.ARG_KPTR_XCHG_DEST: _kptr,
    kinds.ARG_CONST_MAP_PTR: _map,
    kinds.ARG_PTR_TO_MAP_KEY: _key,
    kinds.ARG_PTR_TO_MAP_VALUE: _value,
    kinds.ARG_PTR_TO_MEM: _memory,
    kinds.ARG_CONST_SIZE: _size,
    kinds.ARG_CONST_SIZE_OR_ZERO: _size,
    kinds.ARG_CONST_ALLOC_SIZE_OR_ZERO: _alloc_size,
    kinds.ARG_PTR_TO_CTX: _nothing_more,
    kinds.ARG_PTR_TO_SOCK_COMMON: _nothing_more,
    kinds.ARG_PTR_TO_SOCKET: _nothing_more,
    kinds.ARG_PTR_TO_BTF_ID_SOCK_COMMON: _nothing_more,
    kinds.ARG_PTR_TO_RINGBUF_MEM: _nothing_more,
    kinds.ARG_PTR_TO_FUNC: _function,
    kinds.ARG_PTR_TO_BTF_ID: _nothing_more,
    kinds.ARG_PTR_TO_PERCPU_BTF_ID: _percpu,
    kinds.ARG_PTR_TO_STACK: _nothing_more,
    kinds.ARG_PTR_TO_CONST_STR: _string,
    kinds.ARG_PTR_TO_SPIN_LOCK: _lock,
    kinds.ARG_PTR_TO_TIMER: _timer,
}
