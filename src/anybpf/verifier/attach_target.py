"""What a program attaches to, and whether it may sleep (check_attach_btf_id, verifier.c)."""

from __future__ import annotations

from errno import EINVAL

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError, NotSupported
from anybpf.proto import tracepoints
from anybpf.verifier import struct_ops
from anybpf.verifier.env import Env
from anybpf.verifier.facts import Attachment
from anybpf.verifier.reject import Reject

TRACEPOINT = "btf_trace_"
ITERATOR = "bpf_iter_"
#: tracing programs that may sleep
_SLEEPERS = frozenset({uapi.BPF_TRACE_FENTRY, uapi.BPF_TRACE_FEXIT, uapi.BPF_MODIFY_RETURN,
                       uapi.BPF_TRACE_ITER})


def check(env: Env) -> None:
    """Who may sleep, who must, and the kernel function or hook that is meant."""
    facts = env.facts
    if facts.type == uapi.BPF_PROG_TYPE_SYSCALL:
        if not facts.sleepable:
            raise Reject(EINVAL, "Syscall programs can only be sleepable")
        return
    if facts.sleepable and not _may_sleep(env):
        raise Reject(EINVAL, "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops "
                             "programs can be sleepable")
    if env.prog.btf_target:
        env.target = _target(env)


def _may_sleep(env: Env) -> bool:
    if env.facts.type == uapi.BPF_PROG_TYPE_TRACING:
        return env.facts.attach_type in _SLEEPERS
    return env.prog.sleepable


def _target(env: Env) -> Attachment:
    """What the program's context has (bpf_check_attach_target)."""
    facts = env.facts
    if facts.type == uapi.BPF_PROG_TYPE_STRUCT_OPS:
        return struct_ops.find(env)
    find = _TARGETS.get(facts.attach_type) if facts.type == uapi.BPF_PROG_TYPE_TRACING else None
    if find is None or facts.attach_elsewhere or facts.kernel_btf is None:
        raise NotSupported(f"programs of type {env.prog.name} attached to functions")
    number, btf = facts.attach_btf_id, facts.kernel_btf
    if not number:
        raise Reject(EINVAL, "Tracing programs must provide btf_id")
    try:
        found = btf.type(number)
    except LoadError:
        raise Reject(EINVAL, f"attach_btf_id {number} is invalid") from None
    return find(btf, number, found)


def _tracepoint(btf: Btf, number: int, found: t.Type) -> Attachment:
    if not isinstance(found, t.Typedef):
        raise Reject(EINVAL, f"attach_btf_id {number} is not a typedef")
    if not found.name.startswith(TRACEPOINT):
        raise Reject(EINVAL,
                     f"attach_btf_id {number} points to wrong type name {found.name}")
    name = found.name.removeprefix(TRACEPOINT)
    pointer = btf.type(found.type)
    proto = btf.type(pointer.type) if isinstance(pointer, t.Ptr) else pointer
    if not isinstance(proto, t.FuncProto):
        raise Reject(EINVAL, "", end="")
    nullable = tracepoints.NULLABLE.get(name, ())
    return Attachment(name, btf, proto, skipped=1, nullable=nullable)


def _iterator(btf: Btf, number: int, found: t.Type) -> Attachment:
    if not isinstance(found, t.Func):
        raise Reject(EINVAL, f"attach_btf_id {number} is not a function")
    proto = btf.type(found.type)
    kinds = tracepoints.ITERATORS.get(found.name.removeprefix(ITERATOR))
    if not isinstance(proto, t.FuncProto) or not found.name.startswith(ITERATOR) or kinds is None:
        raise Reject(EINVAL, "", end="")
    return Attachment(found.name, btf, proto, kinds=kinds)


_TARGETS = {uapi.BPF_TRACE_RAW_TP: _tracepoint, uapi.BPF_TRACE_ITER: _iterator}
