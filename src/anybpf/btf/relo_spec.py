"""What a CO-RE record asks for: kinds, access paths, their text (tools/lib/bpf/relo_core.c).

A record names a type of the object's BTF and a path into it, `0:2:1`: index of the root (as if it
were an array), then member and element numbers. `parse` turns that into a `Spec`, whose steps are
the names and array indices that a target type is searched for.
"""

from __future__ import annotations

import errno
import logging
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.ext import CoreRelo
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError, LoadError

log = logging.getLogger("anybpf.libbpf")
log.addHandler(logging.NullHandler())            # a library keeps quiet until it is asked

# enum bpf_core_relo_kind
(FIELD_BYTE_OFFSET, FIELD_BYTE_SIZE, FIELD_EXISTS, FIELD_SIGNED, FIELD_LSHIFT_U64,
 FIELD_RSHIFT_U64, TYPE_ID_LOCAL, TYPE_ID_TARGET, TYPE_EXISTS, TYPE_SIZE, ENUMVAL_EXISTS,
 ENUMVAL_VALUE, TYPE_MATCHES) = range(13)
#: kind -> libbpf's word for it
KIND_TEXTS = ("byte_off", "byte_sz", "field_exists", "signed", "lshift_u64", "rshift_u64",
              "local_type_id", "target_type_id", "type_exists", "type_size", "enumval_exists",
              "enumval_value", "type_matches")
FIELD_KINDS = frozenset(range(FIELD_BYTE_OFFSET, FIELD_RSHIFT_U64 + 1))
TYPE_KINDS = frozenset({TYPE_ID_LOCAL, TYPE_ID_TARGET, TYPE_EXISTS, TYPE_SIZE, TYPE_MATCHES})
ENUM_KINDS = frozenset({ENUMVAL_EXISTS, ENUMVAL_VALUE})
ANY_ENUM = frozenset({uapi.BTF_KIND_ENUM, uapi.BTF_KIND_ENUM64})
COMPOSITE = frozenset({uapi.BTF_KIND_STRUCT, uapi.BTF_KIND_UNION})
#: how many steps a path may have (BPF_CORE_SPEC_MAX_LEN)
MAX_LENGTH = 64
PATH = re.compile(r"[0-9]+(?::[0-9]+)*", re.ASCII)
FLAVOUR = re.compile(r".*[^_](?=___[^_])", re.DOTALL)
#: kind of a type -> libbpf's word for it
TYPE_TEXTS = ("void", *(name.lower() for name in t.KIND_NAMES[1:]))


class CoreError(BpfError):
    """A record that libbpf refuses the whole object for; the message is in its words.

    `program` and `index` (of the record in its section) are set once they are known.
    """

    program = ""
    index = 0


def bad(message: str, number: int = errno.EINVAL) -> CoreError:
    return CoreError(number, message)


def refused(where: str, message: str, number: int = errno.EINVAL) -> CoreError:
    """The error for the record at `where`, logged."""
    log.debug("%s: %s", where, message)
    return bad(f"{where}: {message}", number)


class Step(NamedTuple):
    """One step of a path: member `number` called `name` of composite `type_id`, or, without a
    name, element `number`, which is of type `type_id`."""

    type_id: int
    number: int
    name: str | None = None


@dataclass(slots=True)
class Spec:
    """A path into a type of one BTF. `raw` also counts steps through anonymous members;
    `bit_offset` is the place of its end from the root."""

    btf: Btf
    root: int
    kind: int
    steps: list[Step] = field(default_factory=list)
    raw: list[int] = field(default_factory=list)
    bit_offset: int = 0

    @property
    def path(self) -> str:
        """The steps as C writes them, without the root's name: `.files[2].name`."""
        parts = (f".{s.name}" if s.name else f"[{s.number}]" if i or s.number else ""
                 for i, s in enumerate(self.steps))
        return "".join(parts)

    def move(self, bits: int) -> None:
        """Add to the offset, in 32 bits as libbpf does."""
        self.bit_offset = self.bit_offset + bits & uapi.U32

    def __str__(self) -> str:
        name = self.btf.type(self.root).name if self.root else ""
        head = f"<{kind_text(self.kind)}> [{self.root}] {type_text(self.btf, self.root)} "
        return head + (name or "<anon>") + TAILS.get(self.kind, _no_tail)(self)


def kind_text(kind: int) -> str:
    """libbpf's word for a kind of record."""
    return KIND_TEXTS[kind] if 0 <= kind < len(KIND_TEXTS) else "unknown"


def type_text(btf: Btf, type_id: int) -> str:
    """libbpf's word for a type's kind."""
    return TYPE_TEXTS[btf.kind(type_id)]


def _no_tail(spec: Spec) -> str:
    return ""


