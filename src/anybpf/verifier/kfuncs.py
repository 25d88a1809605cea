"""Kernel functions that a program calls (add_kfunc_call, kernel/bpf/verifier.c).

What a call means is found once, before the walk: its prototype in the kernel's types, and its flags
and callers in the rows of `proto.kfuncs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from errno import E2BIG, EBADF, EFAULT, EINVAL, EPROTO
from weakref import WeakKeyDictionary

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.isa.insn import Insn, is_kfunc_call, slots
from anybpf.proto import kfuncs as rows
from anybpf.verifier.env import KFUNC_PLACE, Env, kfunc_key
from anybpf.verifier.facts import TypesFacts
from anybpf.verifier.reject import Reject

#: different kernel functions that one program may call
MAX_KFUNCS = 256
#: arguments that any call may have
MAX_ARGS = 12
#: functions of the kernel that call functions of the program, at once or later
SYNC_CALLBACKS = frozenset({"bpf_rbtree_add_impl"})
ASYNC_CALLBACKS = frozenset({"bpf_wq_set_callback_impl", "bpf_task_work_schedule_signal_impl",
                             "bpf_task_work_schedule_resume_impl"})
CHANGES_PACKET = frozenset({"bpf_xdp_pull_data"})
#: what a network device knows of a packet
METADATA = frozenset({"bpf_xdp_metadata_rx_timestamp", "bpf_xdp_metadata_rx_hash",
                      "bpf_xdp_metadata_rx_vlan_tag"})
THROW = "bpf_throw"


#: functions that a kernel's types tag as kernel functions
_tagged: WeakKeyDictionary[Btf, frozenset[int]] = WeakKeyDictionary()
#: modules whose functions one program may call
MAX_MODULES = 256


@dataclass(eq=False)
class Kfunc:
    """A kernel function as this program sees it."""

    id: int
    name: str
    btf: Btf
    #: what it returns, and what it takes
    ret: int
    params: tuple[t.Param, ...]
    #: `rows.KF_*` bits
    flags: int
    #: programs of this type may call it
    allowed: bool

    @property
    def is_iter(self) -> bool:
        return bool(self.flags & (rows.KF_ITER_NEW | rows.KF_ITER_NEXT | rows.KF_ITER_DESTROY))

    @property
    def might_sleep(self) -> bool:
        return bool(self.flags & rows.KF_SLEEPABLE)

    def suffixed(self, number: int, suffix: str) -> bool:
        """Whether the name of argument `number` ends so (btf_param_match_suffix)."""
        name = self.params[number].name
        return len(name) > len(suffix) and name.endswith(suffix)


def add(env: Env, idx: int, insn: Insn) -> None:
    """Learn what the call at `idx` means."""
    if not env.facts.gpl:
        raise Reject(EINVAL, "cannot call kernel function from non-GPL compatible program", idx)
    if not insn.imm and not insn.off:
        return
    btf, key = _types(env, idx, insn), kfunc_key(insn)
    if btf is None or key in env.kfuncs:
        return
    if len(env.kfuncs) == MAX_KFUNCS:
        raise Reject(E2BIG, "too many different kernel function calls", idx)
    env.kfuncs[key] = _described(env, btf, idx, insn.imm)


def called(env: Env, insn: Insn) -> Kfunc | None:
    """The function that `insn` calls, if it calls one of the kernel."""
    return env.kfuncs.get(kfunc_key(insn)) if is_kfunc_call(insn) else None


def _types(env: Env, idx: int, insn: Insn) -> Btf | None:
    """The types that the call's number means; None where they are not known."""
    if not insn.off:
        return env.facts.kernel_btf
    try:
        return _module(env, insn.off)
    except Reject as reject:
        said = f"{reject.text}\n" if reject.text else ""
        raise Reject(reject.errno, f"{said}failed to find BTF for kernel function",
                     idx) from None


