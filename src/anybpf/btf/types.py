"""The kinds of BTF types as small classes (include/uapi/linux/btf.h).

A type is a value: it knows its own fields and the *ids* of the types it refers to, never the BTF it
came from. `Btf.type(id)` makes them; `BtfBuilder.add(type)` takes them. Treat them as immutable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from anybpf import uapi

#: kind number -> the name that bpftool and the kernel's log print
KIND_NAMES = (
    "UNKNOWN", "INT", "PTR", "ARRAY", "STRUCT", "UNION", "ENUM", "FWD", "TYPEDEF", "VOLATILE",
    "CONST", "RESTRICT", "FUNC", "FUNC_PROTO", "VAR", "DATASEC", "FLOAT", "DECL_TAG", "TYPE_TAG",
    "ENUM64",
)  # fmt: skip

#: kind number -> how many 32-bit words follow the three common ones
FIXED_WORDS = (0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0)
#: kind number -> how many words follow for each of the `vlen` elements
ELEMENT_WORDS = (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3)


class Member(NamedTuple):
    """A struct or union member; `bitfield_size` is in bits, 0 for an ordinary member."""

    name: str
    type: int
    bit_offset: int
    bitfield_size: int = 0

    @property
    def offset(self) -> int:
        """The byte that the member starts in."""
        return self.bit_offset // 8


class EnumValue(NamedTuple):
    """An enumerator and its value, signed as the enum is."""

    name: str
    value: int


class Param(NamedTuple):
    """A function parameter; type 0 with no name is the `...` of a variadic function."""

    name: str
    type: int


class SecVar(NamedTuple):
    """A variable of a data section: id of its VAR (or FUNC), byte offset and size there."""

    type: int
    offset: int
    size: int


class Type:
    """What all kinds share. `kind` is a BTF_KIND_* number; `name` is "" where there is none."""

    __slots__ = ()
    kind: ClassVar[int] = uapi.BTF_KIND_UNKN
    name: str

    @property
    def kind_name(self) -> str:
        return KIND_NAMES[self.kind]


@dataclass(slots=True)
class Void(Type):
    """Type id 0; it has no record of its own."""

    name: str = "void"


@dataclass(slots=True)
class Int(Type):
    """An integer: `size` bytes of which `bits` from bit `offset` count; `encoding` BTF_INT_*."""

    kind = uapi.BTF_KIND_INT
    name: str
    size: int
    bits: int = 0
    offset: int = 0
    encoding: int = 0

    def __post_init__(self) -> None:
        self.bits = self.bits or self.size * 8

    @property
    def signed(self) -> bool:
        return bool(self.encoding & uapi.BTF_INT_SIGNED)

    @property
    def is_char(self) -> bool:
        return bool(self.encoding & uapi.BTF_INT_CHAR)

    @property
    def is_bool(self) -> bool:
        return bool(self.encoding & uapi.BTF_INT_BOOL)


@dataclass(slots=True)
class Array(Type):
    """`nelems` elements of `type`; `index_type` is an integer type's id."""

    kind = uapi.BTF_KIND_ARRAY
    type: int
    index_type: int
    nelems: int
    name: str = ""


@dataclass(slots=True)
class Composite(Type):
    """A struct or union of `size` bytes; `kind_flag`: members carry their bitfield size."""

    name: str
    size: int
    members: tuple[Member, ...] = ()
    kind_flag: bool = False

    def member(self, name: str) -> Member | None:
        """The direct member called `name` (members of anonymous members are not searched)."""
        return next((m for m in self.members if m.name == name), None)


@dataclass(slots=True)
class Struct(Composite):
    """A C struct."""

    kind = uapi.BTF_KIND_STRUCT


@dataclass(slots=True)
class Union(Composite):
    """A C union."""

    kind = uapi.BTF_KIND_UNION


