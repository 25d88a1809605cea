"""Calls of kernel functions (check_kfunc_call, kernel/bpf/verifier.c)."""

from __future__ import annotations

from collections.abc import Callable
from errno import EACCES, EFAULT, EINVAL, ENOMEM

from anybpf import bits, uapi
from anybpf.btf import types as t
from anybpf.errors import Bug, LoadError
from anybpf.isa.insn import Insn
from anybpf.proto import kfuncs as rows
from anybpf.proto import kinds
from anybpf.proto.access import CAP_SYS_BOOT
from anybpf.proto.kinds import PTR_MAYBE_NULL
from anybpf.verifier import kfuncs, prototypes, ranges
from anybpf.verifier.env import Env
from anybpf.verifier.kfuncs import Kfunc
from anybpf.verifier.region import btf_ptr, dynptrs, packet, slots
from anybpf.verifier.reject import Reject
from anybpf.verifier.state import (
    ACTIVE,
    DRAINED,
    mark_known_scalar,
    mark_not_init,
    mark_pointer,
    mark_unknown,
)
from anybpf.verifier.step import call as calls
from anybpf.verifier.step import (
    ends,
    fields,
    graph,
    helper,
    jump,
    kfunc_args,
    regs,
    resources,
)
from anybpf.verifier.step.kfunc_call import Call
from anybpf.verifier.step.widen import widen_loop
from anybpf.verifier.walk import DONE, NEXT, Walk

CALLER_SAVED = range(6)


def call(walk: Walk, insn: Insn) -> int:
    """Check the call, then do what it does to the state."""
    env = walk.env
    found = kfuncs.called(env, insn)
    if found is None:
        # refused after the walk, if the walk came here at all
        return NEXT
    kfunc = _callable(env, found)
    made = Call(walk, kfunc)
    if kfunc.name in _LOCKERS:
        _fail_to_lock(walk)
    kfunc_args.check(made)
    _push_callbacks(made)
    _sections(env, kfunc)
    _release(made)
    if kfunc.name in graph.PUSHES:
        graph.hand_over(made)
    if kfunc.name == kfuncs.THROW:
        return _throw(env)
    for number in CALLER_SAVED:
        mark_not_init(env.regs[number])
    _result(made)
    if kfunc.name in kfuncs.CHANGES_PACKET:
        packet.forget(env)
    for number in range(len(kfunc.params)):
        env.log.scratched_regs |= 2 << number
    if kfunc.flags & rows.KF_ITER_NEXT:
        _iterate(made)
    return NEXT


def _callable(env: Env, kfunc: Kfunc) -> Kfunc:
    """This program may call it here."""
    if not kfunc.allowed:
        raise env.reject(EACCES, f"calling kernel function {kfunc.name} is not allowed")
    if kfunc.name == "__bpf_trap":
        raise env.reject(EFAULT, "unexpected __bpf_trap() due to uninitialized variable?")
    if kfunc.flags & rows.KF_DESTRUCTIVE and not env.facts.caps & CAP_SYS_BOOT:
        raise env.reject(EACCES, "destructive kfunc calls require CAP_SYS_BOOT capability")
    if kfunc.might_sleep and not env.state.sleepable:
        raise env.reject(EACCES, "program must be sleepable to call sleepable kfunc "
                                 f"{kfunc.name}")
    return kfunc


#: functions that give back an error instead of waiting for ever
_LOCKERS = frozenset({"bpf_res_spin_lock", "bpf_res_spin_lock_irqsave"})
_LATER = {
    "bpf_wq_set_callback_impl": calls.timer_callback,
    "bpf_task_work_schedule_signal_impl": calls.task_work_callback,
    "bpf_task_work_schedule_resume_impl": calls.task_work_callback,
}


def _fail_to_lock(walk: Walk) -> None:
    """The path on which the lock was not taken."""
    env = walk.env
    failed = walk.fork(env.idx + 1, env.idx)
    for number in CALLER_SAVED:
        mark_not_init(failed.regs[number])
    r0 = failed.regs[0]
    mark_unknown(r0)
    r0.smin = r0.s32min = -helper.MAX_ERRNO
    r0.smax = r0.s32max = -1
    ranges.sync(r0)


