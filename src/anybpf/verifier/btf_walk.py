"""What lies at an offset in a struct of the kernel (btf_struct_walk, kernel/bpf/btf.c)."""

from __future__ import annotations

from errno import EACCES, EFAULT, EINVAL
from typing import Final, NamedTuple

from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from anybpf.proto import kinds

# what was found
SCALAR: Final = 0
POINTER: Final = 1
#: a pointer to something else than a struct
UNTYPED: Final = 2
STRUCT: Final = 3

_TAGS = {"user": kinds.MEM_USER, "percpu": kinds.MEM_PERCPU, "rcu": kinds.MEM_RCU}
MAX_DEPTH = 32


class Found(NamedTuple):
    """What lies there; of pointers and structs the type, of pointers flags and member name."""

    what: int
    type_id: int = 0
    flags: int = 0
    member: str = ""


class Misfit(Exception):
    """The access fits no member: errno and the kernel's text."""

    def __init__(self, errno: int, text: str) -> None:
        self.errno = errno
        self.text = text
        super().__init__(text)


def named(one: t.Type | t.Member) -> str:
    """A name as messages have it."""
    return one.name or "(anon)"


class _Size(NamedTuple):
    """A member's type, arrays taken apart (__btf_resolve_size)."""

    type: t.Type
    type_id: int
    size: int
    #: how many elements an array has; -1: it is none
    elements: int


def _size_of(btf: Btf, type_id: int) -> _Size:
    resolved = btf.resolve(type_id)
    made = btf.type(resolved)
    if not isinstance(made, t.Array):
        return _Size(made, resolved, _plain_size(btf, made), -1)
    count = 1
    for _ in range(MAX_DEPTH):
        if not isinstance(made, t.Array):
            break
        count, element = count * made.nelems, made.type
        made = btf.type(btf.resolve(element))
    return _Size(made, element, _plain_size(btf, made), count)


def _plain_size(btf: Btf, made: t.Type) -> int:
    if isinstance(made, t.Ptr):
        return btf.pointer_size
    if isinstance(made, (t.Int, t.AnyEnum, t.Composite, t.Float)):
        return made.size
    raise LoadError("no size")


def access(btf: Btf, type_id: int, off: int, size: int, allocated: bool = False) -> Found:
    """What `size` bytes at `off` of a struct are: never a struct. Raises `Misfit`."""
    flags = 0
    while True:
        found = walk(btf, type_id, off, size, flags, not allocated)
        flags = found.flags
        if found.what != STRUCT:
            if found.what == POINTER and allocated:
                return Found(SCALAR)
            return found
        type_id, off = found.type_id, 0


def walk(btf: Btf, type_id: int, off: int, size: int, flags: int, flexible: bool) -> Found:
    """One step: the member at `off`; a struct only where it begins there. Raises `Misfit`."""
    while True:
        struct = btf.type(btf.resolve(type_id))
        if not isinstance(struct, t.Composite):
            raise Misfit(EINVAL, f"Type '{named(struct)}' is not a struct")
        if isinstance(struct, t.Union) and len(struct.members) != 1:
            flags |= kinds.PTR_UNTRUSTED
        if off + size > struct.size:
            inner = _flexible(btf, struct, off, size, flexible)
            if inner is None:
                return Found(SCALAR, flags=flags)
            type_id, off = inner
            continue
        step = _member_at(btf, struct, off, size, flags)
        if isinstance(step, Found):
            return step
        type_id, off = step


