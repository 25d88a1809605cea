"""BTF for kernels that do not know all of it (tools/lib/bpf/libbpf.c: bpf_object__sanitize_btf).

A kernel refuses kinds that came after it. Each is replaced by something older that keeps ids, sizes
and string offsets, so that the rest of the BTF and .BTF.ext stay right.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf

#: the integer that stands for the values of 64-bit enums
PLACEHOLDER = "enum64_placeholder"
#: what may stand in the name of a data section but not of a struct
SECTION_MARKS = str.maketrans(".?", "__")


class Lacking(NamedTuple):
    """One thing that older kernels lack."""

    name: str
    #: the first kernel that has it
    since: tuple[int, int]
    #: the kinds that it is about
    kinds: frozenset[int]
    change: Callable[[Sanitizer, t.Type], t.Type]


def sanitize(btf: Btf, features: Collection[str]) -> Btf:
    """The same BTF without what a kernel with only `features` refuses; see `FEATURES`.

    Ids and string offsets stay as they were; a placeholder type may be added behind them.
    """
    missing = [one for one in FEATURES if one.name not in features]
    if not any(btf.kind(i) in one.kinds for one in missing for i in btf.ids()):
        return btf
    return Sanitizer(btf, missing).run()


def features_of(version: Iterable[int]) -> frozenset[str]:
    """What a kernel of this version has, as `(5, 15)`."""
    major, minor, *_ = version
    return frozenset(one.name for one in FEATURES if one.since <= (major, minor))


class Sanitizer:
    """One BTF on its way to an older kernel."""

    def __init__(self, btf: Btf, missing: Iterable[Lacking]) -> None:
        self.btf = btf
        self.placeholder = 0
        self._changes: dict[int, list[Lacking]] = {}
        for one in missing:
            for kind in one.kinds:
                self._changes.setdefault(kind, []).append(one)

    def run(self) -> Btf:
        builder = BtfBuilder.with_strings(self.btf)
        for _, made in self.btf.types():
            builder.add(self.changed(made))
        if self.placeholder:
            builder.add(t.Int(PLACEHOLDER, 1))
        return builder.build()

    def changed(self, made: t.Type) -> t.Type:
        """The type as the kernel takes it: the first change that makes another kind is the last."""
        kind = made.kind
        for one in self._changes.get(kind, ()):
            if made.kind == kind:
                made = one.change(self, made)
        return made

    def placeholder_id(self) -> int:
        self.placeholder = len(self.btf)
        return self.placeholder


def _byte(_: Sanitizer, made: t.Type) -> t.Type:
    """An INT of one byte, which is not larger than any variable."""
    return t.Int(made.name, 1)


def _struct_of_section(s: Sanitizer, made: t.Type) -> t.Type:
    assert isinstance(made, t.Datasec)
    members = (
        t.Member(s.btf.type(v.type).name, v.type, 8 * v.offset & uapi.U32) for v in made.vars
    )
    return t.Struct(made.name.translate(SECTION_MARKS), made.size, tuple(members))


def _unmarked_section(_: Sanitizer, made: t.Type) -> t.Type:
    assert isinstance(made, t.Datasec)
    marked = made.name.startswith("?")
    return replace(made, name="_" + made.name[1:]) if marked else made


def _enum_of_params(_: Sanitizer, made: t.Type) -> t.Type:
    assert isinstance(made, t.FuncProto)
    return t.Enum(made.name, 4, tuple(t.EnumValue(p.name, p.type) for p in made.params))


def _typedef(_: Sanitizer, made: t.Type) -> t.Type:
    assert isinstance(made, t.Func)
    return t.Typedef(made.name, made.type)


def _static(_: Sanitizer, made: t.Type) -> t.Type:
    assert isinstance(made, t.Func)
    return replace(made, linkage=uapi.BTF_FUNC_STATIC)


def _sized_struct(_: Sanitizer, made: t.Type) -> t.Type:
    """A nameless struct: "float" would be no name for one."""
    assert isinstance(made, t.Float)
    return t.Struct("", made.size)


def _const(_: Sanitizer, made: t.Type) -> t.Type:
    assert isinstance(made, t.TypeTag)
    return t.Const(made.type)


def _unsigned(_: Sanitizer, made: t.Type) -> t.Type:
    """The kind flag goes; the values' bits stay."""
    assert isinstance(made, t.Enum)
    values = (t.EnumValue(v.name, v.value & uapi.U32) for v in made.values)
    return replace(made, signed=False, values=tuple(values))


def _union_of_values(s: Sanitizer, made: t.Type) -> t.Type:
    assert isinstance(made, t.Enum64)
    members = (t.Member(v.name, s.placeholder_id(), 0) for v in made.values)
    return t.Union(made.name, made.size, tuple(members))


def _kinds(*kinds: int) -> frozenset[int]:
    return frozenset(kinds)


#: libbpf's features of the kernel's BTF, in the order in which their lack is looked at
FEATURES = (
    Lacking("datasec", (5, 2), _kinds(uapi.BTF_KIND_VAR), _byte),
    Lacking("datasec", (5, 2), _kinds(uapi.BTF_KIND_DATASEC), _struct_of_section),
    Lacking("decl_tag", (5, 16), _kinds(uapi.BTF_KIND_DECL_TAG), _byte),
    Lacking("qmark_datasec", (6, 9), _kinds(uapi.BTF_KIND_DATASEC), _unmarked_section),
    Lacking("func", (5, 0), _kinds(uapi.BTF_KIND_FUNC_PROTO), _enum_of_params),
    Lacking("func", (5, 0), _kinds(uapi.BTF_KIND_FUNC), _typedef),
    Lacking("global_func", (5, 6), _kinds(uapi.BTF_KIND_FUNC), _static),
    Lacking("float", (5, 13), _kinds(uapi.BTF_KIND_FLOAT), _sized_struct),
    Lacking("type_tag", (5, 17), _kinds(uapi.BTF_KIND_TYPE_TAG), _const),
    Lacking("enum64", (6, 0), _kinds(uapi.BTF_KIND_ENUM), _unsigned),
    Lacking("enum64", (6, 0), _kinds(uapi.BTF_KIND_ENUM64), _union_of_values),
)
ALL = frozenset(one.name for one in FEATURES)
