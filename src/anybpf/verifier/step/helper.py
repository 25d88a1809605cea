"""Calls of helpers (check_helper_call, kernel/bpf/verifier.c)."""

from __future__ import annotations

from collections.abc import Callable
from errno import EACCES, EINVAL

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import Bug, LoadError
from anybpf.isa.disasm import helper_name
from anybpf.isa.insn import Insn
from anybpf.proto import hooks, kinds, maps
from anybpf.proto.helpers import BY_ID, Does, Helper
from anybpf.verifier import backtrack, ranges, regtype
from anybpf.verifier.env import LOOP_CALLED, LOOP_UNSEEN, Env
from anybpf.verifier.numbers import S32_MAX
from anybpf.verifier.region import btf_ptr, dynptrs, kptr, map_value, packet, stack
from anybpf.verifier.reject import ENOTSUPP, Reject
from anybpf.verifier.state import mark_not_init, mark_pointer, mark_unknown
from anybpf.verifier.step import args, dynptr, ends, fields, formats, regs, resources
from anybpf.verifier.step import call as calls
from anybpf.verifier.step.args import Call
from anybpf.verifier.walk import Walk

MAX_ERRNO = 4095

#: helpers that write to maps
_WRITERS = frozenset({"map_update_elem", "map_delete_elem", "map_push_elem", "map_pop_elem"})
#: helpers whose result is at most the size they were given, or an errno
_SIZED_RESULTS = frozenset({"get_stack", "get_task_stack", "probe_read_str",
                            "probe_read_kernel_str", "probe_read_user_str"})
_RESULTS = {
    kinds.RET_PTR_TO_MAP_VALUE: kinds.PTR_TO_MAP_VALUE,
    kinds.RET_PTR_TO_SOCKET: kinds.PTR_TO_SOCKET,
    kinds.RET_PTR_TO_TCP_SOCK: kinds.PTR_TO_TCP_SOCK,
    kinds.RET_PTR_TO_SOCK_COMMON: kinds.PTR_TO_SOCK_COMMON,
    kinds.RET_PTR_TO_MEM: kinds.PTR_TO_MEM,
}


def call(walk: Walk, insn: Insn) -> None:
    """Check the call, then do what it does to the state."""
    env = walk.env
    row = _row(env, insn)
    _check_sections(env, row)
    made = Call(walk, row)
    for number, arg in enumerate(row.args):
        args.check(made, number, arg)
    _record_map(made)
    if made.fills is not None:
        regno, size = made.fills
        stack.forget_bytes(walk, regno, size)
    _release(made)
    special = _SPECIAL.get(row.name)
    if special is not None:
        special(made)
    for number in range(6):
        mark_not_init(env.reg(number))
    env.log.scratched_regs |= 0b111111
    _result(made)
    _check_map(made)
    if row.name == "get_func_ip":
        _check_func_ip(env, row)
    if row.does & Does.CHANGES_PACKET or _writes_packet(made):
        packet.forget(env)


def _check_func_ip(env: Env, row: Helper) -> None:
    where, named = env.facts, f"func {row.symbol}#{row.id}"
    if where.type == uapi.BPF_PROG_TYPE_TRACING:
        if where.attach_type not in hooks.TRAMPOLINES:
            raise env.reject(ENOTSUPP, f"{named} supported only for fentry/fexit/fmod_ret programs")
    elif where.type != uapi.BPF_PROG_TYPE_KPROBE:
        raise env.reject(ENOTSUPP, f"{named} not supported for program type {where.type}")


def _writes_packet(made: Call) -> bool:
    """A dynptr over a packet is written through."""
    held = made.dynptr
    return made.row.name == "dynptr_write" and held is not None and held.slot_state in (
        dynptrs.SKB, dynptrs.SKB_META)


def _row(env: Env, insn: Insn) -> Helper:
    """The helper as this program may call it."""
    aux = env.aux[env.idx]
    row = aux.helper
    if row is None:
        row = aux.helper = find(env, insn.imm)
    if row.does & Does.MIGHT_SLEEP and not env.state.sleepable:
        raise env.reject(EINVAL, "helper call might sleep in a non-sleepable prog")
    return row


