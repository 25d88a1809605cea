"""Do the BTF types make sense together? (kernel/bpf/btf.c: resolve)

The second pass of BTF_LOAD walks from each type along its references with a stack of at most
32 entries. What counts as the end of the walk depends on where it began: a pointer may lead to a
struct that is being walked, a member may not. Each resolved modifier, pointer, variable
and array remembers what it leads to, and its size.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import NamedTuple

from anybpf import bits, uapi
from anybpf.btf.check_env import Env, Rec
from anybpf.btf.check_meta import MAX_INT_BITS, is_identifier

MAX_DEPTH = 32
POINTER_SIZE = 8
ENUM_BITS = 32

K = uapi
MODIFIER = frozenset({
    K.BTF_KIND_TYPEDEF, K.BTF_KIND_VOLATILE, K.BTF_KIND_CONST, K.BTF_KIND_RESTRICT,
    K.BTF_KIND_TYPE_TAG,
})  # fmt: skip
STRUCT = frozenset({K.BTF_KIND_STRUCT, K.BTF_KIND_UNION})
ARRAY, PTR = K.BTF_KIND_ARRAY, K.BTF_KIND_PTR
SOURCE_ONLY = frozenset({K.BTF_KIND_VAR, K.BTF_KIND_DECL_TAG, K.BTF_KIND_DATASEC})
NEEDS_RESOLVE = MODIFIER | STRUCT | SOURCE_ONLY | {PTR, ARRAY, K.BTF_KIND_FUNC}
NO_SIZE = frozenset({
    K.BTF_KIND_UNKN, K.BTF_KIND_FWD, K.BTF_KIND_FUNC, K.BTF_KIND_FUNC_PROTO, K.BTF_KIND_DECL_TAG,
})  # fmt: skip
HAS_SIZE = STRUCT | {
    K.BTF_KIND_INT, K.BTF_KIND_ENUM, K.BTF_KIND_DATASEC, K.BTF_KIND_FLOAT, K.BTF_KIND_ENUM64,
}  # fmt: skip
TAG_TARGET = STRUCT | {K.BTF_KIND_FUNC, K.BTF_KIND_VAR, K.BTF_KIND_TYPEDEF}
#: what a modifier or pointer may lead to although it has no size
SIZELESS_TARGET = frozenset({K.BTF_KIND_UNKN, K.BTF_KIND_FWD, K.BTF_KIND_FUNC_PROTO})

#: where the walk began -> kinds that it goes on through; all others end it
UNDECIDED, FROM_PTR, FROM_AGGREGATE = NEEDS_RESOLVE, MODIFIER | {PTR}, MODIFIER | STRUCT | {ARRAY}
#: a kind on the stack decides where the walk is taken to have begun
DECIDES = {PTR: FROM_PTR, ARRAY: FROM_AGGREGATE} | dict.fromkeys(STRUCT, FROM_AGGREGATE)

Member = tuple[int, int, int]


class Vertex:
    """A type on the stack, and the next of its members to look at."""

    __slots__ = ("next", "rec", "type_id")

    def __init__(self, type_id: int, rec: Rec) -> None:
        self.type_id, self.rec, self.next = type_id, rec, 0


class Result(NamedTuple):
    """What a resolved type leads to (0: itself), and the size of an array or variable."""

    type_id: int
    size: int


class Push(Exception):
    """This type must be resolved first."""

    def __init__(self, type_id: int, rec: Rec) -> None:
        self.type_id, self.rec = type_id, rec


class Resolver:
    """The stack and the results of the second pass."""

    def __init__(self, env: Env) -> None:
        self.env = env
        self.stack: list[Vertex] = []
        self.visited: set[int] = set()
        self.results: dict[int, Result] = {}
        self.through: frozenset[int] = UNDECIDED

    def all(self) -> None:
        """Resolve every type; refuse the BTF at the first that cannot be."""
        env = self.env
        env.meta_phase = False
        for type_id in range(env.start_id, env.end_id):
            rec = env.recs[type_id - env.start_id]
            env.log_type_id = type_id
            if rec.kind in NEEDS_RESOLVE and not self.done(type_id):
                self.resolve(type_id, rec)
            if rec.kind == K.BTF_KIND_FUNC_PROTO:
                check_proto(self, rec)

    def done(self, type_id: int) -> bool:
        return type_id < self.env.start_id or type_id in self.results

    def resolve(self, type_id: int, rec: Rec) -> None:
        """Walk from one type until it and all it needs is resolved."""
        env, saved = self.env, self.env.log_type_id
        self.through = UNDECIDED
        problem = self._push(type_id, rec)
        while self.stack and not problem:
            vertex = self.stack[-1]
            env.log_type_id = vertex.type_id
            try:
                self._pop(vertex, RESOLVE[vertex.rec.kind](self, vertex))
            except Push as wanted:
                problem = self._push(wanted.type_id, wanted.rec)
        env.log_type_id = type_id
        if problem:
            env.bad(rec, *problem)
        env.log_type_id = saved

    def _push(self, type_id: int, rec: Rec) -> tuple[str, int] | None:
        """Put a type on the stack, or say why not."""
        if len(self.stack) == MAX_DEPTH:
            return f"Exceeded max resolving depth:{MAX_DEPTH}", errno.E2BIG
        if type_id in self.visited:
            return "Loop detected", errno.EEXIST
        self.visited.add(type_id)
        self.stack.append(Vertex(type_id, rec))
        if self.through is UNDECIDED:
            self.through = DECIDES.get(rec.kind, UNDECIDED)
        return None

    def _pop(self, vertex: Vertex, result: Result) -> None:
        self.stack.pop()
        self.results[vertex.type_id] = result

    def want(self, type_id: int, rec: Rec) -> None:
        """Raise Push unless the walk may end at this type."""
        if rec.kind in self.through and not self.done(type_id):
            raise Push(type_id, rec)

    # -- asking -------------------------------------------------------------------------------

    def follow(self, type_id: int) -> int:
        """What a resolved type leads to."""
        base = self.env.base
        if type_id < self.env.start_id and base is not None:
            return base_target(self.env, type_id)
        found = self.results.get(type_id)
        return found.type_id if found else 0

    def array_size(self, type_id: int) -> int:
        base = self.env.base
        if type_id < self.env.start_id and base is not None:
            return base.size_of(type_id)
        found = self.results.get(type_id)
        return found.size if found else 0

    def sized(self, type_id: int) -> tuple[int, Rec, int] | None:
        """(id without modifiers, record, size in bytes); None for what has no size."""
        rec = self.env.rec(type_id)
        if rec is not None and (rec.kind in MODIFIER or rec.kind == K.BTF_KIND_VAR):
            type_id = self.follow(type_id)
            rec = self.env.rec(type_id)
        if rec is None or rec.kind in NO_SIZE:
            return None
        if rec.kind in HAS_SIZE:
            return type_id, rec, rec.size
        if rec.kind == ARRAY:
            return type_id, rec, self.array_size(type_id)
        return (type_id, rec, POINTER_SIZE) if rec.kind == PTR else None

    def next_of(self, vertex: Vertex) -> tuple[int, Rec]:
        """The type that a modifier, pointer or variable refers to, or refuse."""
        type_id = vertex.rec.size
        rec = self.env.rec(type_id)
        if rec is None or rec.kind in SOURCE_ONLY:
            self.env.bad(vertex.rec, "Invalid type_id")
        self.want(type_id, rec)
        return type_id, rec

    def want_pointer(self, type_id: int, rec: Rec) -> None:
        """A modifier resolved from inside a struct stopped at a pointer: go on from there."""
        if rec.kind in MODIFIER:
            target_id = self.follow(type_id)
            target = self.env.rec(target_id)
            if target is not None and target.kind == PTR:
                self.want(target_id, target)

    def lead_to(self, vertex: Vertex, type_id: int, rec: Rec) -> Result:
        """What a modifier or pointer to this type resolves to."""
        sized = self.sized(type_id)
        if sized:
            return Result(sized[0], 0)
        if type_id in self.results:
            type_id = self.follow(type_id)
            rec = self.env.rec(type_id) or rec
        if rec.kind not in SIZELESS_TARGET:
            self.env.bad(vertex.rec, "Invalid type_id")
        return Result(type_id, 0)


def base_target(env: Env, type_id: int) -> int:
    """As `follow`, for a type of the base: behind modifiers and one pointer or variable."""
    for _ in range(MAX_DEPTH):
        rec = env.rec(type_id)
        if rec is None or rec.kind not in MODIFIER | {K.BTF_KIND_VAR}:
            break
        type_id = rec.size
    return type_id


# -- how each kind is resolved --------------------------------------------------------------------


def _modifier(r: Resolver, v: Vertex) -> Result:
    type_id, rec = r.next_of(v)
    return r.lead_to(v, type_id, rec)


def _pointer(r: Resolver, v: Vertex) -> Result:
    type_id, rec = r.next_of(v)
    r.want_pointer(type_id, rec)
    return r.lead_to(v, type_id, rec)


def _var(r: Resolver, v: Vertex) -> Result:
    type_id, rec = r.next_of(v)
    r.want_pointer(type_id, rec)
    sized = r.sized(type_id)
    if not sized:
        r.env.bad(v.rec, "Invalid type_id")
    return Result(sized[0], sized[2])


def _element(r: Resolver, v: Vertex, index: int, message: str) -> tuple[int, Rec, int]:
    """An array's element or index type, resolved."""
    type_id = r.env.word(v.rec, index)
    rec = r.env.rec(type_id)
    if rec is None or rec.kind in NO_SIZE | SOURCE_ONLY:
        r.env.bad(v.rec, message)
    r.want(type_id, rec)
    sized = r.sized(type_id)
    if not sized:
        r.env.bad(v.rec, message)
    return sized


