"""Arguments of kernel functions (check_kfunc_args, kernel/bpf/verifier.c).

What an argument may be follows from its type and the end of its name: `classify` gives one of the
names of `ARGS`, which has a function for each.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EACCES, EFAULT, EINVAL

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from anybpf.proto import kfuncs as rows
from anybpf.proto import kinds
from anybpf.proto.helpers import HELPERS
from anybpf.proto.kinds import KIND_MASK, PTR_MAYBE_NULL
from anybpf.verifier import backtrack, btf_walk, prototypes, regtype
from anybpf.verifier.env import Env
from anybpf.verifier.kfuncs import Kfunc
from anybpf.verifier.region import btf_ptr, dynptrs, slots
from anybpf.verifier.region.slots import IterType
from anybpf.verifier.reject import Reject
from anybpf.verifier.state import REF_RES_LOCK, REF_RES_LOCK_IRQ, Reg
from anybpf.verifier.step import args, btf_args, dynptr, fields, graph, regs
from anybpf.verifier.step.kfunc_call import Arg, Call

MAX_REGISTERS = 5
#: functions that take no pointers but good ones
_TRUSTING = rows.KF_TRUSTED_ARGS | rows.KF_RCU | rows.KF_RELEASE
#: end of the name of a struct that must not be taken for the one without
NOCAST = "___init"
#: struct that an argument points to -> what is expected
STRUCTS = {
    "bpf_list_head": "list_head", "bpf_list_node": "list_node", "bpf_rb_root": "rb_root",
    "bpf_rb_node": "rb_node", "bpf_wq": "wq", "bpf_task_work": "task_work",
    "bpf_res_spin_lock": "res_spin_lock",
}
#: arguments that make the size of the memory that the function gives
SIZES = {"rdonly_buf_size": True, "rdwr_buf_size": False}
_IRQ = {
    "bpf_local_irq_save": (True, slots.NATIVE), "bpf_local_irq_restore": (False, slots.NATIVE),
    "bpf_res_spin_lock_irqsave": (True, slots.LOCK),
    "bpf_res_spin_unlock_irqrestore": (False, slots.LOCK),
}


def check(call: Call) -> None:
    """Every argument."""
    env, kfunc = call.env, call.kfunc
    if len(kfunc.params) > MAX_REGISTERS:
        raise env.reject(EINVAL, f"Function {kfunc.name} has {len(kfunc.params)} > "
                                 f"{MAX_REGISTERS} args")
    number = 0
    while number < len(kfunc.params):
        number += _check(call, number)
    if kfunc.flags & rows.KF_RELEASE and not call.release:
        raise env.reject(EINVAL, f"release kernel function {kfunc.name} expects refcounted "
                                 "PTR_TO_BTF_ID")


def _check(call: Call, number: int) -> int:
    """One argument; how many were used up."""
    env, kfunc = call.env, call.kfunc
    param = kfunc.params[number]
    if kfunc.suffixed(number, "__prog") or kfunc.suffixed(number, "__ign"):
        return 1
    found = kfunc.btf.type(kfunc.btf.resolve(param.type))
    reg = env.regs[number + 1]
    if isinstance(found, (t.Int, t.AnyEnum)):
        _scalar(call, number, param, reg)
        return 1
    if not isinstance(found, t.Ptr):
        raise env.reject(EINVAL, f"Unrecognized arg#{number} type {found.kind_name}")
    target_id = kfunc.btf.resolve(found.type)
    arg = Arg(number, reg, param, kfunc.btf.type(target_id), target_id)
    _check_trusted(call, arg)
    _note_reference(call, arg)
    word = classify(call, arg)
    if word == "null":
        return 1
    if word in _FIRST:
        _FIRST[word](call, arg)
    releases = bool(kfunc.flags & rows.KF_RELEASE and reg.ref)
    args.check_moved(env, reg, arg.regno, releases)
    ARGS[word](call, arg)
    return 2 if word == "mem_size" else 1


# -- numbers


def _scalar(call: Call, number: int, param: t.Param, reg: Reg) -> None:
    env, regno = call.env, number + 1
    if reg.kind != kinds.SCALAR_VALUE:
        raise env.reject(EINVAL, f"R{regno} is not a scalar")
    if call.kfunc.suffixed(number, "__k"):
        if reg.vm:
            raise env.reject(EINVAL, f"R{regno} must be a known constant")
        backtrack.mark(env, regno)
        call.constant = reg.vv
    elif param.name in SIZES:
        call.rdonly |= SIZES[param.name]
        _result_size(call, regno, reg)


def _result_size(call: Call, regno: int, reg: Reg) -> None:
    env = call.env
    if call.mem_size:
        raise Reject(EINVAL, "2 or more rdonly/rdwr_buf_size parameters for kfunc", env.idx, "")
    if reg.vm:
        raise env.reject(EINVAL, f"R{regno} is not a const")
    call.mem_size = reg.vv & uapi.U32
    backtrack.mark(env, regno)


# -- what every pointer must be


def _check_trusted(call: Call, arg: Arg) -> None:
    if not call.kfunc.flags & _TRUSTING:
        return
    if (regs.is_zero(arg.reg) or regtype.may_be_null(arg.reg.kind)) \
            and not call.kfunc.suffixed(arg.number, "__nullable"):
        raise call.env.reject(EACCES,
                              f"Possibly NULL pointer passed to trusted arg{arg.number}")


def _note_reference(call: Call, arg: Arg) -> None:
    ref = arg.reg.ref
    if not ref:
        return
    releases = bool(call.kfunc.flags & rows.KF_RELEASE)
    if releases and call.ref:
        raise call.env.reject(EFAULT, "verifier bug: more than one arg with ref_obj_id "
                                      f"R{arg.regno} {ref} {call.ref}")
    call.ref = ref
    if releases:
        call.release = arg.regno


# -- which kind of pointer


def classify(call: Call, arg: Arg) -> str:
    """What is expected (get_kfunc_ptr_arg_type): a key of `ARGS`, or "null"."""
    kfunc, number, env = call.kfunc, arg.number, call.env
    if kfunc.name in ("bpf_cast_to_kern_ctx", "bpf_session_is_return", "bpf_session_cookie"):
        return "ctx"
    arg.sized = _is_sized(call, number)
    if prototypes.is_context(kfunc.btf, arg.target_id, env.prog_type):
        return "ctx"
    if kfunc.suffixed(number, "__nullable") and regs.is_zero(arg.reg) and not arg.sized:
        return "null"
    if kfunc.suffixed(number, "__alloc"):
        return "alloc"
    if kfunc.suffixed(number, "__refcounted_kptr"):
        return "refcounted"
    if arg.target.name == "bpf_dynptr":
        return "dynptr"
    if number == 0 if kfunc.is_iter else kfunc.suffixed(number, "__iter"):
        return "iter"
    if isinstance(arg.target, t.Struct) and arg.target.name in STRUCTS:
        return STRUCTS[arg.target.name]
    for suffix, word in (("__str", "str"), ("__map", "map"), ("__irq_flag", "irq_flag")):
        if kfunc.suffixed(number, suffix):
            return word
    return _plain(call, arg)


def _is_sized(call: Call, number: int) -> bool:
    """The next argument is the size of the memory (`__sz`, `__szk`)."""
    kfunc = call.kfunc
    if number + 1 >= len(kfunc.params):
        return False
    scalar = isinstance(kfunc.btf.type(kfunc.btf.resolve(kfunc.params[number + 1].type)),
                        (t.Int, t.AnyEnum))
    return (scalar and call.env.regs[number + 2].kind == kinds.SCALAR_VALUE
            and (kfunc.suffixed(number + 1, "__sz") or kfunc.suffixed(number + 1, "__szk")))


def _plain(call: Call, arg: Arg) -> str:
    env, kfunc = call.env, call.kfunc
    base = arg.reg.kind & KIND_MASK
    if base in regtype.TYPED_BY_KIND or base == kinds.PTR_TO_BTF_ID:
        if not isinstance(arg.target, t.Composite):
            raise env.reject(EINVAL, f"kernel function {kfunc.name} args#{arg.number} pointer type "
                                     f"{_named(arg.target)} is not supported")
        return "btf_id"
    if isinstance(arg.target, t.FuncProto):
        return "callback"
    if not btf_args.is_plain_data(env, kfunc.btf, arg.target) and not (
            arg.sized and isinstance(arg.target, t.Void)):
        void = "void, " if arg.sized else ""
        raise env.reject(EINVAL, f"arg#{arg.number} pointer type {_named(arg.target)} "
                                 f"must point to {void}scalar, or struct with "
                                 "scalar")
    return "mem_size" if arg.sized else "mem"


def _named(found: t.Type) -> str:
    """A type's kind and name as messages have them."""
    return "UNKNOWN " if isinstance(found, t.Void) else f"{found.kind_name} {found.name}"