def _push_callbacks(made: Call) -> None:
    """A function that the kernel calls now, or some time."""
    env, kfunc = made.env, made.kfunc
    later = _LATER.get(kfunc.name)
    try:
        if later is not None:
            calls.push_async_callback(made.walk, made.subprog, later, sleepable=True)
        elif kfunc.name == graph.ADD:
            calls.push_callback(made.walk, made.subprog, lambda callee, caller:
                                graph.compare_callback(env, callee, caller))
    except Reject as reject:
        raise env.reject(reject.errno, f"{reject.text}\nkfunc {kfunc.name}#{kfunc.id} failed "
                                       "callback verification") from None


# -- sections in which not everything is allowed


def _sections(env: Env, kfunc: Kfunc) -> None:
    change = _SECTIONS.get(kfunc.name)
    _rcu(env, kfunc, change)
    _preempt(env, kfunc, change)
    if env.state.irq_id and kfunc.might_sleep:
        raise _sleeps(env, kfunc, "IRQ-disabled region")
    if kfunc.flags & rows.KF_RCU_PROTECTED and not btf_ptr.in_rcu(env):
        raise env.reject(EACCES, f"kernel func {kfunc.name} requires RCU critical section "
                                 "protection")


def _sleeps(env: Env, kfunc: Kfunc, where: str) -> Exception:
    return env.reject(EACCES, f"kernel func {kfunc.name} is sleepable within {where}")


def _rcu(env: Env, kfunc: Kfunc, change: str | None) -> None:
    state = env.state
    if change in ("rcu_lock", "rcu_unlock") and state.rcu_locks and graph.in_tree_callback(env):
        raise env.reject(EACCES, "Calling bpf_rcu_read_{lock,unlock} in unnecessary rbtree "
                                 "callback")
    if change == "rcu_lock":
        if state.rcu_locks:
            raise env.reject(EINVAL, f"nested rcu read lock (kernel function {kfunc.name})")
        state.rcu_locks = 1
    elif change == "rcu_unlock":
        if not state.rcu_locks:
            raise env.reject(
                EINVAL, f"unmatched rcu read unlock (kernel function {kfunc.name})")
        state.rcu_locks = 0
        _forget_rcu(env)
    elif state.rcu_locks and kfunc.might_sleep:
        raise _sleeps(env, kfunc, "rcu_read_lock region")


def _forget_rcu(env: Env) -> None:
    """What RCU protected may be gone."""
    for reg in (*regs.every(env.state), *slots.iterators(env)):
        if reg.kind & kinds.MEM_RCU:
            reg.kind = reg.kind & ~(kinds.MEM_RCU | PTR_MAYBE_NULL) | kinds.PTR_UNTRUSTED


def _preempt(env: Env, kfunc: Kfunc, change: str | None) -> None:
    state = env.state
    if change == "preempt_disable":
        state.preempt_locks += 1
    elif change == "preempt_enable":
        if not state.preempt_locks:
            raise env.reject(EINVAL, "unmatched attempt to enable preemption (kernel function "
                                     f"{kfunc.name})")
        state.preempt_locks -= 1
    elif state.preempt_locks and kfunc.might_sleep:
        raise _sleeps(env, kfunc, "non-preemptible region")


_SECTIONS = {
    "bpf_rcu_read_lock": "rcu_lock", "bpf_rcu_read_unlock": "rcu_unlock",
    "bpf_preempt_disable": "preempt_disable", "bpf_preempt_enable": "preempt_enable",
}


# -- references and exceptions


def _release(made: Call) -> None:
    if not made.release:
        return
    env = made.env
    ref = env.regs[made.release].ref
    if not resources.is_held(env.state, ref):
        raise env.reject(EINVAL, f"kfunc {made.kfunc.name}#{made.kfunc.id} reference has not been "
                                 "acquired before")
    resources.release(env, ref)


def _throw(env: Env) -> int:
    """The program ends here, whatever called it (process_bpf_exit_full)."""
    env.throws = True
    if not env.exception_callback:
        ends.check_return(env, 1)
    for number in CALLER_SAVED:
        mark_not_init(env.regs[number])
    ends.check_resources(env, "bpf_throw", thrown=True)
    return DONE