def is_regular(env: Env, rec: Rec) -> bool:
    """An integer that C has: whole bytes, 1, 2, 4, 8 or 16 of them, from bit 0."""
    data = env.word(rec, 0)
    return data & 0xFF in (8, 16, 32, 64, 128) and not data >> 16 & 0xFF


def _array(r: Resolver, v: Vertex) -> Result:
    index = _element(r, v, 1, "Invalid index")[1]
    if index.kind != K.BTF_KIND_INT or not is_regular(r.env, index):
        r.env.bad(v.rec, "Invalid index")
    element_id, element, size = _element(r, v, 0, "Invalid elem")
    if element.kind == K.BTF_KIND_INT and not is_regular(r.env, element):
        r.env.bad(v.rec, "Invalid array of int")
    total = size * r.env.word(v.rec, 2)
    if total > uapi.U32:
        r.env.bad(v.rec, "Array size overflows U32_MAX")
    return Result(element_id, total)


def _composite(r: Resolver, v: Vertex) -> Result:
    members = r.env.rows(v.rec)
    if v.next:
        check_member(r, v.rec, members[v.next - 1])
    for i in range(v.next, len(members)):
        type_id = members[i][1]
        rec = r.env.rec(type_id)
        if rec is None or rec.kind in NO_SIZE | SOURCE_ONLY:
            r.env.bad_member(v.rec, members[i], "Invalid member")
        v.next = i + 1
        r.want(type_id, rec)
        check_member(r, v.rec, members[i])
    return Result(0, 0)


