"""Values as bpf_snprintf_btf writes them (kernel/bpf/btf.c: btf_type_show).

A value is a cast and what C would initialise it with: `(struct path){.mnt = (struct vfsmount
*)0x...,}`. What is zero is left out unless `BTF_F_ZERO` asks for it, the outermost value and named
enumerators excepted. The kernel's oddities are kept: in arrays of pointers, and of arrays, the
first element stands for all; structs in arrays have no names and no brace that opens them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import MAX_DEPTH, SECTION, Btf
from anybpf.btf.walk import Walker
from anybpf.errors import LoadError

ALL_FLAGS = uapi.BTF_F_COMPACT | uapi.BTF_F_NONAME | uapi.BTF_F_PTR_RAW | uapi.BTF_F_ZERO
#: characters of member and type name that are kept, and levels of pointers, arrays and typedefs
MAX_NAME, MAX_ITER = 79, 10
MAX_INDENT = 16
#: kinds whose record has a size; an array's elements of other kinds are taken to have none
SIZED = t.Int | t.Composite | t.AnyEnum | t.Datasec | t.Float

SIZED_KINDS = frozenset({
    uapi.BTF_KIND_INT, uapi.BTF_KIND_PTR, uapi.BTF_KIND_ARRAY, uapi.BTF_KIND_STRUCT,
    uapi.BTF_KIND_UNION, uapi.BTF_KIND_ENUM, uapi.BTF_KIND_ENUM64, uapi.BTF_KIND_VAR,
})  # fmt: skip
#: bytes that are read of an enum, however small it is
ENUM_SIZE = 4
#: values visited before a BTF is taken for one that multiplies: these, and some for each byte
FREE_STEPS, STEPS_PER_BYTE = 1 << 16, 64
CHAR = uapi.BTF_INT_CHAR
#: the highest error number that a pointer can hold
MAX_ERRNO = 4095

Inner = Callable[..., None]
HashPointer = Callable[[int], int]


class Written(NamedTuple):
    """What a buffer gets, and how long the whole text would have been (as snprintf counts)."""

    text: bytes
    length: int


def snprintf_btf(
    btf: Btf,
    type_id: int,
    data: bytes,
    flags: int = 0,
    *,
    size: int | None = None,
    hash_pointer: HashPointer | None = None,
) -> Written:
    """The text of the value of type `type_id` at the start of `data`.

    `flags` are BTF_F_*; `size` that of the buffer, whose last byte is for NUL (None: any). Pointers
    go through `hash_pointer`, which gives 32 bits, unless BTF_F_PTR_RAW is set. Raises ValueError
    for unknown flags, LoadError for a broken type or too little data.
    """
    if flags & ~ALL_FLAGS:
        raise ValueError(f"unknown flags {flags & ~ALL_FLAGS:#x}")
    shown = Show(btf, _object(btf, type_id, bytes(data)), flags, hash_pointer or hashed)
    shown.show(type_id, type_id, 0, 0)
    text = "".join(shown.parts).encode("utf-8", "surrogateescape")
    return Written(text if size is None else text[: max(size - 1, 0)], len(text))


def _object(btf: Btf, type_id: int, data: bytes) -> bytes:
    """The bytes of the value and some zeros: the kernel reads four bytes of any enum."""
    if btf.kind(btf.resolve(type_id)) not in SIZED_KINDS:
        return data
    size = btf.size_of(type_id)
    if len(data) < size:
        raise LoadError(f"value of {len(data)} bytes ends before byte {size}")
    return data[:size] + bytes(ENUM_SIZE)


def hashed(pointer: int) -> int:
    """32 bits that tell pointers apart, the same in every run."""
    mixed = (pointer ^ pointer >> 32) * 0x9E3779B97F4A7C15 & uapi.U64
    return (mixed ^ mixed >> 29) * 0xBF58476D1CE4E5B9 >> 32 & uapi.U32


class Show:
    """The text so far, and where in the value it is."""

    def __init__(self, btf: Btf, data: bytes, flags: int, hash_pointer: HashPointer) -> None:
        self.btf = btf
        self.walk = Walker(btf, data)
        self.flags = flags
        self.hash_pointer = hash_pointer
        self.parts: list[str] = []
        self.depth = 0
        #: while looking whether a struct has anything to show: the depth in it, else 0
        self.depth_check = 0
        self.depth_to_show = 0
        self.type: t.Type | None = None
        self.type_id = 0
        self.member: t.Member | None = None
        self.in_array = False
        self.chars = self.terminated = False
        self._nesting = 0
        self._budget = FREE_STEPS + STEPS_PER_BYTE * len(data)

    # -- text ---------------------------------------------------------------------------------

    @property
    def compact(self) -> bool:
        return bool(self.flags & uapi.BTF_F_COMPACT)

    @property
    def indent(self) -> str:
        return "" if self.compact else " " * min(self.depth, MAX_INDENT)

    @property
    def delimiter(self) -> str:
        """What separates this value from the next one."""
        if not self.depth:
            return ""
        return "|" if self.compact and isinstance(self.type, t.Union) else ","

    @property
    def newline(self) -> str:
        return "" if self.compact else "\n"

    def put(self, text: str) -> None:
        if not self.depth_check:
            self.parts.append(text)

    def put_value(self, text: str, shown: bool = True) -> None:
        """Write a leaf; `shown` is false for zero."""
        if shown or self.flags & uapi.BTF_F_ZERO or not self.depth:
            self.put(f"{self.indent}{self.name()}{text}{self.delimiter}{self.newline}")
            self.depth_to_show = max(self.depth_to_show, self.depth)

    def put_number(self, value: int) -> None:
        self.put_value(str(value), bool(value))

    def put_hex(self, value: int) -> None:
        self.put_value(f"0x{value:x}", bool(value))

    def name(self) -> str:
        """`.member = (type)` and the bracket that opens the value."""
        if self.in_array:
            return ""
        member = self.member
        named = self._type_name(self.type_id if member is None else member.type)
        if named is None:
            return ""
        cast, bracket = named
        if self.flags & uapi.BTF_F_NONAME:
            return bracket
        before = f".{member.name} = " if member is not None and member.name else ""
        return f"{before}({cast}){bracket}"[:MAX_NAME]

    def _type_name(self, type_id: int) -> tuple[str, str] | None:
        """The type's name with stars and brackets, and what opens its value; None: too long."""
        made = self.btf.type(type_id)
        typedef, stars, arrays = "", 0, 0
        for _ in range(MAX_ITER):
            if isinstance(made, t.Typedef):
                typedef = typedef or made.name
            elif isinstance(made, t.Array):
                arrays += 1
            elif isinstance(made, t.Ptr):
                stars += 1
            else:
                return _spelt(made, typedef, stars, arrays)
            if not made.type:
                return _spelt(made, typedef, stars, arrays)
            made = self.btf.type(self.btf.skip_modifiers(made.type))
        return None

    # -- structure ----------------------------------------------------------------------------

    def show(self, type_id: int, shown_id: int, at: int, bit: int) -> None:
        """Write the value at byte `at` and bit `bit`; its name shows type `shown_id`."""
        made = self.btf.type(self.btf.resolve(type_id))
        self._budget -= 1
        self._nesting += 1
        if self._budget < 0 or self._nesting > MAX_DEPTH:
            raise LoadError("types are nested too deeply", SECTION, self.btf.offset_of(type_id))
        method = self.METHODS.get(type(made), Show._unsupported)
        method(self, made, shown_id, at, bit)
        self._nesting -= 1

    def _unsupported(self, made: t.Type, type_id: int, at: int, bit: int) -> None:
        self.put(f"<unsupported kind:{made.kind}>")

    def _start(self, made: t.Type, type_id: int) -> None:
        self.type, self.type_id = made, type_id

    def _end(self) -> None:
        self.type, self.type_id = None, 0

    def _aggregate(self, made: t.Type, type_id: int, at: int, bit: int) -> None:
        """Write a struct, union or array if anything in it is to be shown."""
        inner: Inner = Show._array if isinstance(made, t.Array) else Show._composite
        member = self.member
        if self.depth and not self.flags & uapi.BTF_F_ZERO:
            if not self.depth_check:
                self.depth_check, self.depth_to_show = self.depth + 1, 0
            inner(self, made, type_id, at)
            self.member = member
            if self.depth_check != self.depth + 1:
                return
            self.depth_check = 0
            if self.depth_to_show <= self.depth:
                return
        inner(self, made, type_id, at)

    def _open(self, made: t.Type, type_id: int) -> None:
        self._start(made, type_id)
        self.put(f"{self.indent}{self.name()}{self.newline}")
        self.depth += 1

    def _close(self, bracket: str) -> None:
        self.depth -= 1
        self.put(f"{self.indent}{bracket}{self.delimiter}{self.newline}")
        self._end()

    def _composite(self, made: t.Composite, type_id: int, at: int) -> None:
        self._open(made, type_id)
        for member in made.members:
            self.member = member
            first, bit = at + member.offset, member.bit_offset % 8
            if member.bitfield_size:
                self._start(self.btf.type(member.type), member.type)
                self._bits(first * 8 + bit, member.bitfield_size)
                self._end()
            else:
                self.show(member.type, member.type, first, bit)
            self.member = None
        self._close("}")

    def _array(self, made: t.Array, type_id: int, at: int) -> None:
        element = self.btf.type(self.btf.resolve(made.type))
        size: int = getattr(element, "size", 0) if isinstance(element, SIZED) else 0
        self.chars = isinstance(element, t.Int) and (size == 1 or element.encoding == CHAR)
        self.terminated = False
        self._open(made, type_id)
        for i in range(made.nelems):
            self.in_array, self.member = True, None
            self.show(made.type, made.type, at + i * size, 0)
            self.in_array, self.member = False, None
            if self.terminated:
                break
        self.chars = self.terminated = False
        self._close("]")

    def _datasec(self, made: t.Datasec, type_id: int, at: int, bit: int) -> None:
        self._start(made, type_id)
        self.put_value(f'section ("{made.name}") = {{')
        for i, var in enumerate(made.vars):
            self.put("," if i else "")
            self.show(var.type, var.type, at + var.offset, 0)
        self._end()

    def _var(self, made: t.Var, type_id: int, at: int, bit: int) -> None:
        self.show(made.type, made.type, at, bit)

    # -- leaves -------------------------------------------------------------------------------

    def _bits(self, bit: int, width: int) -> None:
        self.put_hex(self.walk.bits(bit, width, False))

    def _int(self, made: t.Int, type_id: int, at: int, bit: int) -> None:
        self._start(made, type_id)
        if bit or made.offset or made.bits not in (8, 16, 32, 64, 128):
            self._bits(at * 8 + bit + made.offset, made.bits)
        elif made.bits == 128:
            self.put_hex(self.walk.number(at, 16, False))
        else:
            value = self.walk.number(at, made.bits // 8, made.signed)
            if made.bits != 8 or not self.chars or not self._char(value & 0xFF):
                self.put_number(value)
        self._end()

    def _char(self, value: int) -> bool:
        """Write an element of a char array; false if it is to be written as a number."""
        self.terminated = self.terminated or not value
        if not self.terminated and printable(value):
            text = bytes([value]).decode("utf-8", "surrogateescape")
            self.put_value(f"'{text}'")
        return self.terminated or printable(value)

    def _enum(self, made: t.AnyEnum, type_id: int, at: int, bit: int) -> None:
        self._start(made, type_id)
        size = 8 if isinstance(made, t.Enum64) else ENUM_SIZE
        value = self.walk.number(at, size, made.signed)
        name = made.name_of(value)
        self.put_value(str(value) if name is None else name, name is not None or bool(value))
        self._end()

    def _pointer(self, made: t.Ptr, type_id: int, at: int, bit: int) -> None:
        self._start(made, type_id)
        value = self.walk.number(at, self.btf.pointer_size, False)
        raw = self.flags & uapi.BTF_F_PTR_RAW or is_error(value)
        self.put_value(f"0x{value if raw else self.hash_pointer(value):016x}", bool(value))
        self._end()

    METHODS: ClassVar[dict[type[t.Type], Callable[..., None]]] = {
        t.Int: _int,
        t.Ptr: _pointer,
        t.Array: _aggregate,
        t.Struct: _aggregate,
        t.Union: _aggregate,
        t.Enum: _enum,
        t.Enum64: _enum,
        t.Var: _var,
        t.Datasec: _datasec,
    }


def is_error(pointer: int) -> bool:
    """NULL and error numbers are no secrets, the kernel shows them as they are."""
    return not pointer or pointer > uapi.U64 - MAX_ERRNO


def printable(value: int) -> bool:
    """The kernel's isprint(), which knows Latin-1."""
    return 0x20 <= value < 0x7F or value >= 0xA0


def _spelt(made: t.Type, typedef: str, stars: int, arrays: int) -> tuple[str, str]:
    """The cast of a type that is `stars` pointers and `arrays` arrays of `made`."""
    composite = isinstance(made, t.Composite)
    bracket = "" if stars else "[" if arrays else "{" if composite else ""
    prefix = "" if typedef else PREFIXES.get(type(made), "")
    name = typedef or made.name
    if isinstance(made, t.Void) and not typedef:
        name = ""
    joint = " " if prefix and name else ""
    suffix = (" " + "*" * stars if stars else "") + "[]" * arrays
    return f"{prefix}{joint}{name}{suffix}", bracket


#: class of type -> the keyword before its name
PREFIXES: dict[type[t.Type], str] = {
    t.Struct: "struct", t.Union: "union", t.Enum: "enum", t.Enum64: "enum",
}  # fmt: skip