def _enum_tail(spec: Spec) -> str:
    found = spec.btf.type(spec.btf.resolve(spec.root))
    index = spec.raw[0] if spec.raw else 0
    if not isinstance(found, t.AnyEnum) or index >= len(found.values):
        return ""
    return f"::{found.values[index].name} = {found.values[index].value}"


def _field_tail(spec: Spec) -> str:
    whole, rest = divmod(spec.bit_offset, 8)
    place = f"{whole}.{rest}" if rest else str(whole)
    return f"{spec.path} ({':'.join(map(str, spec.raw))} @ offset {place})"


TAILS = {**dict.fromkeys(ENUM_KINDS, _enum_tail), **dict.fromkeys(FIELD_KINDS, _field_tail)}


# names

def essential_name(name: str) -> str:
    """A name without its flavour: `task_struct___old` is some kernel's `task_struct`."""
    if "___" not in name:
        return name
    found = FLAVOUR.match(name)
    return found[0] if found else name


def compatible_kinds(one: int, other: int) -> bool:
    """The same kind of type, or two sizes of enum."""
    return one == other or (one in ANY_ENUM and other in ANY_ENUM)


# parsing

def parse(btf: Btf, relo: CoreRelo) -> Spec:
    """The path of a record. Raises CoreError (EINVAL, E2BIG) for one that leads nowhere."""
    text = btf.string(relo.access_str_off)
    if not PATH.fullmatch(text):
        raise bad(f"'{text}' is no access string")
    spec = Spec(btf, relo.type_id, relo.kind)
    if relo.kind in TYPE_KINDS:
        if text != "0":
            raise bad("a relocation of a type has access string 0")
        return spec
    if text.count(":") >= MAX_LENGTH:
        raise bad("access string is too long", errno.E2BIG)
    spec.raw = [int(part) for part in text.split(":")]
    if max(spec.raw) > uapi.S32_MAX:
        raise bad("access string has an index beyond 31 bits")
    try:
        _walk(spec)
    except LoadError as e:
        raise bad(e.message) from None
    return spec


def _walk(spec: Spec) -> None:
    btf, first = spec.btf, spec.raw[0]
    root = btf.resolve(spec.root)
    if spec.kind in ENUM_KINDS:
        spec.steps.append(_enumerator(spec, root, first))
    elif spec.kind in FIELD_KINDS:
        spec.steps.append(Step(root, first))
        spec.move(first * btf.size_of(root) * 8)
        for index in spec.raw[1:]:
            root = _descend(spec, btf.resolve(root), index)
    else:
        raise bad(f"kind {spec.kind} is unknown")


def _enumerator(spec: Spec, type_id: int, index: int) -> Step:
    found = spec.btf.type(type_id)
    if not isinstance(found, t.AnyEnum) or len(spec.raw) > 1 or index >= len(found.values):
        raise bad("access string is for no enumerator")
    return Step(type_id, index, found.values[index].name)


def _descend(spec: Spec, type_id: int, index: int) -> int:
    """Take one step into a composite or an array; the id of what is there."""
    found = spec.btf.type(type_id)
    if isinstance(found, t.Composite):
        return _into_member(spec, type_id, found, index)
    if isinstance(found, t.Array):
        return _into_array(spec, found, index)
    raise bad(f"relo for [{spec.root}] captures type [{type_id}] of unexpected kind "
              f"{type_text(spec.btf, type_id)}")


def _into_member(spec: Spec, type_id: int, found: t.Composite, index: int) -> int:
    if index >= len(found.members):
        raise bad(f"access string has member {index} of {len(found.members)}")
    member = found.members[index]
    spec.move(member.bit_offset)
    if member.name:
        spec.steps.append(Step(type_id, index, member.name))
    return member.type


def _into_array(spec: Spec, found: t.Array, index: int) -> int:
    if index >= found.nelems and not is_flexible(spec.btf, spec.steps[-1], found):
        raise bad(f"access string has element {index} of {found.nelems}")
    element = spec.btf.resolve(found.type)
    spec.steps.append(Step(element, index))
    spec.move(index * spec.btf.size_of(element) * 8)
    return element


def is_flexible(btf: Btf, step: Step, array: t.Array) -> bool:
    """Is the array that `step` leads to the open end of a struct?"""
    if step.name is None or array.nelems:
        return False
    return step.number == len(btf.expect(step.type_id, t.Composite).members) - 1


def element_type(btf: Btf, type_id: int) -> int:
    """The type of the elements of an array (of arrays), or the type itself."""
    for _ in range(MAX_LENGTH):
        type_id = btf.resolve(type_id)
        found = btf.type(type_id)
        if not isinstance(found, t.Array):
            return type_id
        type_id = found.type
    raise bad("arrays are nested too deeply")
