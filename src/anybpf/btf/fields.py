"""Special members of structs: locks, timers, lists, trees, kernel pointers (kernel/bpf/btf.c).

A program may put kernel objects such as `struct bpf_spin_lock` into its own structs. The kernel
knows them by name, size and alignment; a list head or tree root also says by the declaration tag
`contains:STRUCT:MEMBER` what it holds. A pointer whose target has the type tag `kptr` (or a
relative) holds a kernel object. BTF whose use of them makes no sense is refused.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.parse import MAX_DEPTH, Btf
from anybpf.errors import error_name


class Special(NamedTuple):
    """A kernel struct that programs embed."""

    name: str
    size: int
    align: int
    #: a struct may have one only
    once: bool = False
    #: of a list head or tree root: the name of the node that is linked into it
    node: str = ""
    #: looked for when BTF is loaded, and not only in the value of a map
    loaded: bool = True
    #: a struct that embeds it directly is looked at when BTF is loaded
    starts: bool = True
    #: a pointer, and known by the type tag of its target, which is `name`
    pointer: bool = False

    @property
    def word(self) -> str:
        """What the kernel's messages call it."""
        return "kptr" if self.name == "kptr_untrusted" else self.name

    @property
    def repeats(self) -> bool:
        """May it stand in an array?"""
        return bool(self.node) or self.pointer


SPECIALS = (
    Special("bpf_spin_lock", 4, 4, once=True),
    Special("bpf_res_spin_lock", 4, 4, once=True, starts=False),
    Special("bpf_timer", 16, 8, once=True, loaded=False, starts=False),
    Special("bpf_wq", 16, 8, once=True, loaded=False, starts=False),
    Special("bpf_task_work", 8, 8, once=True, loaded=False, starts=False),
    Special("bpf_list_head", 16, 8, node="bpf_list_node"),
    Special("bpf_list_node", 24, 8),
    Special("bpf_rb_root", 16, 8, node="bpf_rb_node"),
    Special("bpf_rb_node", 32, 8),
    Special("bpf_refcount", 4, 4),
    Special("kptr_untrusted", 8, 8, pointer=True),
    Special("kptr", 8, 8, pointer=True),
    Special("percpu_kptr", 8, 8, pointer=True),
    Special("uptr", 8, 8, loaded=False, starts=False, pointer=True),
)
BY_NAME = {one.name: one for one in SPECIALS if not one.pointer}
BY_TAG = {one.name: one for one in SPECIALS if one.pointer}
#: what BPF_BTF_LOAD looks for, and what is looked for in the value of a map
LOADED = frozenset(one.name for one in SPECIALS if one.loaded)
MAP_VALUE = frozenset(BY_NAME.keys() | BY_TAG.keys()) - {"bpf_list_node", "bpf_rb_node"}
#: kernel structs that the kernel can destroy if it has this function: a `kptr` may own them
DESTROYED = {
    "bpf_cpumask": "bpf_cpumask_release_dtor",
    "bpf_crypto_ctx": "bpf_crypto_ctx_release_dtor",
    "bpf_testmod_ctx": "bpf_testmod_ctx_release",
    "cgroup": "bpf_cgroup_release_dtor",
    "prog_test_member": "bpf_kfunc_call_memb_release_dtor",
    "prog_test_ref_kfunc": "bpf_kfunc_call_test_release_dtor",
    "sk_buff": "bpf_kfree_skb",
    "task_struct": "bpf_task_release_dtor",
}
LOCKS = {"bpf_spin_lock", "bpf_res_spin_lock"}
NODES = {"bpf_list_node", "bpf_rb_node"}
ROOTS = {one.name for one in SPECIALS if one.node}
CONTAINS = "contains:"
#: the component of a tag that is not of one member or parameter
WHOLE = -1
#: members looked at in one BTF; empty structs inside each other could multiply without end
MAX_STEPS = 1 << 20


class Field(NamedTuple):
    """A special member: what it is, its byte offset."""

    special: Special
    offset: int
    #: the struct that a root holds, or that a pointer points to
    value_type: int = 0
    node_member: str = ""
    #: a pointer's target in the kernel's BTF, 0 if only the program knows the struct
    kernel_type: int = 0
    #: the BTF of the module that has it, if one has
    module: Btf | None = None