# -- one function a kind


def _context(call: Call, arg: Arg) -> None:
    if arg.reg.kind != kinds.PTR_TO_CTX:
        raise call.env.reject(EINVAL, f"arg#{arg.number} expected pointer to ctx, but got "
                                      f"{regtype.text(arg.reg.kind)}")


def _memory(call: Call, arg: Arg) -> None:
    """As many bytes as the type has (check_mem_reg)."""
    env = call.env
    try:
        size = call.kfunc.btf.size_of(arg.target_id)
    except LoadError:
        raise env.reject(EINVAL, f"arg#{arg.number} reference type('{_named(arg.target)}') "
                                 f"size cannot be determined: -22") from None
    if regs.is_zero(arg.reg):
        return
    with_null(arg.reg, lambda: _both_ways(call, lambda made, write: args.memory(
        made, arg.regno, size, write, True, False)))


def with_null(reg: Reg, check_it: Callable[[], None]) -> None:
    """Look at a pointer that may be 0 as if it were not."""
    kind = reg.kind
    reg.kind &= ~PTR_MAYBE_NULL
    check_it()
    reg.kind = kind


def _both_ways(call: Call, check_it: Callable[[args.Call, bool], None]) -> None:
    """The function may read and write the memory."""
    made = args.Call(call.walk, HELPERS[0])
    for write in (False, True):
        check_it(made, write)