def _flexible(btf: Btf, struct: t.Composite, off: int, size: int,
              allowed: bool) -> tuple[int, int] | None:
    """Behind the end of a struct: an element of the array of no size that it ends with.

    None: an element that is a number.
    """
    beyond = Misfit(EACCES, f"access beyond struct {named(struct)} at off {off} size {size}")
    if not allowed or not struct.members:
        raise beyond
    last = struct.members[-1]
    made = btf.type(btf.resolve(last.type))
    if not isinstance(made, t.Array) or made.nelems or off < last.bit_offset // 8:
        raise beyond
    element = btf.type(btf.resolve(made.type))
    if isinstance(element, t.Int):
        return None
    if not isinstance(element, t.Composite) or not element.size:
        raise beyond
    return made.type, (off - last.bit_offset // 8) % element.size


def _member_at(btf: Btf, struct: t.Composite, off: int, size: int,
               flags: int) -> Found | tuple[int, int]:
    """The member at `off`, or the struct inside and the offset there."""
    for member in struct.members:
        start = member.bit_offset // 8
        if off + size <= start:
            break
        if member.bitfield_size:
            end = (member.bit_offset + member.bitfield_size + 7) // 8
            if off <= start and end <= off + size:
                return Found(SCALAR, flags=flags)
            continue
        if off < start:
            break
        try:
            sized = _size_of(btf, member.type)
        except LoadError:
            raise Misfit(EFAULT, f"field {named(member)} doesn't have size") from None
        end = start + sized.size * abs(sized.elements)
        if off >= end:
            continue
        if sized.elements >= 0:
            start += (off - start) // sized.size * sized.size
        return _inside(btf, struct, member, sized, start, end, off, size, flags)
    raise Misfit(EINVAL, f"struct {named(struct)} doesn't have field at offset {off}")


def _inside(btf: Btf, struct: t.Composite, member: t.Member, sized: _Size, start: int, end: int,
            off: int, size: int, flags: int) -> Found | tuple[int, int]:
    if isinstance(sized.type, t.Composite):
        if off == start:
            return Found(STRUCT, sized.type_id, flags)
        return sized.type_id, off - start
    if isinstance(sized.type, t.Ptr):
        if sized.size != size or off != start:
            raise Misfit(EACCES, f"cannot access ptr member {named(member)} with moff {start} in "
                                 f"struct {named(struct)} with off {off} size {size}")
        return _pointer(btf, member, sized.type, flags)
    if off + size > end and not flags & kinds.PTR_UNTRUSTED:
        raise Misfit(EACCES, f"access beyond the end of member {named(member)} (mend:{end}) in "
                             f"struct {named(struct)} with off {off} size {size}")
    return Found(SCALAR, flags=flags)


def _pointer(btf: Btf, member: t.Member, pointer: t.Ptr, flags: int) -> Found:
    tag = btf.type(pointer.type)
    if isinstance(tag, t.TypeTag) and not tag.kind_flag:
        flags |= _TAGS.get(tag.name, 0)
    target = btf.resolve(pointer.type)
    if not isinstance(btf.type(target), t.Composite):
        return Found(UNTYPED, flags=flags)
    return Found(POINTER, target, flags, member.name)


class Match(NamedTuple):
    """Whether types match, and what the kernel said while it looked."""

    good: bool
    said: str = ""


def _same(btf: Btf, type_id: int, other: Btf | None, number: int) -> bool:
    """The very same type; those that a module has of the kernel are the kernel's."""
    if type_id != number or other is None:
        return False
    return btf is other or owner(btf, type_id) is owner(other, number)


def owner(btf: Btf, type_id: int) -> Btf:
    """The types, of a split BTF's and those below it, that the type is one of."""
    while btf.base is not None and type_id < btf.start_id:
        btf = btf.base
    return btf


def is_kernel(btf: Btf | None, kernel: Btf | None) -> bool:
    """The kernel's types or a module's, which lie on top of them (btf_is_kernel)."""
    return btf is not None and kernel is not None and (btf is kernel or btf.base is kernel)


def matches(btf: Btf, type_id: int, off: int, wanted_btf: Btf | None, wanted: int,
            strict: bool = False, flexible: bool = True) -> Match:
    """Whether a struct `wanted` begins at `off` of the other (btf_struct_ids_match)."""
    if off == 0 and _same(btf, type_id, wanted_btf, wanted):
        return Match(True)
    if strict:
        return Match(False)
    flags = 0
    while True:
        try:
            found = walk(btf, type_id, off, 1, flags, flexible)
        except Misfit as misfit:
            return Match(False, misfit.text + "\n")
        if found.what != STRUCT:
            return Match(False)
        type_id, off, flags = found.type_id, 0, found.flags
        if _same(btf, type_id, wanted_btf, wanted):
            return Match(True)


def is_safe(btf: Btf, type_id: int, member: str, target: int, suffix: str) -> bool:
    """The kernel lists the member of the struct as safe (btf_nested_type_is_trusted)."""
    struct = btf.type(type_id)
    safe = btf.find(struct.name + suffix, struct.kind) if struct.name else 0
    if not safe:
        return False
    listed = btf.expect(safe, t.Composite)
    return any(one.name == member and isinstance(pointer := btf.type(one.type), t.Ptr)
               and btf.resolve(pointer.type) == target for one in listed.members)