def _datasec(r: Resolver, v: Vertex) -> Result:
    r.through = UNDECIDED
    variables = r.env.rows(v.rec)
    for i in range(v.next, len(variables)):
        var_id, _, room = variables[i]
        var = r.env.rec(var_id)
        if var is None or var.kind != K.BTF_KIND_VAR:
            r.env.bad_var(v.rec, variables[i], "Not a VAR kind member")
        v.next = i + 1
        r.want(var_id, var)
        sized = r.sized(var.size)
        if not sized:
            r.env.bad_var(v.rec, variables[i], "Invalid type")
        if room < sized[2]:
            r.env.bad_var(v.rec, variables[i], "Invalid size")
    return Result(0, 0)


def _func(r: Resolver, v: Vertex) -> Result:
    proto = r.env.rec(v.rec.size)
    if proto is None or proto.kind != K.BTF_KIND_FUNC_PROTO:
        r.env.bad(v.rec, "Invalid type_id")
    for i, (name_off, type_id) in enumerate(r.env.pairs(proto)):
        if type_id and not name_off:
            r.env.bad(v.rec, f"Invalid arg#{i + 1}")
    return Result(v.rec.size, 0)


def _decl_tag(r: Resolver, v: Vertex) -> Result:
    type_id = v.rec.size
    rec = r.env.rec(type_id)
    if rec is None or rec.kind not in TAG_TARGET:
        r.env.bad(v.rec, "Invalid type_id")
    r.want(type_id, rec)
    component = bits.s32(r.env.word(v.rec, 0))
    if component != -1 and component >= _components(r, rec):
        r.env.bad(v.rec, "Invalid component_idx")
    return Result(type_id, 0)