def find(env: Env, number: int) -> Helper:
    """The helper, if it exists, and if type and licence of the program allow it."""
    facts, name = env.facts, f"{helper_name(number)}#{number}"
    if number and number not in BY_ID:
        raise env.reject(EINVAL, f"invalid func {name}")
    row = env.helper(number)
    if row is None:
        raise env.reject(EINVAL, f"program of this type cannot use helper {name}")
    if row.gpl and not facts.gpl:
        raise env.reject(
            EINVAL, "cannot call GPL-restricted function from non-GPL compatible program")
    if not hooks.allowed(row.name, env.prog_type, facts.attach_type, env.target_name,
                         facts.attach_prog is not None):
        raise env.reject(EINVAL, "helper call is not allowed in probe")
    return row


def _check_sections(env: Env, row: Helper) -> None:
    """Nothing sleeps where it must not."""
    if not row.does & Does.MIGHT_SLEEP:
        return
    state = env.state
    sections = ((state.rcu_locks, "rcu_read_lock region"),
                (state.preempt_locks, "non-preemptible region"),
                (state.irq_id, "IRQ-disabled region"))
    for entered, where in sections:
        if entered:
            raise env.reject(EINVAL, f"sleepable helper {row.symbol}#{row.id} in {where}")


def _record_map(made: Call) -> None:
    env, row = made.env, made.row
    if made.map is not None and made.map.flags & uapi.BPF_F_RDONLY_PROG and row.name in _WRITERS:
        raise env.reject(EACCES, "write into map forbidden")
    if row.name == "tail_call" and made.map is not None:
        if made.map.type != uapi.BPF_MAP_TYPE_PROG_ARRAY:
            # the one text without an end of line
            raise Reject(EINVAL, "expected prog array map for tail call", env.idx, end="")
        index = env.regs[3]
        if regs.is_constant(index, False) and index.vv < made.map.max_entries:
            backtrack.mark(env, 3)


def _check_map(made: Call) -> None:
    if made.map is None:
        return
    facts = made.env.facts
    where = (made.map.type, made.row.name, facts.type, facts.attach_type)
    if not maps.compatible(*where):
        why = "" if maps.may_update_sockets(*where) else "cannot update sockmap in this context\n"
        raise made.env.reject(EINVAL, f"{why}cannot pass map_type {made.map.type} into func "
                                      f"{made.row.symbol}#{made.row.id}")


# -- references


def _release(made: Call) -> None:
    if not made.release:
        return
    env = made.env
    if made.row.args[made.release - 1].kind & kinds.KIND_MASK == kinds.ARG_PTR_TO_DYNPTR:
        dynptr.release(made.walk, env.regs[made.release])
    elif made.kptr is not None and made.ref:
        _give_away(env, made.ref)
    elif made.ref:
        if not resources.is_held(env.state, made.ref):
            raise env.reject(EINVAL, f"func {made.row.symbol}#{made.row.id} reference has not "
                                     "been acquired before")
        resources.release(env, made.ref)
    elif not regs.is_zero(env.regs[made.release]):
        raise env.reject(EINVAL, f"func {made.row.symbol}#{made.row.id} reference has not been "
                                 "acquired before")


def _give_away(env: Env, ref: int) -> None:
    """A map owns the object now; one for each processor stays good inside a section."""
    resources.drop(env.state, ref)
    percpu = kinds.MEM_ALLOC | kinds.MEM_PERCPU
    for reg in regs.every(env.state):
        if reg.ref != ref:
            continue
        if btf_ptr.in_rcu(env) and reg.kind & percpu == percpu:
            reg.ref = 0
            reg.kind = reg.kind & ~kinds.MEM_ALLOC | kinds.MEM_RCU
        else:
            mark_unknown(reg)


# -- the result