# -- the result


def _result(made: Call) -> None:
    kfunc = made.kfunc
    found = kfunc.btf.type(kfunc.btf.resolve(kfunc.ret))
    env, r0 = made.env, made.env.regs[0]
    if kfunc.flags & rows.KF_ACQUIRE and kfunc.name not in _NEW and not _is_struct(kfunc, found):
        raise env.reject(EINVAL, "acquire kernel function does not return PTR_TO_BTF_ID")
    if isinstance(found, (t.Int, t.AnyEnum)):
        if kfunc.name in _LOCKERS:
            mark_known_scalar(r0, 0)
        else:
            mark_unknown(r0)
        env.log.scratched_regs |= 1
        return
    if not isinstance(found, t.Ptr):
        return
    env.log.scratched_regs |= 1
    target_id = kfunc.btf.resolve(found.type)
    _pointer(made, target_id, kfunc.btf.type(target_id))
    null = kfunc.flags & rows.KF_RET_NULL and r0.kind != kinds.SCALAR_VALUE and not (
        kfunc.name == "bpf_refcount_acquire_impl" and made.owning)
    if null:
        r0.kind |= PTR_MAYBE_NULL
        r0.id = env.new_id()
    if kfunc.flags & rows.KF_ACQUIRE:
        identity = resources.acquire(env)
        r0.id = identity if null else r0.id
        r0.ref = identity
    elif made.root is not None:
        graph.disown(env, r0)
    if fields.may_hold_lock(r0) and not r0.id:
        r0.id = env.new_id()


#: references to objects of the program, whose type its call says
_NEW = frozenset({"bpf_obj_new_impl", "bpf_percpu_obj_new_impl", "bpf_refcount_acquire_impl"})


def _is_struct(kfunc: Kfunc, found: t.Type) -> bool:
    """A pointer to a struct or union (btf_type_is_struct_ptr)."""
    return isinstance(found, t.Ptr) and isinstance(
        kfunc.btf.type(kfunc.btf.resolve(found.type)), t.Composite)


def _pointer(made: Call, target_id: int, target: t.Type) -> None:
    special = _SPECIAL_RESULTS.get(made.kfunc.name)
    r0 = made.env.regs[0]
    if special is not None:
        special(made)
    elif isinstance(target, t.Void):
        # such an address is a number, also where it may be NULL
        mark_unknown(r0)
    elif isinstance(target, t.Struct):
        _struct(made, target_id)
    else:
        _data(made, target_id, target)


#: kernel functions whose memory may be written, although nobody said how much there is
_WRITABLE_RESULTS = frozenset({"bpf_session_cookie"})


def _data(made: Call, target_id: int, target: t.Type) -> None:
    """A pointer to plain data."""
    kfunc, r0 = made.kfunc, made.env.regs[0]
    if not made.mem_size:
        try:
            made.mem_size = kfunc.btf.size_of(target_id)
            made.rdonly = kfunc.name not in _WRITABLE_RESULTS
        except LoadError:
            raise made.env.reject(EINVAL, f"kernel function {kfunc.name} returns pointer type "
                                          f"{target.kind_name} {target.name} is not "
                                          "supported") from None
    mark_pointer(r0, kinds.PTR_TO_MEM | (kinds.MEM_RDONLY if made.rdonly else 0))
    r0.mem_size = made.mem_size
    r0.ref = made.ref


def _struct(made: Call, target_id: int) -> None:
    """A pointer to a struct of the kernel."""
    kfunc, r0 = made.kfunc, made.env.regs[0]
    mark_pointer(r0, kinds.PTR_TO_BTF_ID | _trust(made))
    r0.btf, r0.btf_id = kfunc.btf, target_id


def _trust(made: Call) -> int:
    kfunc = made.kfunc
    if kfunc.name == "bpf_get_kmem_cache":
        return kinds.PTR_UNTRUSTED
    if kfunc.flags & rows.KF_RCU_PROTECTED:
        return kinds.MEM_RCU
    if kfunc.flags & rows.KF_ITER_NEXT and made.iterator is not None:
        rcu = made.iterator.slot().reg.kind & kinds.MEM_RCU
        return kinds.MEM_RCU if rcu else kinds.PTR_TRUSTED
    return 0