def _components(r: Resolver, rec: Rec) -> int:
    """How many members or parameters a tag's target has."""
    if rec.kind in STRUCT:
        return rec.vlen
    proto = r.env.rec(rec.size) if rec.kind == K.BTF_KIND_FUNC else None
    return proto.vlen if proto else 0


#: kind number -> resolve the type on top of the stack
RESOLVE: dict[int, Callable[[Resolver, Vertex], Result]] = {
    **dict.fromkeys(MODIFIER, _modifier),
    **dict.fromkeys(STRUCT, _composite),
    PTR: _pointer,
    ARRAY: _array,
    K.BTF_KIND_VAR: _var,
    K.BTF_KIND_DATASEC: _datasec,
    K.BTF_KIND_FUNC: _func,
    K.BTF_KIND_DECL_TAG: _decl_tag,
}


def check_proto(r: Resolver, rec: Rec) -> None:
    """A prototype's return type and parameters have a size and good names."""
    if rec.size and not _has_size(r, rec.size):
        r.env.bad(rec, "Invalid return type")
    params = r.env.pairs(rec)
    if params and not params[-1][1]:
        if params[-1][0]:
            r.env.bad(rec, f"Invalid arg#{len(params)}")
        params.pop()
    for i, (name_off, type_id) in enumerate(params):
        if not _param_name(r.env, name_off, type_id) or not _has_size(r, type_id):
            r.env.bad(rec, f"Invalid arg#{i + 1}")


def _param_name(env: Env, name_off: int, type_id: int) -> bool:
    rec = env.rec(type_id)
    if rec is None or rec.kind in SOURCE_ONLY:
        return False
    return not name_off or (env.name_ok(name_off) and is_identifier(env.name(name_off)))


def _has_size(r: Resolver, type_id: int) -> bool:
    """Resolve a return or parameter type; has it a size?"""
    rec = r.env.rec(type_id)
    if rec is None or rec.kind in SOURCE_ONLY:
        return False
    if rec.kind in NEEDS_RESOLVE and not r.done(type_id):
        r.resolve(type_id, rec)
    return r.sized(type_id) is not None


# -- does a member fit its struct? ----------------------------------------------------------------


def check_member(r: Resolver, struct: Rec, member: Member) -> None:
    """A member lies inside its struct, and its bitfield inside its type."""
    name_off, type_id, offset = member
    rec = r.env.rec(type_id)
    if rec is not None and rec.kind in MODIFIER:
        type_id = r.follow(type_id)
        rec = r.env.rec(type_id)
    check = None if rec is None else MEMBER.get(rec.kind)
    if check is None or rec is None:
        r.env.bad_member(struct, member, "Invalid member")
    check(r, struct, (name_off, type_id, offset), rec)


