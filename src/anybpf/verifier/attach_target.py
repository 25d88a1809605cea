"""What a program attaches to, and whether it may sleep (check_attach_btf_id, verifier.c)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from errno import EINVAL, ENOENT
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError, NotSupported
from anybpf.proto import contexts, hooks, progs, tracepoints
from anybpf.verifier import attach_prog, fmodel, kfuncs, struct_ops
from anybpf.verifier.env import Env
from anybpf.verifier.facts import Attachment, FunctionFacts, ProgramFacts
from anybpf.verifier.reject import Reject

MAX_ERRNO = 4095
TRACEPOINT = "btf_trace_"
ITERATOR = "bpf_iter_"
#: tracing programs that may sleep
_SLEEPERS = frozenset({*hooks.TRAMPOLINES, uapi.BPF_TRACE_ITER})
#: programs that run where the function returns
_BEHIND = frozenset({uapi.BPF_TRACE_FEXIT, uapi.BPF_MODIFY_RETURN})
#: the types of programs whose context another function's prototype tells
_BY_FUNCTION = frozenset({uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_PROG_TYPE_LSM,
                          uapi.BPF_PROG_TYPE_EXT})


class Named(NamedTuple):
    """The type that `attach_btf_id` names."""

    number: int
    btf: Btf
    type: t.Type

    @property
    def name(self) -> str:
        return self.type.name


def check(env: Env) -> None:
    """Who may sleep, who must, and the function or hook that is meant."""
    facts = env.facts
    if facts.type == uapi.BPF_PROG_TYPE_SYSCALL:
        if not facts.sleepable:
            raise Reject(EINVAL, "Syscall programs can only be sleepable")
        return
    if facts.sleepable and not _may_sleep(env):
        raise Reject(EINVAL, "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops "
                             "programs can be sleepable")
    if facts.type == uapi.BPF_PROG_TYPE_STRUCT_OPS:
        env.target = struct_ops.find(env)
        kfuncs.reconsider(env)
    elif facts.type in _BY_FUNCTION:
        env.target = _target(env)


def _may_sleep(env: Env) -> bool:
    if env.facts.type == uapi.BPF_PROG_TYPE_TRACING:
        return env.facts.attach_type in _SLEEPERS
    return env.prog.sleepable


def _target(env: Env) -> Attachment | None:
    """What the program's context has (bpf_check_attach_target)."""
    named = _named(env)
    program = env.facts.attach_prog
    if program is not None:
        return _in_program(env, named, program)
    if attach_prog.is_extension(env):
        raise Reject(EINVAL, "Cannot replace kernel functions")
    find = _TARGETS.get(env.facts.attach_type)
    if find is None:
        raise _silently()
    found = find(env, named)
    _check_lists(env, named)
    return found


def _in_program(env: Env, named: Named, program: ProgramFacts) -> Attachment | None:
    """A function of another program; an extension then has that one's context, or its target."""
    function = attach_prog.check(env, program, named.number, named.name)
    if not attach_prog.is_extension(env):
        return _traced(env, named, program, function)
    if isinstance(named.type, t.Func):
        attach_prog.check_same_type(env, named.btf, named.type)
    proto = _prototype(named)
    fmodel.check(env, named.btf, proto, named.name)
    inherit(env, program)
    if program.type not in _BY_FUNCTION:
        return None
    if program.attach_type == uapi.BPF_TRACE_ITER and not named.name.startswith(ITERATOR):
        raise _silently()
    skipped = 1 if program.attach_type == uapi.BPF_TRACE_RAW_TP else 0
    return Attachment(named.name, named.btf, proto, skipped, context=program.context)


def _traced(env: Env, named: Named, program: ProgramFacts, function: FunctionFacts) -> Attachment:
    """What a tracing program sees of a function of a program."""
    if env.facts.attach_type == uapi.BPF_TRACE_RAW_TP:
        raise Reject(EINVAL, "Only FENTRY/FEXIT progs are attachable to another BPF prog")
    if env.facts.attach_type == uapi.BPF_TRACE_ITER:
        return _iterator(env, named)._replace(context=program.context)
    if env.facts.attach_type not in _TARGETS:
        raise _silently()
    proto = None if function.unreliable else _prototype(named)
    if proto is not None:
        fmodel.check(env, named.btf, proto, named.name)
    if env.facts.sleepable:
        raise Reject(EINVAL, f"{named.name} is not sleepable")
    if env.facts.attach_type == uapi.BPF_MODIFY_RETURN:
        raise Reject(EINVAL, "can't modify return codes of BPF programs")
    return Attachment(named.name, named.btf, proto, context=program.context)


def inherit(env: Env, program: ProgramFacts) -> None:
    """From here on an extension is judged as the program is that it extends."""
    if program.type == uapi.BPF_PROG_TYPE_STRUCT_OPS:
        # it looks for what the function gives in types that are not there, and faults
        raise NotSupported("extensions of struct_ops programs, which Linux does not survive")
    env.extends = program
    env.facts = replace(env.facts, type=program.type, attach_type=program.attach_type)
    env.prog_type = program.type
    env.prog = progs.BY_TYPE[program.type]
    env.view = contexts.VIEWS.get(program.type)
    kfuncs.reconsider(env)


def _named(env: Env) -> Named:
    number, btf = env.facts.attach_btf_id, env.facts.attach_btf
    if not number:
        raise Reject(EINVAL, "Tracing programs must provide btf_id")
    if btf is None:
        raise Reject(EINVAL, "FENTRY/FEXIT program can only be attached to another program "
                             "annotated with BTF")
    try:
        return Named(number, btf, btf.type(number))
    except LoadError:
        raise Reject(EINVAL, f"attach_btf_id {number} is invalid") from None


