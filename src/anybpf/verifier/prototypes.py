"""Arguments of the program's functions from BTF (btf_prepare_func_args, kernel/bpf/btf.c)."""

from __future__ import annotations

from errno import EINVAL, ENOENT, EOPNOTSUPP, ESRCH
from typing import NamedTuple
from weakref import WeakKeyDictionary

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.btf.relo_cands import named
from anybpf.btf.relo_spec import essential_name
from anybpf.errors import LoadError, NotSupported
from anybpf.proto import contexts, hooks, progs
from anybpf.verifier.facts import FuncArg

MAX_ARGS = 5
_GLOBAL = 1
#: what a tag `arg:...` may say
TAGS = frozenset({"ctx", "trusted", "untrusted", "nonnull", "nullable", "arena"})
#: contexts that have another name in the kernel's types than in our rows; () is none
_NAMES: dict[str, tuple[str, ...]] = {
    "pt_regs": ("bpf_user_pt_regs_t", "pt_regs"),
    "raw_tracepoint_writable": ("bpf_raw_tracepoint_args",),
    "tracepoint": (), "syscall": (), "lirc_mode2": (),
}
#: the kernel's own struct is taken for its user's
PROJECTIONS = {"__sk_buff": "sk_buff", "xdp_md": "xdp_buff"}
_VOID_CONTEXTS = frozenset({
    uapi.BPF_PROG_TYPE_TRACEPOINT, uapi.BPF_PROG_TYPE_SYSCALL, uapi.BPF_PROG_TYPE_EXT})
#: programs to whose `ctx` tag a pointer to 64-bit numbers is good, too
_U64_CONTEXTS = frozenset({
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, uapi.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE,
    uapi.BPF_PROG_TYPE_LSM, uapi.BPF_PROG_TYPE_STRUCT_OPS})
_U64_ATTACH = frozenset({*hooks.TRAMPOLINES, uapi.BPF_TRACE_RAW_TP})

_tags: WeakKeyDictionary[Btf, dict[tuple[int, int], list[str]]] = WeakKeyDictionary()


class Program(NamedTuple):
    """What of the program decides what a context is."""

    type: int
    attach_type: int = 0


class Prototype(NamedTuple):
    """What a function takes; or the errno, and what the log says (perhaps nothing)."""

    args: tuple[FuncArg, ...] = ()
    errno: int = 0
    text: str = ""


class _Bad(Exception):
    """The prototype is none that can be used."""

    def __init__(self, text: str = "", errno: int = EINVAL) -> None:
        self.text = text
        self.errno = errno
        super().__init__(text)


def prototype(btf: Btf, func_id: int, program: Program, kernel: Btf | None = None) -> Prototype:
    """What the function takes. Of a static function that BTF cannot tell, the log says nothing."""
    try:
        return Prototype(_Reader(btf, func_id, program, kernel).read())
    except _Bad as bad:
        return Prototype((), bad.errno, bad.text)


def is_context(btf: Btf, type_id: int, prog_type: int) -> bool:
    """A pointer to the type is one to what programs get (btf_is_prog_ctx_type)."""
    names = _context_names(prog_type)
    plain = btf.type(btf.skip_modifiers(type_id))
    if isinstance(plain, t.Typedef) and prog_type == uapi.BPF_PROG_TYPE_KPROBE \
            and plain.name == "bpf_user_pt_regs_t":
        return True
    found = btf.type(btf.resolve(type_id))
    if not isinstance(found, t.Composite) or not found.name:
        return False
    return found.name in names or found.name in map(PROJECTIONS.get, names)


def _context_names(prog_type: int) -> tuple[str, ...]:
    view = contexts.VIEWS.get(prog_type)
    return _NAMES.get(view.context, (view.context,)) if view is not None else ()


def kernel_context(kernel: Btf, prog_type: int) -> int:
    """The type in the kernel of what programs of a type get; 0: there is none."""
    pairs = kernel.find("bpf_ctx_convert", uapi.BTF_KIND_STRUCT)
    name = f"BPF_PROG_TYPE_{progs.BY_TYPE[prog_type].name.upper()}_kern"
    member = kernel.expect(pairs, t.Struct).member(name) if pairs else None
    return member.type if member is not None else 0