def _memory_of_size(call: Call, arg: Arg) -> None:
    """Memory, and in the next register its size (check_kfunc_mem_size_reg)."""
    env, kfunc, regno = call.env, call.kfunc, arg.regno + 1
    size = env.regs[regno]
    if not regs.is_zero(arg.reg) or not (kfunc.suffixed(arg.number, "__opt")
                                         or kfunc.suffixed(arg.number, "__nullable")):
        try:
            with_null(arg.reg, lambda: _both_ways(call, lambda made, write: args.sized_memory(
                made, regno, write, True, False)))
        except Reject as reject:
            text = (f"{reject.text}\n{arg.name} arg#{arg.number + 1} memory, len pair leads to "
                    "invalid memory access")
            raise env.reject(reject.errno, text) from None
    if kfunc.suffixed(arg.number + 1, "__szk"):
        if size.vm:
            raise env.reject(EINVAL, f"R{regno} must be a known constant")
        call.constant = size.vv


def _string(call: Call, arg: Arg) -> None:
    if arg.reg.kind != kinds.PTR_TO_MAP_VALUE:
        raise call.env.reject(EINVAL, f"arg#{arg.number} doesn't point to a const string")
    args.constant_string(call.env, arg.reg, arg.regno)


#: the iterator that takes a lock which interrupts may want
_OF_CGROUP = "bpf_iter_css_task_new"


def _may_walk_cgroups(env: Env) -> bool:
    """Where no interrupt can have come before (check_css_task_iter_allowlist)."""
    facts = env.facts
    return (facts.type == uapi.BPF_PROG_TYPE_LSM or env.state.sleepable
            or (facts.type == uapi.BPF_PROG_TYPE_TRACING
                and facts.attach_type == uapi.BPF_TRACE_ITER))


def _iterator(call: Call, arg: Arg) -> None:
    env, kfunc, walk = call.env, call.kfunc, call.walk
    if kfunc.name == _OF_CGROUP and not _may_walk_cgroups(env):
        raise env.reject(EINVAL, "css_task_iter is only allowed in bpf_lsm, bpf_iter and "
                                 "sleepable progs")
    if arg.reg.kind != kinds.PTR_TO_STACK:
        raise env.reject(EINVAL, f"arg#{arg.number} expected pointer to an iterator on stack")
    kind = iter_type(kfunc, arg)
    if kind is None:
        raise env.reject(EINVAL, f"expected valid iter pointer as arg #{arg.number}")
    if kfunc.flags & rows.KF_ITER_NEW:
        slots.check_new_iter(env, arg.reg, arg.number, kind)
        slots.reserve(walk, arg.reg, arg.regno, kind.slots)
        slots.make_iter(walk, arg.reg, kind, _iter_flags(env, kfunc))
        return
    place = slots.check_iter(env, arg.reg, arg.number, kind, kfunc.name)
    slots.note_read(walk, place, kind.slots)
    call.iterator = place
    call.ref = place.slot().reg.ref
    if kfunc.flags & rows.KF_ITER_DESTROY:
        slots.end_iter(walk, place, kind.slots)