def _silently(errno: int = EINVAL) -> Reject:
    """A refusal of which the log says nothing."""
    return Reject(errno, "", end="")


# -- by attach type


def _tracepoint(env: Env, named: Named) -> Attachment:
    btf, found = named.btf, named.type
    if not isinstance(found, t.Typedef):
        raise Reject(EINVAL, f"attach_btf_id {named.number} is not a typedef")
    if not named.name.startswith(TRACEPOINT):
        raise Reject(EINVAL, f"attach_btf_id {named.number} points to wrong type name {named.name}")
    name = named.name.removeprefix(TRACEPOINT)
    pointer = btf.type(found.type)
    proto = btf.type(pointer.type) if isinstance(pointer, t.Ptr) else pointer
    if not isinstance(proto, t.FuncProto):
        raise _silently()
    return Attachment(name, btf, proto, skipped=1, nullable=_nullable(env, name, proto),
                      errors=tracepoints.ERRORS.get(name, ()), trusted=True)


def _nullable(env: Env, name: str, proto: t.FuncProto) -> tuple[int, ...]:
    """Which arguments may be NULL: of modules' tracepoints that the kernel does not know, all."""
    known = tracepoints.OF_MODULES | tracepoints.NULLABLE
    if env.facts.attach_module is None:
        return known.get(name, ())
    return known.get(name, tuple(range(len(proto.params))))


def _iterator(env: Env, named: Named) -> Attachment:
    proto = _prototype(named)
    fmodel.check(env, named.btf, proto, named.name)
    kinds = tracepoints.ITERATORS.get(named.name.removeprefix(ITERATOR))
    if not named.name.startswith(ITERATOR) or kinds is None:
        raise _silently()
    return Attachment(named.name, named.btf, proto, kinds=kinds, trusted=True)


def _function(env: Env, named: Named) -> Attachment:
    facts, name = env.facts, named.name
    proto = _prototype(named)
    fmodel.check(env, named.btf, proto, name)
    if facts.symbols is not None and name not in facts.symbols:
        raise Reject(ENOENT, f"The address of function {name} cannot be found")
    if facts.sleepable:
        if name not in hooks.SLEEPABLE if _is_lsm(env) else not hooks.may_sleep(name):
            raise Reject(EINVAL, f"{name} is not sleepable")
    elif facts.attach_type == uapi.BPF_MODIFY_RETURN and not hooks.may_modify(name):
        raise Reject(EINVAL, f"{name}() is not modifiable")
    trusted = _is_lsm(env) and name not in hooks.UNTRUSTED
    results = _results(name) if _is_lsm(env) and proto.type else None
    return Attachment(name, named.btf, proto, trusted=trusted, results=results)


def _results(name: str) -> tuple[int, int]:
    """What a hook gives (bpf_lsm_get_retval_range)."""
    return (0, 1) if name in hooks.BOOLEAN else (-MAX_ERRNO, 0)


def _prototype(named: Named) -> t.FuncProto:
    if not isinstance(named.type, t.Func):
        raise Reject(EINVAL, f"attach_btf_id {named.number} is not a function")
    proto = named.btf.type(named.type.type)
    if not isinstance(proto, t.FuncProto):
        raise _silently()
    return proto


_TARGETS: dict[int, Callable[[Env, Named], Attachment]] = {
    uapi.BPF_TRACE_RAW_TP: _tracepoint,
    uapi.BPF_TRACE_ITER: _iterator,
    uapi.BPF_TRACE_FENTRY: _function,
    uapi.BPF_TRACE_FEXIT: _function,
    uapi.BPF_MODIFY_RETURN: _function,
    uapi.BPF_LSM_MAC: _function,
    uapi.BPF_LSM_CGROUP: _function,
}


# -- lists


def hook_names(btf: Btf) -> frozenset[str]:
    """The functions that stand for hooks of security modules: the kernel's types list the hooks."""
    number = btf.find("security_list_options", uapi.BTF_KIND_UNION)
    members = btf.expect(number, t.Union).members if number else ()
    return frozenset(hooks.LSM + member.name for member in members) - {hooks.LSM + "lsm_func_addr"}


def _is_lsm(env: Env) -> bool:
    return env.facts.type == uapi.BPF_PROG_TYPE_LSM


def _check_lists(env: Env, named: Named) -> None:
    """What may be attached to by nobody, or not where it returns."""
    if env.facts.attach_type in (uapi.BPF_TRACE_RAW_TP, uapi.BPF_TRACE_ITER):
        return
    if _is_lsm(env):
        _check_hook(env, named)
    elif named.name in hooks.DENIED:
        raise Reject(EINVAL, f"Attaching tracing programs to function '{named.name}' is rejected.")
    elif env.facts.attach_type in _BEHIND and named.name in hooks.NO_RETURN:
        raise Reject(EINVAL, "Attaching fexit/fmod_ret to __noreturn function "
                             f"'{named.name}' is rejected.")


def _check_hook(env: Env, named: Named) -> None:
    """The function is a hook, and open to programs (bpf_lsm_verify_prog)."""
    if not env.facts.gpl:
        raise Reject(EINVAL, "LSM programs must have a GPL compatible license")
    if named.name in hooks.DISABLED:
        raise Reject(EINVAL, f"attach_btf_id {named.number} points to disabled hook {named.name}")
    if named.name not in hook_names(named.btf):
        raise Reject(EINVAL, f"attach_btf_id {named.number} points to wrong type name {named.name}")