def _slice(made: Call) -> None:
    """Memory of a dynptr."""
    env, r0 = made.env, made.env.regs[0]
    if made.constant is None:
        raise Bug("a slice without a size")
    kind = kinds.PTR_TO_MEM | dynptrs.FLAGS[made.dynptr_type]
    if made.kfunc.name == "bpf_dynptr_slice":
        kind |= kinds.MEM_RDONLY
    elif not packet.may_write(env):
        raise env.reject(EINVAL, "the prog does not allow writes to packet data")
    mark_pointer(r0, kind)
    r0.mem_size = made.constant & uapi.U32
    r0.dynptr_id = made.dynptr_id


def _cast_to_context(made: Call) -> None:
    """The context as the kernel has it (get_kern_ctx_btf_id)."""
    env = made.env
    btf = btf_ptr.kernel(env)
    number = prototypes.kernel_context(btf, env.prog_type)
    if not number or not isinstance(btf.type(number), t.Composite):
        raise env.reject(EINVAL, f"kern ctx type id {number} is not a struct")
    btf_ptr.point(env, env.regs[0], btf, number, kinds.PTR_TRUSTED)


def _rdonly_cast(made: Call) -> None:
    """Any address taken for that of a struct."""
    env, told = made.env, made.constant or 0
    # 32 bits of it name the type
    number = told & uapi.U32
    btf, r0 = btf_ptr.kernel(env), made.env.regs[0]
    if number >= len(btf):
        raise env.reject(EINVAL,
                         f"Unknown type ID {bits.s64(told)} passed to kfunc bpf_rdonly_cast")
    found = btf.type(number)
    if isinstance(found, t.Composite):
        btf_ptr.point(env, r0, btf, number, kinds.PTR_UNTRUSTED)
    elif isinstance(found, t.Void):
        mark_pointer(r0, kinds.PTR_TO_MEM | kinds.MEM_RDONLY | kinds.PTR_UNTRUSTED)
    else:
        raise env.reject(EINVAL,
                         "kfunc bpf_rdonly_cast type ID argument must be of a struct or void")


_SPECIAL_RESULTS: dict[str, Callable[[Call], None]] = {
    "bpf_obj_new_impl": graph.new, "bpf_percpu_obj_new_impl": graph.new,
    "bpf_refcount_acquire_impl": graph.again,
    "bpf_list_pop_front": graph.element, "bpf_list_pop_back": graph.element,
    "bpf_list_front": graph.element, "bpf_list_back": graph.element,
    "bpf_rbtree_remove": graph.element, "bpf_rbtree_first": graph.element,
    "bpf_rbtree_root": graph.element, "bpf_rbtree_left": graph.element,
    "bpf_rbtree_right": graph.element,
    "bpf_cast_to_kern_ctx": _cast_to_context, "bpf_rdonly_cast": _rdonly_cast,
    "bpf_dynptr_slice": _slice, "bpf_dynptr_slice_rdwr": _slice,
}


# -- the next element of an iterator


def _iterate(made: Call) -> None:
    """It may be at its end, which is walked at once; else is put aside (process_iter_next_call)."""
    env, place = made.env, made.iterator
    if place is None:
        raise Bug("an iterator's next element without an iterator")
    held = place.slot().reg
    if held.slot_state == ACTIVE:
        _go_on(made.walk, place)
    held.slot_state = DRAINED
    mark_known_scalar(env.regs[0], 0)


def _go_on(walk: Walk, place: slots.Place) -> None:
    env = walk.env
    parent = env.state.parent
    if parent is None or parent.insn_idx != env.idx:
        raise Bug("no state was remembered at an iterator's next element")
    queued = walk.fork(env.idx + 1, env.idx, too_many=ENOMEM)
    held = queued.frames[place.frame.frameno].stack[place.number].reg
    held.slot_state = ACTIVE
    held.slot_depth += 1
    widen_loop(env, queued, parent)
    jump.not_null(queued.regs[0])