def _result(made: Call) -> None:
    env, row = made.env, made.row
    r0 = env.reg(0)
    base, flags = row.ret & kinds.KIND_MASK, row.ret & ~kinds.KIND_MASK
    if base == kinds.RET_INTEGER:
        mark_unknown(r0)
        _refine(made)
        return
    if base == kinds.RET_VOID:
        return
    if made.kptr is not None:
        _exchanged(made, flags)
        return
    if base == kinds.RET_PTR_TO_BTF_ID:
        btf_ptr.point(env, r0, btf_ptr.kernel(env), btf_ptr.struct_id(env, row.ret_btf), flags)
        _acquire(made)
        return
    if base == kinds.RET_PTR_TO_MEM_OR_BTF_ID:
        _result_percpu(made, flags)
        return
    if base not in _RESULTS:
        raise Bug(f"no rule for the result of {row.symbol}")
    if base == kinds.RET_PTR_TO_MAP_VALUE and _never_null(made):
        flags &= ~kinds.PTR_MAYBE_NULL
    mark_pointer(r0, _RESULTS[base] | flags)
    if base == kinds.RET_PTR_TO_MAP_VALUE:
        if made.map is None:
            raise Bug(f"{row.symbol} gives a map's value without a map")
        r0.map, r0.map_uid = made.map, made.map_uid
        if fields.may_hold_lock(r0):
            r0.id = env.new_id()
    r0.mem_size = made.mem_size & uapi.U32 if base == kinds.RET_PTR_TO_MEM else 0
    if regtype.may_be_null(r0.kind):
        r0.id = env.new_id()
    _acquire(made)


def _result_percpu(made: Call, flags: int) -> None:
    """One CPU's part of a variable: memory, or a struct."""
    env, r0 = made.env, made.env.regs[0]
    passed, btf, type_id = made.percpu
    if btf is None:
        raise Bug(f"{made.row.symbol} gives a variable's part without the variable")
    inner = btf.skip_modifiers(type_id)
    if isinstance(btf.type(inner), t.Composite):
        allocated = bool(passed & kinds.MEM_RCU)
        btf_ptr.point(env, r0, btf, type_id, kinds.MEM_ALLOC | kinds.MEM_RCU if allocated
                      else flags & ~kinds.MEM_RDONLY)
        return
    mark_pointer(r0, kinds.PTR_TO_MEM | flags)
    r0.mem_size = _variable_size(env, btf, inner)
    if regtype.may_be_null(r0.kind):
        r0.id = env.new_id()


def _variable_size(env: Env, btf: Btf, type_id: int) -> int:
    try:
        return btf.size_of(type_id)
    except LoadError:
        raise env.reject(EINVAL, f"unable to resolve the size of type '{btf.type(type_id).name}': "
                                 f"{-EINVAL}") from None


def _exchanged(made: Call, flags: int) -> None:
    """What was there before, now owned by the program."""
    env, r0 = made.env, made.env.regs[0]
    if made.kptr is None:
        raise Bug("an exchange without its pointer")
    btf, type_id = kptr.target(env, *made.kptr)
    if btf is not env.facts.kernel_btf:
        flags |= kinds.MEM_ALLOC
        if made.kptr[0].special.name == kptr.PERCPU:
            flags |= kinds.MEM_PERCPU
    btf_ptr.point(env, r0, btf, type_id, flags)
    _acquire(made)


def _never_null(made: Call) -> bool:
    return (made.row.name == "map_lookup_elem" and made.map is not None
            and 0 <= made.key < made.map.max_entries)


def _acquire(made: Call) -> None:
    env, row, r0 = made.env, made.row, made.env.reg(0)
    if row.name == "dynptr_data" and made.dynptr is not None:
        r0.dynptr_id, r0.ref = made.dynptr_ids
        return
    if row.does & Does.CASTS:
        r0.ref = made.ref
        return
    acquires = row.does & Does.ACQUIRES or (
        row.name == "map_lookup_elem" and made.map is not None
        and made.map.type in (uapi.BPF_MAP_TYPE_SOCKMAP, uapi.BPF_MAP_TYPE_SOCKHASH))
    if acquires:
        r0.id = r0.ref = resources.acquire(env)