class BadFields(Exception):
    """A struct's special members make no sense: the kernel's error number."""

    def __init__(self, number: int) -> None:
        self.errno = number
        super().__init__(error_name(number))


def check_fields(btf: Btf, kernel: Btf | None = None) -> None:
    """Check all structs with special members, as BPF_BTF_LOAD does. Raises BadFields."""
    wanted = {btf.find(one.name, uapi.BTF_KIND_STRUCT) for one in SPECIALS if one.starts} - {0}
    wanted.update(_kernel_pointers(btf))
    if not wanted:
        return
    finder = Finder(btf, LOADED, kernel)
    records = {}
    for type_id, made in btf.types():
        if isinstance(made, t.Struct) and any(m.type in wanted for m in made.members):
            records[type_id] = parse_fields(btf, type_id, finder)
            if not records[type_id]:
                raise BadFields(errno.EFAULT)
    for fields in records.values():
        check_ownership(fields, records)


def _kernel_pointers(btf: Btf) -> Iterator[int]:
    """The pointers (volatile or not) that are good kernel pointers."""
    if not any(btf.find(tag, uapi.BTF_KIND_TYPE_TAG) for tag in BY_TAG):
        return
    finder = Finder(btf)
    for type_id in btf.ids():
        if btf.kind(type_id) in (uapi.BTF_KIND_PTR, uapi.BTF_KIND_VOLATILE):
            with contextlib.suppress(BadFields):
                if finder.pointer(btf.type(type_id), 0):
                    yield type_id


def check_ownership(fields: list[Field], records: dict[int, list[Field]]) -> None:
    """What a root holds has a node to be linked by; what is linked itself holds no owners."""
    linked = any(one.special.name in NODES for one in fields)
    for root in fields:
        if not root.special.node:
            continue
        held = records.get(root.value_type)
        if held is None:
            raise BadFields(errno.EFAULT)
        if linked and any(one.special.node for one in held):
            raise BadFields(errno.ELOOP)


def parse_fields(btf: Btf, type_id: int, finder: Finder | None = None) -> list[Field]:
    """The special members of a struct or data section, those of embedded structs among them.

    They are in order of offsets; none for other types. `Finder(btf, MAP_VALUE, kernel)` says what
    is looked for, by default what BPF_BTF_LOAD looks for. Raises BadFields with the kernel's
    error: EFAULT, EINVAL, ENOENT, E2BIG, EEXIST.
    """
    made = btf.type(type_id)
    if not isinstance(made, t.Struct | t.Datasec):
        return []
    finder = finder or Finder(btf)
    fields = finder.whole(type_id, made)
    end = 0
    for i, one in enumerate(fields):
        if one.offset + one.special.size > made.size:
            raise BadFields(errno.EFAULT)
        if one.offset < end:
            raise BadFields(errno.EEXIST)
        end = one.offset + one.special.size
        if one.special.node:
            _check_root(btf, one)
        elif one.special.pointer:
            fields[i] = finder.located(one)
    _check_together({one.special.name for one in fields})
    return fields


def value_fields(btf: Btf | None, type_id: int, kernel: Btf | None = None,
                 modules: Sequence[Btf] = ()) -> tuple[Field, ...]:
    """The special members of a map's value, if it is a struct (or data section).

    Those that make no sense are none, as in the kernel. `modules` are the BTFs of its modules.
    """
    if btf is None or not type_id:
        return ()
    try:
        finder = Finder(btf, MAP_VALUE, kernel, modules)
        return tuple(parse_fields(btf, btf.resolve(type_id), finder))
    except BadFields:
        return ()


def _check_together(names: set[str]) -> None:
    """Locks exclude each other, roots need one, nodes of both kinds need a reference count."""
    if names >= LOCKS or (names & ROOTS and not names & LOCKS):
        raise BadFields(errno.EINVAL)
    if names >= NODES and "bpf_refcount" not in names:
        raise BadFields(errno.EINVAL)