def _module(env: Env, place: int) -> Btf:
    """The types of the module at a place of the array (__find_kfunc_desc_btf)."""
    known = next((one.btf for key, one in env.kfuncs.items() if key >> KFUNC_PLACE == place), None)
    if known is not None:
        return known
    if place < 0:
        raise Reject(EINVAL, "negative offset disallowed for kernel module function call")
    if len({key >> KFUNC_PLACE for key in env.kfuncs} - {0}) == MAX_MODULES:
        raise Reject(E2BIG, "too many different module BTFs")
    if env.facts.fd_array is None:
        raise Reject(EPROTO, "kfunc offset > 0 without fd_array is invalid")
    try:
        fd = env.facts.fd_array[place]
    except (BpfError, LookupError):
        raise Reject(EFAULT, "") from None
    found = _behind(env, fd)
    if not found.module:
        raise Reject(EINVAL, "BTF fd for kfunc is not a module BTF")
    return found.btf


def _behind(env: Env, fd: int) -> TypesFacts:
    """The types behind a descriptor."""
    try:
        return env.facts.btfs[fd]
    except KeyError:
        number = EINVAL if fd in env.facts.maps else EBADF
    except BpfError as error:
        number = error.errno or EINVAL
    raise Reject(number, "invalid module BTF fd specified")


def _described(env: Env, btf: Btf, idx: int, number: int) -> Kfunc:
    func = btf.type(number) if 0 < number < len(btf) else None
    proto = btf.type(func.type) if isinstance(func, t.Func) else None
    if not isinstance(func, t.Func):
        raise Reject(EINVAL, f"kernel btf_id {number & uapi.U32} is not a function", idx)
    if not isinstance(proto, t.FuncProto):
        raise Reject(EINVAL, f"kernel function btf_id {number} does not have a valid func_proto",
                     idx)
    if func.name in METADATA:
        raise Reject(EINVAL, "metadata kfuncs require device-bound program", idx)
    _check_model(btf, func, proto, idx)
    row = _row(env, func.name)
    return Kfunc(number, func.name, btf, proto.type, proto.params,
                 row.flags if row is not None else 0,
                 _is_allowed(env, btf, number, func.name))


def _row(env: Env, name: str) -> rows.Kfunc | None:
    """What is known of a function beside its prototype."""
    return env.facts.kfuncs.get(name) or rows.BY_NAME.get(name)


def _is_allowed(env: Env, btf: Btf, number: int, name: str) -> bool:
    row = _row(env, name)
    hook = env.target.hook if env.target is not None else None
    return (row is not None and _is_registered(btf, number)
            and row.callable_from(env.facts.type, env.facts.attach_type, hook))


def reconsider(env: Env) -> None:
    """What the program attaches to is known now; an extension has its target's type."""
    for kfunc in env.kfuncs.values():
        kfunc.allowed = _is_allowed(env, kfunc.btf, kfunc.id, kfunc.name)


def _is_registered(btf: Btf, number: int) -> bool:
    """Whether the kernel has the function in one of its sets.

    How it was built decides; its types tag those that it has. Older ones have no such tags.
    """
    tagged = _tagged.get(btf)
    if tagged is None:
        tags = btf.find_all("bpf_kfunc", uapi.BTF_KIND_DECL_TAG)
        found = (btf.expect(tag, t.DeclTag).type for tag in tags if tag >= btf.start_id)
        tagged = _tagged[btf] = frozenset(found)
    return number in tagged or not tagged


def _check_model(btf: Btf, func: t.Func, proto: t.FuncProto, idx: int) -> None:
    """Its arguments can be passed at all (btf_distill_func_proto)."""
    if len(proto.params) > MAX_ARGS:
        raise Reject(EINVAL, f"The function {func.name} has {len(proto.params)} arguments. "
                             "Too many.", idx)


def check_left_out(env: Env) -> None:
    """Calls of no function are good only where nothing comes (fixup_kfunc_call)."""
    for idx, insn in slots(env.insns):
        if is_kfunc_call(insn) and not insn.imm and env.aux[idx].seen:
            raise Reject(EINVAL, "invalid kernel function call not eliminated in verifier pass",
                         idx)


def of(env: Env, insn: Insn) -> Kfunc | None:
    """The function that `insn` calls, if it calls a kernel function that this program may call."""
    found = called(env, insn)
    return found if found is not None and found.allowed else None


def is_iter_next(env: Env, insn: Insn) -> bool:
    """A call that takes the next element of an iterator."""
    found = of(env, insn)
    return found is not None and bool(found.flags & rows.KF_ITER_NEXT)