def _refine(made: Call) -> None:
    """Numbers that helpers keep in bounds (do_refine_retval_range)."""
    r0 = made.env.regs[0]
    if made.row.name in _SIZED_RESULTS:
        r0.smax = made.size_max
        r0.s32max = min(made.size_max, S32_MAX)
        r0.smin = r0.s32min = -MAX_ERRNO
        ranges.sync(r0)
    elif made.row.name == "get_smp_processor_id":
        last = made.env.facts.cpus - 1
        r0.umin = r0.u32min = r0.smin = r0.s32min = 0
        r0.umax = r0.u32max = r0.smax = r0.s32max = last
        ranges.sync(r0)


# -- helpers that do more


def _tail_call(made: Call) -> None:
    ends.check_resources(made.env, "tail_call")


def _set_retval(made: Call) -> None:
    """What a hook returns instead, if it returns anything."""
    env = made.env
    target = env.target
    if env.facts.type == uapi.BPF_PROG_TYPE_LSM and target is not None \
            and target.proto is not None and target.proto.type == 0:
        raise env.reject(EINVAL, "BPF_LSM_CGROUP that attach to void LSM hooks can't modify return "
                                 "value!")


def _snprintf(made: Call) -> None:
    """The format is constant, so its specifiers are checked now."""
    env = made.env
    text, size = env.regs[3], env.regs[5].vv
    if size % 8:
        # the kernel says nothing
        raise Reject(EINVAL, "", env.idx, end="")
    content = map_value.map_of(text).content or b""
    wanted = formats.specifiers(content[text.off + text.vv:].split(b"\0")[0])
    if not 0 <= wanted <= size // 8:
        raise env.reject(EINVAL, "Invalid format string")


def _timer_callback(made: Call) -> None:
    calls.push_async_callback(made.walk, made.subprog, calls.timer_callback)


def _find_vma(made: Call) -> None:
    env = made.env
    calls.push_callback(made.walk, made.subprog, lambda callee, caller: (
        calls.vma_callback(env, callee, caller)))


def _drain(made: Call) -> None:
    env = made.env
    calls.push_callback(made.walk, made.subprog, lambda callee, caller: (
        calls.user_ringbuf_callback(env, callee, caller)))


def _from_memory(made: Call) -> None:
    """Only values of maps stay where they are as long as the dynptr does."""
    kind = made.env.regs[1].kind
    if kind != kinds.PTR_TO_MAP_VALUE:
        raise made.env.reject(EACCES, f"Unsupported reg type {regtype.text(kind)} for "
                                      "bpf_dynptr_from_mem data")


def _local_storage(made: Call) -> None:
    if not regs.is_zero(made.env.regs[2]):
        raise made.env.reject(EINVAL, "get_local_storage() doesn't support non-zero flags")


def _for_each(made: Call) -> None:
    calls.push_callback(made.walk, made.subprog, calls.map_element_callback)


def _note_loop(env: Env, subprog: int) -> None:
    """Calls that always have the same function and flags 0 become loops in line."""
    aux = env.aux[env.idx]
    if aux.loop_inline == LOOP_CALLED:
        return
    plain = regs.is_zero(env.regs[4])
    if plain:
        backtrack.mark(env, 4)
    same = aux.loop_inline in (LOOP_UNSEEN, subprog)
    aux.loop_inline = subprog if plain and same else LOOP_CALLED


def _loop(made: Call) -> None:
    env = made.env
    _note_loop(env, made.subprog)
    backtrack.mark(env, 1)
    if env.frame.callback_depth < env.regs[1].umax:
        calls.push_callback(made.walk, made.subprog, calls.loop_callback)
        return
    env.frame.callback_depth = 0
    if env.log.detailed:
        env.log.write(f"frame{len(env.state.frames) - 1} bpf_loop iteration limit reached\n")


_SPECIAL: dict[str, Callable[[Call], None]] = {
    "tail_call": _tail_call,
    "dynptr_from_mem": _from_memory,
    "get_local_storage": _local_storage,
    "for_each_map_elem": _for_each,
    "loop": _loop,
    "find_vma": _find_vma,
    "set_retval": _set_retval,
    "snprintf": _snprintf,
    "timer_set_callback": _timer_callback,
    "user_ringbuf_drain": _drain,
}