@dataclass(slots=True)
class AnyEnum(Type):
    """An enum of `size` bytes with its values; `signed` is the record's kind flag."""

    name: str
    size: int
    values: tuple[EnumValue, ...] = ()
    signed: bool = False

    def name_of(self, value: int) -> str | None:
        """The first enumerator with this value."""
        return next((v.name for v in self.values if v.value == value), None)

    def value_of(self, name: str) -> int | None:
        """The value of the enumerator called `name`."""
        return next((v.value for v in self.values if v.name == name), None)


@dataclass(slots=True)
class Enum(AnyEnum):
    """An enum whose values fit 32 bits."""

    kind = uapi.BTF_KIND_ENUM


@dataclass(slots=True)
class Enum64(AnyEnum):
    """An enum with 64-bit values."""

    kind = uapi.BTF_KIND_ENUM64


@dataclass(slots=True)
class Fwd(Type):
    """A struct or union that is only declared."""

    kind = uapi.BTF_KIND_FWD
    name: str
    is_union: bool = False


@dataclass(slots=True)
class Ref(Type):
    """A nameless type that only points at another: PTR and the modifiers."""

    type: int
    name: str = ""


@dataclass(slots=True)
class Ptr(Ref):
    """A pointer; to void if `type` is 0."""

    kind = uapi.BTF_KIND_PTR


@dataclass(slots=True)
class Volatile(Ref):
    """`volatile` of a type."""

    kind = uapi.BTF_KIND_VOLATILE


@dataclass(slots=True)
class Const(Ref):
    """`const` of a type."""

    kind = uapi.BTF_KIND_CONST


@dataclass(slots=True)
class Restrict(Ref):
    """`restrict` of a pointer."""

    kind = uapi.BTF_KIND_RESTRICT


@dataclass(slots=True)
class Typedef(Type):
    """A named alias."""

    kind = uapi.BTF_KIND_TYPEDEF
    name: str
    type: int


@dataclass(slots=True)
class TypeTag(Type):
    """`btf_type_tag("name")` on a type; with `kind_flag` an attribute of that name."""

    kind = uapi.BTF_KIND_TYPE_TAG
    name: str
    type: int
    kind_flag: bool = False


@dataclass(slots=True)
class Func(Type):
    """A function: `type` is its FUNC_PROTO, `linkage` BTF_FUNC_*."""

    kind = uapi.BTF_KIND_FUNC
    name: str
    type: int
    linkage: int = uapi.BTF_FUNC_GLOBAL


@dataclass(slots=True)
class FuncProto(Type):
    """A function's return `type` and its parameters."""

    kind = uapi.BTF_KIND_FUNC_PROTO
    type: int
    params: tuple[Param, ...] = ()
    name: str = ""

    @property
    def variadic(self) -> bool:
        return bool(self.params) and self.params[-1].type == 0


@dataclass(slots=True)
class Var(Type):
    """A global variable; `linkage` BTF_VAR_*."""

    kind = uapi.BTF_KIND_VAR
    name: str
    type: int
    linkage: int = uapi.BTF_VAR_GLOBAL_ALLOCATED


@dataclass(slots=True)
class Datasec(Type):
    """An ELF data section of `size` bytes (0 in fresh compiler output) and its variables."""

    kind = uapi.BTF_KIND_DATASEC
    name: str
    size: int
    vars: tuple[SecVar, ...] = ()


@dataclass(slots=True)
class Float(Type):
    """A floating point number of `size` bytes."""

    kind = uapi.BTF_KIND_FLOAT
    name: str
    size: int


@dataclass(slots=True)
class DeclTag(Type):
    """`btf_decl_tag("name")` on declaration `type`, or on its member `component` if not -1."""

    kind = uapi.BTF_KIND_DECL_TAG
    name: str
    type: int
    component: int = -1
    kind_flag: bool = False


VOID = Void()

#: kinds that only qualify or rename the type that they refer to
MODIFIERS = frozenset({
    uapi.BTF_KIND_VOLATILE, uapi.BTF_KIND_CONST, uapi.BTF_KIND_RESTRICT, uapi.BTF_KIND_TYPE_TAG,
})  # fmt: skip
ALIASES = MODIFIERS | {uapi.BTF_KIND_TYPEDEF}