class Finder:
    """Looks for the special members called `wanted` in the structs of one BTF.

    `kernel` is the BTF of the kernel, which says whether a pointer's target is one of its structs;
    without it none is. `modules` have further ones.
    """

    def __init__(self, btf: Btf, wanted: frozenset[str] = LOADED, kernel: Btf | None = None,
                 modules: Sequence[Btf] = ()) -> None:
        self.btf = btf
        self.wanted = wanted
        self.kernel = kernel
        self.modules = modules
        self._steps = MAX_STEPS

    def whole(self, type_id: int, made: t.Struct | t.Datasec) -> list[Field]:
        """The special members of a struct, or those of a data section's variables."""
        if isinstance(made, t.Struct):
            return self.struct(type_id, made)
        found: list[Field] = []
        seen: set[str] = set()
        for var in made.vars:
            member = t.Member("", self.btf.expect(var.type, t.Var).type, 8 * var.offset)
            # what a variable contains is said of it as a whole
            found += self._member((var.type, WHOLE), member, seen, 0, var.size)
            if len(found) > uapi.BTF_FIELDS_MAX:
                raise BadFields(errno.E2BIG)
        return found

    def struct(self, type_id: int, struct: t.Struct, level: int = 0) -> list[Field]:
        """The special members of a struct, in order."""
        found: list[Field] = []
        seen: set[str] = set()
        for index, member in enumerate(struct.members):
            self._steps -= 1
            if member.bit_offset % 8:
                raise BadFields(errno.EINVAL)
            found += self._member((type_id, index), member, seen, level)
            if len(found) > uapi.BTF_FIELDS_MAX or self._steps < 0:
                raise BadFields(errno.E2BIG)
        return found

    def _member(
        self, where: tuple[int, int], member: t.Member, seen: set[str], level: int, room: int = 0
    ) -> list[Field]:
        """The fields of one member; `where` is its struct and its number there, or a variable
        and -1: what a tag about it names.

        What does not fill its `room`, if that is given, is no special member.
        """
        target_id, count = _element(self.btf, member.type)
        target = self.btf.type(target_id)
        special = BY_NAME.get(target.name)
        if not count:
            return []
        if special is None or special.name not in self.wanted:
            if isinstance(target, t.Struct):
                fits = room in (0, target.size * count)
                return self._nested(target_id, target, member.offset, count, level) if fits else []
            field = self.pointer(target, member.offset)
            return _repeat([field], 8, count) if field and room in (0, 8 * count) else []
        # whatever goes by the name is one of the few that there may be
        if special.once and special.name in seen:
            raise BadFields(errno.E2BIG)
        seen.add(special.name)
        if room not in (0, special.size * count) or member.offset % special.align:
            return []
        if not isinstance(target, t.Struct) or target.size != special.size:
            return []
        field = Field(special, member.offset)
        return _repeat([self._root(where, field) if special.node else field], target.size, count)

    def pointer(self, made: t.Type, offset: int) -> Field | None:
        """The field of a pointer to a tagged struct; None for pointers without (such) a tag."""
        if isinstance(made, t.Volatile):
            made = self.btf.type(made.type)
        tag = self.btf.type(made.type) if isinstance(made, t.Ptr) else None
        if offset % 8 or not isinstance(tag, t.TypeTag) or tag.kind_flag:
            return None
        special = BY_TAG.get(tag.name)
        if special is None or isinstance(self.btf.type(tag.type), t.TypeTag):
            raise BadFields(errno.EINVAL)
        if special.name not in self.wanted:
            return None
        target_id = self.btf.skip_modifiers(tag.type)
        target = self.btf.type(target_id)
        if not isinstance(target, t.Struct):
            raise BadFields(errno.EINVAL)
        return Field(special, offset, target_id)

    def located(self, field: Field) -> Field:
        """The pointer's field with its target in the kernel's BTF. ENOENT if no `kptr` may own it.

        A struct that only the program knows is one that it has allocated itself.
        """
        name = self.btf.type(field.value_type).name
        if self.kernel is None:
            return field
        found, module = self._kernel_struct(name)
        owned = field.special.name == "kptr"
        if found and owned and not self._is_destroyed(name, module):
            raise BadFields(errno.ENOENT)
        return field._replace(kernel_type=found, module=module)

    def _kernel_struct(self, name: str) -> tuple[int, Btf | None]:
        """The kernel's struct, or else that of the first module which has one; 0: none has."""
        for types in (self.kernel, *self.modules):
            found = types.find(name, uapi.BTF_KIND_STRUCT) if types is not None else 0
            if found:
                return found, None if types is self.kernel else types
        return 0, None

    def _is_destroyed(self, name: str, module: Btf | None) -> bool:
        """The struct's owner has the function; where the kernel's types tell of none, only packets
        are not."""
        if name not in DESTROYED:
            return False
        if module is not None:
            return bool(module.find(DESTROYED[name], uapi.BTF_KIND_FUNC))
        there = self._destroyers
        return DESTROYED[name] in there or (not there and name != "sk_buff")

    @cached_property
    def _destroyers(self) -> frozenset[str]:
        return frozenset(name for name in DESTROYED.values() if self.kernel is not None
                         and self.kernel.find(name, uapi.BTF_KIND_FUNC))

    def _nested(
        self, type_id: int, struct: t.Struct, offset: int, count: int, level: int
    ) -> list[Field]:
        if level + 1 >= MAX_DEPTH:
            raise BadFields(errno.E2BIG)
        inner = self.struct(type_id, struct, level + 1)
        return _repeat([f._replace(offset=f.offset + offset) for f in inner], struct.size, count)

    def _root(self, where: tuple[int, int], field: Field) -> Field:
        """The field with what its tag says that it contains."""
        texts = self._contains.get(where, [])
        struct, colon, member = texts[0].partition(":") if len(texts) == 1 else ("", "", "")
        if not colon:
            raise BadFields(errno.EINVAL)
        value_type = self.btf.find(struct, uapi.BTF_KIND_STRUCT)
        if not value_type:
            raise BadFields(errno.ENOENT)
        if not member:
            raise BadFields(errno.EINVAL)
        return field._replace(value_type=value_type, node_member=member)

    @cached_property
    def _contains(self) -> dict[tuple[int, int], list[str]]:
        """(struct, member number) or (variable, -1) -> what its `contains:` tags say."""
        found: dict[tuple[int, int], list[str]] = {}
        for type_id in range(1, len(self.btf)):
            if self.btf.kind(type_id) == uapi.BTF_KIND_DECL_TAG:
                tag = self.btf.expect(type_id, t.DeclTag)
                if tag.name.startswith(CONTAINS):
                    text = tag.name.removeprefix(CONTAINS)
                    found.setdefault((tag.type, tag.component), []).append(text)
        return found