def _split(struct: Rec, member: Member) -> tuple[int, int]:
    """(bit offset, bitfield size)"""
    offset = member[2]
    return (offset & 0xFFFFFF, offset >> 24) if struct.kflag else (offset, 0)


def _whole_bits(r: Resolver, struct: Rec, member: Member, bit: int, width: int) -> None:
    """The bytes that hold these bits are in the struct, and no more than can be loaded."""
    room = width + bit % 8
    if room > MAX_INT_BITS:
        r.env.bad_member(struct, member, f"nr_copy_bits exceeds {MAX_INT_BITS}")
    if bit // 8 + (room + 7) // 8 > struct.size:
        r.env.bad_member(struct, member, "Member exceeds struct_size")


def _member_int(r: Resolver, struct: Rec, member: Member, rec: Rec) -> None:
    data = r.env.word(rec, 0)
    bit, width = _split(struct, member)
    if struct.kflag:
        width = _bitfield_width(r, struct, member, rec)
    else:
        bit, width = bit + (data >> 16 & 0xFF), data & 0xFF
        if bit > uapi.U32:
            r.env.bad_member(struct, member, "bits_offset exceeds U32_MAX")
    _whole_bits(r, struct, member, bit, width)


def _bitfield_width(r: Resolver, struct: Rec, member: Member, rec: Rec) -> int:
    """How many bits an integer member has in a struct that states bitfield sizes."""
    bit, width = _split(struct, member)
    natural = r.env.word(rec, 0) & 0xFF
    if not is_regular(r.env, rec):
        r.env.bad_member(struct, member, "Invalid member base type")
    if not width and bit % 8:
        r.env.bad_member(struct, member, "Invalid member offset")
    if width > natural:
        r.env.bad_member(struct, member, "Invalid member bitfield_size")
    return width or natural


def _member_enum(r: Resolver, struct: Rec, member: Member, rec: Rec) -> None:
    bit, width = _split(struct, member)
    if bit % 8 and not width:
        r.env.bad_member(struct, member, "Member is not byte aligned")
    if width > ENUM_BITS:
        r.env.bad_member(struct, member, "Invalid member bitfield_size")
    if not struct.kflag:
        return _inside(r, struct, member, bit, rec.size)
    if struct.size < (bit + (width or ENUM_BITS) + 7) // 8:
        r.env.bad_member(struct, member, "Member exceeds struct_size")
    return None


def _inside(r: Resolver, struct: Rec, member: Member, bit: int, size: int) -> None:
    if bit // 8 + size > struct.size:
        r.env.bad_member(struct, member, "Member exceeds struct_size")


def _plain(r: Resolver, struct: Rec, member: Member) -> int:
    """The bit offset of a member that cannot be a bitfield."""
    bit, width = _split(struct, member)
    if width:
        r.env.bad_member(struct, member, "Invalid member bitfield_size")
    return bit


def _member_bytes(r: Resolver, struct: Rec, member: Member, rec: Rec) -> None:
    bit = _plain(r, struct, member)
    if bit % 8:
        r.env.bad_member(struct, member, "Member is not byte aligned")
    sized = r.sized(member[1])
    _inside(r, struct, member, bit, sized[2] if sized else 0)


def _member_float(r: Resolver, struct: Rec, member: Member, rec: Rec) -> None:
    bit = _plain(r, struct, member)
    if bit % (min(POINTER_SIZE, rec.size) * 8):
        r.env.bad_member(struct, member, "Member is not properly aligned")
    _inside(r, struct, member, bit, rec.size)


#: kind of a member's type behind modifiers -> its check; other kinds cannot be members
MEMBER: dict[int, Callable[[Resolver, Rec, Member, Rec], None]] = {
    K.BTF_KIND_INT: _member_int,
    K.BTF_KIND_ENUM: _member_enum,
    K.BTF_KIND_ENUM64: _member_enum,
    K.BTF_KIND_FLOAT: _member_float,
    **dict.fromkeys(STRUCT | {ARRAY, PTR}, _member_bytes),
}
