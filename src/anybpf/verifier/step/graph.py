"""Objects of the program: made, counted, kept in lists and trees (kernel/bpf/verifier.c).

An object that was made is owned: its reference must be given back or handed to a list or tree. What
is in a list or tree may be looked at while its lock is held.
"""

from __future__ import annotations

from errno import EFAULT, EINVAL

from anybpf import bits, uapi
from anybpf.btf import types as t
from anybpf.btf.fields import Field
from anybpf.btf.parse import Btf
from anybpf.errors import Bug
from anybpf.proto import kinds
from anybpf.proto.kinds import KIND_MASK, MEM_ALLOC, MEM_PERCPU, MEM_RCU, NON_OWN_REF
from anybpf.verifier import btf_walk, kfuncs, records
from anybpf.verifier.env import Env
from anybpf.verifier.region import btf_ptr
from anybpf.verifier.state import REF_LOCK, Frame, Reg, mark_pointer
from anybpf.verifier.step import btf_args, regs, resources
from anybpf.verifier.step.kfunc_call import Arg, Call

OBJECT = kinds.PTR_TO_BTF_ID | MEM_ALLOC
MAX_PERCPU = 512
PUSHES = frozenset({"bpf_list_push_front_impl", "bpf_list_push_back_impl", "bpf_rbtree_add_impl"})
ADD = "bpf_rbtree_add_impl"


class Root:
    """A list head or tree root that was passed: what it holds."""

    def __init__(self, field: Field, btf: Btf) -> None:
        self.field = field
        self.btf = btf

    @property
    def node_offset(self) -> int:
        """Where objects have the node by which they are linked."""
        struct = self.btf.expect(self.field.value_type, t.Struct)
        return next(m.offset for m in struct.members if m.name == self.field.node_member)


def owner_fields(env: Env, reg: Reg) -> tuple[tuple[Field, ...], Btf | None]:
    """The special members of what the register points into."""
    if reg.kind & KIND_MASK == kinds.PTR_TO_BTF_ID:
        btf = btf_ptr.types_of(reg)
        return records.fields_of(btf, reg.btf_id, env.facts.kernel_btf, env.facts.modules), btf
    if reg.map is None:
        raise Bug("special members of no map")
    return reg.map.fields, reg.map.btf


# -- arguments


def root(call: Call, arg: Arg) -> None:
    """A list head or tree root, whose lock is held."""
    env, reg, name = call.env, arg.reg, arg.target.name
    if reg.kind not in (kinds.PTR_TO_MAP_VALUE, OBJECT):
        raise env.reject(EINVAL, f"{arg.name} expected pointer to map value or allocated object")
    if reg.kind == OBJECT and not reg.ref:
        raise env.reject(EINVAL, "allocated object must be referenced")
    fields, btf = owner_fields(env, reg)
    at = _constant(env, reg, arg, name)
    found = next((one for one in fields if one.special.name == name and one.offset == at), None)
    if found is None:
        raise env.reject(EINVAL, f"{name} not found at offset={at & uapi.U32}")
    _check_locked(env, reg, fields, name)
    if btf is None:
        raise Bug("a map with a list or tree and without types")
    call.root = Root(found, btf)


def _constant(env: Env, reg: Reg, arg: Arg, name: str) -> int:
    if reg.vm:
        raise env.reject(EINVAL, f"R{arg.regno} doesn't have constant offset. {name} has to be at "
                                 "the constant offset")
    return reg.off + reg.vv


def _check_locked(env: Env, reg: Reg, fields: tuple[Field, ...], name: str) -> None:
    """The lock beside the list or tree is held (check_reg_allocation_locked)."""
    owner: object = reg.map if reg.kind == kinds.PTR_TO_MAP_VALUE else reg.btf
    state = env.state
    held = any(r.type >= REF_LOCK and r.id == reg.id and r.owner is owner for r in state.refs)
    if state.locks and held:
        return
    text = "held lock and object are not in the same allocation\n" if state.locks else ""
    # a bpf_res_spin_lock holds as well, but it is not the one whose place is told
    lock = next((one.offset for one in fields if one.special.name == "bpf_spin_lock"), -EINVAL)
    raise env.reject(EINVAL, f"{text}bpf_spin_lock at off={lock} must be held for {name}")