def _element(btf: Btf, type_id: int) -> tuple[int, int]:
    """The element type of (nested) arrays, and how many elements there are in all."""
    count = 1
    for _ in range(MAX_DEPTH):
        made = btf.type(type_id)
        if not isinstance(made, t.Array):
            return type_id, count
        count, type_id = count * made.nelems, made.type
    raise BadFields(errno.E2BIG)


def _repeat(fields: list[Field], size: int, count: int) -> list[Field]:
    """The fields of an array of `count` elements; only roots and pointers may stand in one."""
    if count == 1 or not fields:
        return fields
    if not all(one.special.repeats for one in fields):
        raise BadFields(errno.EINVAL)
    if len(fields) * count > uapi.BTF_FIELDS_MAX:
        raise BadFields(errno.E2BIG)
    return [f._replace(offset=f.offset + i * size) for i in range(count) for f in fields]


def _check_root(btf: Btf, root: Field) -> None:
    """The member that a root names is a node of the right kind at a place where one can be."""
    held = btf.expect(root.value_type, t.Struct)
    named = [m for m in held.members if m.name == root.node_member]
    if not named:
        raise BadFields(errno.ENOENT)
    node = btf.type(named[0].type)
    is_node = isinstance(node, t.Struct) and node.name == root.special.node
    if len(named) > 1 or not is_node or named[0].bit_offset % 64:
        raise BadFields(errno.EINVAL)