def arg_tags(btf: Btf, func_id: int, number: int) -> list[str]:
    """The words of the tags `arg:WORD` of a parameter, in order."""
    known = _tags.get(btf)
    if known is None:
        known = _tags[btf] = {}
        for _, found in btf.types():
            if isinstance(found, t.DeclTag) and found.name.startswith("arg:"):
                known.setdefault((found.type, found.component), []).append(found.name[4:])
    return known.get((func_id, number), [])


def _known(kernel: Btf | None) -> Btf:
    if kernel is None:
        raise NotSupported("typed pointers without the kernel's types (Facts.kernel_btf)")
    return kernel


class _Reader:
    """Reads one prototype."""

    def __init__(self, btf: Btf, func_id: int, program: Program, kernel: Btf | None) -> None:
        self.btf = btf
        self.kernel = kernel
        self.func_id = func_id
        self.program = program
        self.func = btf.expect(func_id, t.Func)
        self.proto = btf.expect(self.func.type, t.FuncProto)
        self.is_global = self.func.linkage == _GLOBAL

    def read(self) -> tuple[FuncArg, ...]:
        count = len(self.proto.params)
        if count > MAX_ARGS:
            raise self._refuse(f"Global function {self.func.name}() with {count} > {MAX_ARGS} "
                               "args. Buggy compiler.")
        if not isinstance(self._behind(self.proto.type), (t.Int, t.AnyEnum)):
            raise self._refuse(f"Global function {self.func.name}() doesn't return scalar. "
                               "Only those are supported.")
        return tuple(self._argument(i, param.type) for i, param in enumerate(self.proto.params))

    def _refuse(self, text: str) -> _Bad:
        return _Bad(text if self.is_global else "")

    def _behind(self, type_id: int) -> t.Type:
        return self.btf.type(self.btf.resolve(type_id))

    def _argument(self, number: int, type_id: int) -> FuncArg:
        tags = self._tags(number)
        found = self._behind(type_id)
        if isinstance(found, t.Ptr):
            pointer = self._pointer(number, found, tags)
            if pointer is not None:
                return pointer
        if tags:
            raise _Bad(f"arg#{number} has pointer tag, but is not a pointer type")
        if isinstance(found, (t.Int, t.AnyEnum)):
            return FuncArg("scalar")
        raise self._refuse(f"Arg#{number} type {found.kind_name} in {self.func.name}() is not "
                           "supported yet.")

    def _tags(self, number: int) -> set[str]:
        words = arg_tags(self.btf, self.func_id, number)
        if words and not self.is_global:
            raise _Bad(f"arg#{number} type tag is not supported in static functions", EOPNOTSUPP)
        if not TAGS.issuperset(words):
            raise _Bad(f"arg#{number} has unsupported set of tags", EOPNOTSUPP)
        return set(words)

    def _pointer(self, number: int, pointer: t.Ptr, tags: set[str]) -> FuncArg | None:
        """None for a static function's pointer, which tells nothing."""
        if "ctx" in tags or is_context(self.btf, pointer.type, self.program.type):
            _only(number, tags, "ctx")
            if tags:
                self._check_context(number, pointer.type)
            return FuncArg("ctx")
        if self._is_dynptr(pointer.type):
            _only(number, tags)
            return FuncArg("dynptr")
        for word in ("trusted", "untrusted", "arena"):
            if word in tags:
                return self._tagged(number, word, tags, pointer.type)
        return self._memory(number, pointer.type, tags) if self.is_global else None

    def _tagged(self, number: int, word: str, tags: set[str], type_id: int) -> FuncArg:
        if word == "trusted":
            if "nonnull" in tags:
                raise _Bad(f"arg#{number} has invalid combination of tags")
            return FuncArg("trusted_btf", nullable="nullable" in tags,
                           type_id=self._in_kernel(number, type_id))
        if tags != {word}:
            raise _Bad(f"arg#{number} {word} cannot be combined with any other tags")
        if word == "arena" or isinstance(self._behind(type_id), (t.Void, t.Int, t.AnyEnum)):
            return FuncArg(word)
        return FuncArg("untrusted_btf", type_id=self._struct_in_kernel(number, type_id))

    def _struct_in_kernel(self, number: int, type_id: int) -> int:
        found = self._in_kernel(number, type_id)
        made = _known(self.kernel).type(found)
        if not isinstance(made, t.Composite):
            # the kernel names the pointer, which has no name
            raise _Bad(f"arg#{number} has type {made.kind_name} '(anon)', but only struct or "
                       "primitive types are allowed")
        return found

    def _in_kernel(self, number: int, type_id: int) -> int:
        """The one type of the kernel of that kind and name (btf_get_ptr_to_btf_id)."""
        local = self._behind(type_id)
        kernel, name = _known(self.kernel), getattr(local, "name", "")
        if isinstance(local, t.Void):
            name = ""
        what = "UNKNOWN" if isinstance(local, t.Void) else local.kind_name
        said = f"arg#{number} reference type('{what} {name or '(anon)'}')"
        if not name:
            raise _Bad(f"{said} candidate matching error: {-EINVAL}")
        found = [i for i in named(kernel, essential_name(name)) if kernel.kind(i) == local.kind]
        if len(found) == 1:
            return found[0]
        if found:
            raise _Bad(f"{said} is ambiguous", ESRCH)
        raise _Bad(f"{said} has no matches", ENOENT)

    def _memory(self, number: int, type_id: int, tags: set[str]) -> FuncArg:
        if "nullable" in tags:
            raise _Bad(f"arg#{number} has invalid combination of tags")
        try:
            size = self.btf.size_of(type_id)
        except LoadError:
            found = self._behind(type_id)
            void = isinstance(found, t.Void)
            kind, name = ("UNKNOWN", "") if void else (found.kind_name, getattr(found, "name", ""))
            raise _Bad(f"arg#{number} reference type('{kind} {name}') size cannot be determined: "
                       f"{-EINVAL}") from None
        return FuncArg("mem", size, "nonnull" not in tags)

    # -- contexts

    def _is_dynptr(self, type_id: int) -> bool:
        found = self._behind(type_id)
        declared = isinstance(found, t.Fwd) and not found.is_union
        return (isinstance(found, t.Composite) or declared) and found.name == "bpf_dynptr"

    def _check_context(self, number: int, type_id: int) -> None:
        """What stands at an argument with the tag `ctx` (btf_validate_prog_ctx_type)."""
        found = self._behind(type_id)
        if isinstance(found, t.Void) or self._is_typedef_of_registers(type_id):
            return
        name = getattr(found, "name", "")
        if not name:
            raise _Bad(f"arg#{number} type doesn't have a name")
        if self._is_special_context(found, name):
            return
        names = _context_names(self.program.type)
        if not names:
            raise _Bad(f"arg#{number} should be void pointer")
        if name != names[-1] or not isinstance(found, t.Struct):
            raise _Bad(f"arg#{number} should be `struct {names[-1]} *`")

    def _is_typedef_of_registers(self, type_id: int) -> bool:
        plain = self.btf.type(self.btf.skip_modifiers(type_id))
        return (isinstance(plain, t.Typedef) and plain.name == "bpf_user_pt_regs_t"
                and self.program.type in (uapi.BPF_PROG_TYPE_KPROBE,
                                          uapi.BPF_PROG_TYPE_PERF_EVENT))

    def _is_special_context(self, found: t.Type, name: str) -> bool:
        kind, attach = self.program
        traced = kind == uapi.BPF_PROG_TYPE_TRACING
        if isinstance(found, t.Int) and found.size == 8 and (
                kind in _U64_CONTEXTS or (traced and attach in _U64_ATTACH)):
            return True
        if not isinstance(found, t.Struct):
            return kind in _VOID_CONTEXTS
        if traced and attach == uapi.BPF_TRACE_ITER:
            return name.startswith("bpf_iter__")
        if traced and attach == uapi.BPF_TRACE_RAW_TP:
            return name == "bpf_raw_tracepoint_args"
        registers = (uapi.BPF_PROG_TYPE_KPROBE, uapi.BPF_PROG_TYPE_PERF_EVENT)
        return kind in _VOID_CONTEXTS or (kind in registers and name == "pt_regs")


def _only(number: int, tags: set[str], *allowed: str) -> None:
    """No other tags than these."""
    if tags - set(allowed):
        raise _Bad(f"arg#{number} has invalid combination of tags")