def list_node(call: Call, arg: Arg) -> None:
    """An object that goes into a list."""
    _check_owned(call, arg)
    _node(call, arg, "bpf_list_head")


def tree_node(call: Call, arg: Arg) -> None:
    """An object that goes into a tree, or one that is in it."""
    env, reg, name = call.env, arg.reg, call.kfunc.name
    if name == ADD:
        _check_owned(call, arg)
    else:
        if not reg.kind & NON_OWN_REF and not reg.ref:
            raise env.reject(EINVAL, f"{name} can only take non-owning or refcounted bpf_rb_node "
                                     "pointer")
        if in_tree_callback(env):
            raise env.reject(EINVAL, f"{name} not allowed in rbtree cb")
    _node(call, arg, "bpf_rb_root")


def _check_owned(call: Call, arg: Arg) -> None:
    if arg.reg.kind != OBJECT:
        raise call.env.reject(EINVAL, f"{arg.name} expected pointer to allocated object")
    if not arg.reg.ref:
        raise call.env.reject(EINVAL, "allocated object must be referenced")


def _node(call: Call, arg: Arg, root_name: str) -> None:
    env, reg, name = call.env, arg.reg, arg.target.name
    at = _constant(env, reg, arg, name)
    fields, btf = owner_fields(env, reg)
    if not any(one.special.name == name and one.offset == at for one in fields):
        raise env.reject(EINVAL, f"{name} not found at offset={at & uapi.U32}")
    if call.root is None or btf is None:
        raise Bug("a node without its root")
    held, offset = call.root, call.root.node_offset
    wanted = held.btf.type(held.field.value_type).name
    if not btf_walk.matches(btf, reg.btf_id, 0, held.btf, held.field.value_type, True).good:
        raise env.reject(EINVAL, f"operation on {root_name} expects arg#1 {name} at "
                                 f"offset={offset} in struct {wanted}, but arg is at offset={at} "
                                 f"in struct {btf.type(reg.btf_id).name}")
    call.arg_type = (btf, reg.btf_id)
    if at != offset:
        raise env.reject(EINVAL, f"arg#1 offset={at}, but expected {name} at offset={offset} in "
                                 f"struct {wanted}")


def allocated(call: Call, arg: Arg) -> None:
    """An object that is dropped."""
    env, reg, name = call.env, arg.reg, call.kfunc.name
    wanted = {OBJECT: "bpf_obj_drop_impl", OBJECT | MEM_PERCPU: "bpf_percpu_obj_drop_impl"}.get(
        reg.kind)
    if wanted is None:
        raise env.reject(EINVAL, f"{arg.name} expected pointer to allocated object")
    if wanted != name:
        raise env.reject(EINVAL, f"{arg.name} expected for {wanted}()")
    if not reg.ref:
        raise env.reject(EINVAL, "allocated object must be referenced")
    call.arg_type = (btf_ptr.types_of(reg), reg.btf_id)


def counted(call: Call, arg: Arg) -> None:
    """An object with a reference count."""
    env, reg = call.env, arg.reg
    if reg.kind & KIND_MASK != kinds.PTR_TO_BTF_ID or not reg.kind & MEM_ALLOC:
        raise env.reject(EINVAL, f"{arg.name} is neither owning or non-owning ref")
    call.owning = not reg.kind & NON_OWN_REF
    fields, btf = owner_fields(env, reg)
    if not fields:
        raise env.reject(EFAULT, "verifier bug: Couldn't find btf_record")
    if btf is None or not any(one.special.name == "bpf_refcount" for one in fields):
        raise env.reject(EINVAL, f"{arg.name} doesn't point to a type with bpf_refcount field")
    call.arg_type = (btf, reg.btf_id)