def iter_type(kfunc: Kfunc, arg: Arg) -> IterType | None:
    """The struct of the iterator (btf_check_iter_arg)."""
    name = arg.target.name
    if not isinstance(arg.target, t.Struct) or not name.startswith("bpf_iter_"):
        return None
    if not arg.target.size or arg.target.size % 8:
        return None
    return IterType(kfunc.btf, arg.target_id, arg.target.size // 8)


def _iter_flags(env: Env, kfunc: Kfunc) -> int:
    if not kfunc.flags & rows.KF_RCU_PROTECTED:
        return 0
    return kinds.MEM_RCU if btf_ptr.in_rcu(env) else kinds.PTR_UNTRUSTED


def _irq_flag(call: Call, arg: Arg) -> None:
    env = call.env
    if arg.reg.kind != kinds.PTR_TO_STACK:
        raise env.reject(EINVAL, f"{arg.name} doesn't point to an irq flag on stack")
    saves, family = _IRQ[call.kfunc.name]
    if not saves:
        slots.restore_irq_flag(call.walk, arg.reg, arg.number, family)
        return
    slots.check_new_irq_flag(env, arg.reg, arg.number)
    slots.reserve(call.walk, arg.reg, arg.regno, 1)
    slots.save_irq_flag(call.walk, arg.reg, family)


def _dynptr(call: Call, arg: Arg) -> None:
    env, reg = call.env, arg.reg
    dynptr.check_pointer(env, reg, arg.number)
    if not call.kfunc.suffixed(arg.number, "__uninit"):
        held = dynptr.use(call.walk, reg, arg.number, _FROM.get(call.kfunc.name, 0), True)
        call.dynptr_type, call.dynptr_id, call.dynptr_ref = held.slot_state, held.id, held.ref
        return
    if reg.kind == kinds.CONST_PTR_TO_DYNPTR:
        raise env.reject(EFAULT, "verifier bug: misconfigured dynptr helper type flags")
    if call.kfunc.name == "bpf_dynptr_clone":
        dynptr.make(call.walk, reg, arg.regno, call.dynptr_type, call.dynptr_ref)
    else:
        dynptr.make(call.walk, reg, arg.regno, _FROM[call.kfunc.name])


#: what makes dynptrs of which type
_FROM = {"bpf_dynptr_from_skb": dynptrs.SKB, "bpf_dynptr_from_xdp": dynptrs.XDP,
         "bpf_dynptr_from_skb_meta": dynptrs.SKB_META}


def _typed(call: Call, arg: Arg) -> None:
    """A pointer to a struct of the kernel."""
    _check_typed(call, arg, arg.target, arg.target_id)


def check_trust(call: Call, arg: Arg) -> None:
    flags, reg = call.kfunc.flags, arg.reg
    if not flags & _TRUSTING or regtype.is_trusted(
            reg.kind, bool(reg.ref)):
        return
    if not flags & rows.KF_RCU:
        raise call.env.reject(EINVAL, f"R{arg.regno} must be referenced or trusted")
    if not reg.kind & kinds.MEM_RCU:
        raise call.env.reject(EINVAL, f"R{arg.regno} must be a rcu pointer")


def _check_typed(call: Call, arg: Arg, target: t.Type, target_id: int) -> None:
    env, reg, kfunc = call.env, arg.reg, call.kfunc
    base = reg.kind & KIND_MASK
    unsafe = reg.kind & ~KIND_MASK & ~regtype.TRUSTED and not reg.kind & kinds.MEM_RCU
    if (base != kinds.PTR_TO_BTF_ID or unsafe) and base not in regtype.TYPED_BY_KIND:
        wanted = regtype.text(base | reg.kind & regtype.TRUSTED)
        raise env.reject(EINVAL, f"arg#{arg.number} is {regtype.text(reg.kind)} expected {wanted} "
                                 "or socket")
    btf, type_id = _struct_of(env, reg)
    strict = bool(kfunc.flags & rows.KF_RELEASE and reg.ref) or _is_nocast_alias(
        btf, type_id, target)
    type_id = btf.resolve(type_id)
    match = btf_walk.matches(btf, type_id, reg.off, kfunc.btf, target_id, strict,
                             not btf_ptr.is_allocated(reg))
    given = btf.type(type_id)
    if match.good:
        return
    if prototypes.PROJECTIONS.get(target.name) == given.name:
        env.log.write(match.said)
    else:
        raise env.reject(EINVAL, f"{match.said}kernel function {kfunc.name} args#{arg.number} "
                                 f"expected pointer to {_named(target)} but R{arg.regno} has a "
                                 f"pointer to {_named(given)}")


def _struct_of(env: Env, reg: Reg) -> tuple[Btf, int]:
    """The struct that a pointer points to, some kinds by themselves."""
    base = reg.kind & KIND_MASK
    if base == kinds.PTR_TO_BTF_ID:
        return btf_ptr.types_of(reg), reg.btf_id
    return btf_ptr.kernel(env), btf_ptr.struct_id(env, regtype.TYPED_BY_KIND[base])


def _is_nocast_alias(btf: Btf, type_id: int, target: t.Type) -> bool:
    """`struct x___init` is what `struct x` is before it is ready (btf_type_ids_nocast_alias)."""
    names = btf.type(type_id).name, target.name
    bare = [name.removesuffix(NOCAST) for name in names]
    return bare[0] == bare[1] and names[0] != names[1]


def _check_map(call: Call, arg: Arg) -> None:
    env, reg = call.env, arg.reg
    if reg.map is None and not _says_more(reg):
        raise env.reject(EINVAL, f"pointer in R{arg.regno} isn't map pointer")
    _check_same_map(call, reg)
    call.map, call.map_uid = reg.map, reg.map_uid
    check_trust(call, arg)


def _says_more(reg: Reg) -> bool:
    """The kernel keeps this in the place of the map, and takes it for one at first."""
    return reg.btf is not None or any((
        reg.packet_range, reg.mem_size, reg.dynptr_id, reg.subprog, reg.slot_state))


def _map(call: Call, arg: Arg) -> None:
    env = call.env
    wanted = btf_ptr.struct_id(env, "bpf_map")
    _check_typed(call, arg, btf_ptr.kernel(env).type(wanted), wanted)


_OWN_MAPS = {
    "bpf_task_work": "bpf_task_work pointer in R2 map_uid={} doesn't match map pointer in R3 "
                     "map_uid={}",
    "bpf_wq": "workqueue pointer in R1 map_uid={} doesn't match map pointer in R2 map_uid={}",
}


def _check_same_map(call: Call, reg: Reg) -> None:
    """A work queue goes with the very map that it lies in."""
    if call.map is None or reg.map is None or (
            call.map is reg.map and call.map_uid == reg.map_uid):
        return
    for name, text in _OWN_MAPS.items():
        if reg.map.offset_of(name) >= 0:
            raise call.env.reject(EINVAL, text.format(call.map_uid, reg.map_uid))


def _callback(call: Call, arg: Arg) -> None:
    if arg.reg.kind != kinds.PTR_TO_FUNC:
        raise call.env.reject(EINVAL, f"arg{arg.number} expected pointer to func")
    call.subprog = arg.reg.subprog


def _field(name: str) -> Callable[[Call, Arg], None]:
    """A work queue or the like in a map's value."""
    def check_it(call: Call, arg: Arg) -> None:
        if arg.reg.kind != kinds.PTR_TO_MAP_VALUE:
            raise call.env.reject(EINVAL, f"{arg.name} doesn't point to a map value")
        call.map = fields.check_at(call.env, arg.reg, arg.regno, name)
        call.map_uid = arg.reg.map_uid
    return check_it


#: function that takes or gives back a resilient lock -> does it take it, and what it holds then
RESILIENT = {
    "bpf_res_spin_lock": (True, REF_RES_LOCK), "bpf_res_spin_unlock": (False, REF_RES_LOCK),
    "bpf_res_spin_lock_irqsave": (True, REF_RES_LOCK_IRQ),
    "bpf_res_spin_unlock_irqrestore": (False, REF_RES_LOCK_IRQ),
}


def _resilient(call: Call, arg: Arg) -> None:
    env, reg = call.env, arg.reg
    if reg.kind not in (kinds.PTR_TO_MAP_VALUE, kinds.PTR_TO_BTF_ID | kinds.MEM_ALLOC):
        raise env.reject(EINVAL, f"{arg.name} doesn't point to map value or allocated object")
    takes, kind = RESILIENT[call.kfunc.name]
    if takes:
        fields.lock_resilient(env, reg, arg.regno, kind)
    else:
        fields.give_back(env, reg, arg.regno, fields.RESILIENT, kind)


#: what is looked at before the pointer's offset
_FIRST: dict[str, Callable[[Call, Arg], None]] = {
    "alloc": check_trust, "btf_id": check_trust, "map": _check_map,
}

ARGS: dict[str, Callable[[Call, Arg], None]] = {
    "ctx": _context,
    "mem": _memory,
    "mem_size": _memory_of_size,
    "str": _string,
    "iter": _iterator,
    "irq_flag": _irq_flag,
    "alloc": graph.allocated,
    "refcounted": graph.counted,
    "dynptr": _dynptr,
    "list_head": graph.root,
    "list_node": graph.list_node,
    "rb_root": graph.root,
    "rb_node": graph.tree_node,
    "wq": _field("bpf_wq"),
    "task_work": _field("bpf_task_work"),
    "res_spin_lock": _resilient,
    "map": _map,
    "btf_id": _typed,
    "callback": _callback,
}
