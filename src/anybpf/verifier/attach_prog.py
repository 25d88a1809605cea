"""Attaching to a function of another BPF program (bpf_check_attach_target, kernel/bpf/verifier.c).

An extension (freplace) takes the place of a global function of a program and is judged as that
program is; a tracing program runs before or behind any of its functions.
"""

from __future__ import annotations

from errno import EINVAL

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.verifier.env import Env
from anybpf.verifier.facts import FunctionFacts, ProgramFacts
from anybpf.verifier.reject import Reject

#: tracing programs that nothing extends
_UNEXTENDED = frozenset({uapi.BPF_TRACE_FENTRY, uapi.BPF_TRACE_FEXIT})


def check(env: Env, target: ProgramFacts, type_id: int, name: str) -> FunctionFacts:
    """The function of the target that is meant; this program may attach to it."""
    extends = is_extension(env)
    found = next((one for one in target.functions if one.type_id == type_id), None)
    if found is None:
        raise Reject(EINVAL, f"Subprog {name} doesn't exist")
    if found.is_exception_callback:
        raise Reject(EINVAL, f"{'Extension' if extends else 'FENTRY/FEXIT'} programs cannot attach "
                             "to exception callback")
    if extends:
        _check_replaced(env, found)
    _check_chain(env, target)
    return found


def is_extension(env: Env) -> bool:
    """The program takes the place of another one's function."""
    return bool(env.facts.type == uapi.BPF_PROG_TYPE_EXT)


def _check_replaced(env: Env, found: FunctionFacts) -> None:
    """Callers of the function find no more behind the call than they expect."""
    mine = env.subprogs[0]
    if found.unreliable:
        raise Reject(EINVAL, "Cannot replace static functions")
    if mine.changes_packet and not found.changes_packet:
        raise Reject(EINVAL, "Extension program changes packet data, while original does not")
    if mine.might_sleep and not found.might_sleep:
        raise Reject(EINVAL, "Extension program may sleep, while original does not")


def _check_chain(env: Env, target: ProgramFacts) -> None:
    """Programs that attach to programs make no cycles and no long chains."""
    kind = env.facts.type
    if kind == uapi.BPF_PROG_TYPE_TRACING:
        if target.traces_program:
            raise Reject(EINVAL, "Cannot nest tracing program attach more than once")
    elif target.type == kind:
        raise Reject(EINVAL, "Cannot recursively attach")
    if is_extension(env) and target.type == uapi.BPF_PROG_TYPE_TRACING \
            and target.attach_type in _UNEXTENDED:
        raise Reject(EINVAL, "Cannot extend fentry/fexit")


# -- the prototypes of an extension and of what it replaces


def check_same_type(env: Env, btf: Btf, func: t.Func) -> None:
    """The program's main function has the prototype of `func` (btf_check_type_match)."""
    mine = env.facts.btf
    if mine is None or not env.facts.funcs:
        raise Reject(EINVAL, "Program extension requires BTF")
    _Match(mine, mine.expect(env.facts.funcs[0].type_id, t.Func), btf, func).check()


class _Match:
    """Two functions side by side, each with the types that it is told in."""

    def __init__(self, btf1: Btf, func1: t.Func, btf2: Btf, func2: t.Func) -> None:
        self.btf1, self.btf2 = btf1, btf2
        self.func1, self.func2 = func1, func2
        self.name1, self.name2 = func1.name, func2.name

    def check(self) -> None:
        for func in (self.func1, self.func2):
            if func.linkage != uapi.BTF_FUNC_GLOBAL:
                raise Reject(EINVAL, f"{func.name}() is not a global function")
        proto1 = self.btf1.expect(self.func1.type, t.FuncProto)
        proto2 = self.btf2.expect(self.func2.type, t.FuncProto)
        count1, count2 = len(proto1.params), len(proto2.params)
        if count1 != count2:
            raise Reject(EINVAL, f"{self.name1}() has {count1} args while {self.name2}() has "
                                 f"{count2} args")
        self._check_result(*self._resolved(proto1.type, proto2.type))
        for number, (one, two) in enumerate(zip(proto1.params, proto2.params, strict=True)):
            self._check_argument(number, *self._resolved(one.type, two.type))

    def _resolved(self, one: int, two: int) -> tuple[t.Type, t.Type]:
        return (self.btf1.type(self.btf1.resolve(one)), self.btf2.type(self.btf2.resolve(two)))

    def _check_result(self, one: t.Type, two: t.Type) -> None:
        if _shape(one) != _shape(two):
            raise Reject(EINVAL, f"Return type {_word(one)} of {self.name1}() doesn't match type "
                                 f"{_word(two)} of {self.name2}()")

    def _check_argument(self, number: int, one: t.Type, two: t.Type) -> None:
        if _shape(one) != _shape(two):
            raise Reject(EINVAL, f"arg{number} in {self.name1}() is {_word(one)} while "
                                 f"{self.name2}() has {_word(two)}")
        size1, size2 = getattr(one, "size", 0), getattr(two, "size", 0)
        if size1 != size2:
            raise Reject(EINVAL, f"arg{number} in {self.name1}() has size {size1} while "
                                 f"{self.name2}() has {size2}")
        if isinstance(one, t.Int | t.AnyEnum):
            return
        if not (isinstance(one, t.Ptr) and isinstance(two, t.Ptr)):
            raise Reject(EINVAL, f"arg{number} in {self.name1}() has unrecognized type")
        self._check_pointers(number, *self._resolved(one.type, two.type))

    def _check_pointers(self, number: int, one: t.Type, two: t.Type) -> None:
        for name, made in ((self.name1, one), (self.name2, two)):
            if not isinstance(made, t.Composite):
                raise Reject(EINVAL, f"arg{number} in {name}() is not a pointer to context")
        if one.name != two.name:
            raise Reject(EINVAL, f"arg{number} {self.name1}(struct {one.name} *) "
                                 f"doesn't match {self.name2}(struct {two.name} *)")


def _shape(made: t.Type) -> tuple[int, int, bool]:
    """Kind, number of members or values, and flag (btf_type.info)."""
    if isinstance(made, t.Composite):
        flag = made.kind_flag or any(m.bitfield_size for m in made.members)
        return made.kind, len(made.members), flag
    if isinstance(made, t.AnyEnum):
        return made.kind, len(made.values), made.signed
    return made.kind, 0, bool(getattr(made, "is_union", False))


def _word(made: t.Type) -> str:
    return t.KIND_NAMES[made.kind]