# -- results


def new(call: Call) -> None:
    """bpf_obj_new() and its kin for each processor."""
    env, btf, number = call.env, call.env.facts.btf, call.constant or 0
    percpu = call.kfunc.name == "bpf_percpu_obj_new_impl"
    if number > uapi.U32:
        raise env.reject(EINVAL, "local type ID argument must be in range [0, U32_MAX]")
    if btf is None:
        raise env.reject(EINVAL, "bpf_obj_new/bpf_percpu_obj_new requires prog BTF")
    made = btf.type(number) if number < len(btf) else None
    if not isinstance(made, t.Struct):
        raise env.reject(EINVAL,
                         "bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct")
    if percpu:
        _check_percpu(env, btf, number, made)
    mark_pointer(env.regs[0], OBJECT | (MEM_PERCPU if percpu else 0))
    env.regs[0].btf, env.regs[0].btf_id = btf, number


def _check_percpu(env: Env, btf: Btf, number: int, made: t.Struct) -> None:
    if made.size > MAX_PERCPU:
        raise env.reject(EINVAL, f"bpf_percpu_obj_new type size ({bits.s32(made.size)}) is "
                                 f"greater than {MAX_PERCPU}")
    if not btf_args.is_plain_data(env, btf, made):
        raise env.reject(EINVAL,
                         "bpf_percpu_obj_new type ID argument must be of a struct of scalars")
    if records.fields_of(btf, number, env.facts.kernel_btf, env.facts.modules):
        raise env.reject(EINVAL,
                         "bpf_percpu_obj_new type ID argument must not contain special fields")


def again(call: Call) -> None:
    """bpf_refcount_acquire(): another reference of the same object."""
    if call.arg_type is None:
        raise Bug("a counted object without its type")
    r0 = call.env.regs[0]
    mark_pointer(r0, OBJECT)
    r0.btf, r0.btf_id = call.arg_type


def element(call: Call) -> None:
    """What is in a list or tree: the node in an object."""
    if call.root is None:
        raise Bug("an element without its root")
    point_node(call.env.regs[0], call.root)


def point_node(reg: Reg, held: Root) -> None:
    """The register points to the node in an object of the root's (mark_reg_graph_node)."""
    mark_pointer(reg, OBJECT)
    reg.btf, reg.btf_id, reg.off = held.btf, held.field.value_type, held.node_offset


# -- who owns


def disown(env: Env, reg: Reg) -> None:
    """The register is no owner, and good while the lock is held (ref_set_non_owning)."""
    reg.kind |= NON_OWN_REF
    if records.find(btf_ptr.types_of(reg), reg.btf_id, "bpf_refcount", env.facts.kernel_btf):
        reg.kind |= MEM_RCU


def hand_over(call: Call) -> None:
    """A list or tree owns the object now (ref_convert_owning_non_owning)."""
    env = call.env
    ref = env.regs[2].ref
    resources.drop(env.state, ref)
    for reg in regs.every(env.state):
        if reg.ref == ref:
            reg.ref = 0
            disown(env, reg)


def in_tree_callback(env: Env) -> bool:
    """The function compares two objects of a tree, whose lock is held."""
    frame = env.frame
    if not frame.in_callback:
        return False
    kfunc = kfuncs.called(env, env.insns[frame.callsite])
    return kfunc is not None and kfunc.name == ADD


def compare_callback(env: Env, callee: Frame, caller: Frame) -> None:
    """less(a, b) of bpf_rbtree_add()"""
    fields, btf = owner_fields(env, caller.regs[1])
    at = caller.regs[1].off
    found = next(one for one in fields
                 if one.special.name == "bpf_rb_root" and one.offset == at)
    if btf is None:
        raise Bug("a map with a tree and without types")
    for number in (1, 2):
        point_node(callee.regs[number], Root(found, btf))
        disown(env, callee.regs[number])
    callee.in_callback = True
    callee.callback_returns = (0, 1)

