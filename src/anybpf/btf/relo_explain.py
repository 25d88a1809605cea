"""Why a target does not have what a CO-RE record asks for, in plain words (no kernel counterpart).

libbpf says "no matching targets found". Here the way to the answer is walked again, up to the
step that fails, and what is there instead is named: a renamed or moved field, another kind of
type, a shorter array, the closest names.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from weakref import WeakKeyDictionary

from anybpf.btf import relo_match
from anybpf.btf import relo_spec as rs
from anybpf.btf import types as t
from anybpf.btf.dump import declaration
from anybpf.btf.parse import Btf
from anybpf.btf.relo_cands import Candidate, Target, named
from anybpf.btf.relo_core import find_member
from anybpf.btf.relo_spec import Spec, Step
from anybpf.errors import BpfError, LoadError

#: how many names are offered, and how alike they must be
CLOSEST, LIKENESS = 3, 0.7
#: how many members two versions of a struct have in common
MANY = 3
#: characters of a type's text
WIDTH = 48
#: how deep moved fields are searched for, and in how many structs
DEPTH, STRUCTS = 3, 400
#: anonymous structs that are looked into for the members of one
NESTED = 200

_NAMES: WeakKeyDictionary[Btf, dict[int, list[str]]] = WeakKeyDictionary()
_CLOSE: WeakKeyDictionary[Btf, dict[tuple[str, int], list[str]]] = WeakKeyDictionary()


def why(spec: Spec, target: Target) -> str:
    """The reason why the target has no match for the record `spec`. Never raises."""
    try:
        candidates = target.candidates(spec.btf, spec.root)
        if not candidates:
            return _no_candidate(spec, target)
        reasons = [_why_not(spec, c) for c in candidates]
    except (BpfError, LoadError) as e:
        return str(e.strerror if isinstance(e, BpfError) else e)
    return "; ".join(dict.fromkeys(reasons))


def why_not_wide(local: Spec, target: Spec) -> str:
    """The reason why a load or store cannot take the width of the target's field."""
    here, there = (shown(s.btf, field_type(s)) for s in (local, target))
    return (f"{here} in the object, {there} there: only unsigned integers and pointers can "
            "change their width")


def field_type(spec: Spec) -> int:
    """The type of what a path leads to."""
    step = spec.steps[-1]
    if step.name is None:
        return step.type_id
    return spec.btf.expect(step.type_id, t.Composite).members[step.number].type


def shown(btf: Btf, type_id: int) -> str:
    """A type as C writes it, cut to one line."""
    text = " ".join(declaration(btf, type_id).split()) if type_id else "void"
    return text if len(text) <= WIDTH else text[:WIDTH - 3] + "..."


# no such type

def _no_candidate(spec: Spec, target: Target) -> str:
    btf, wanted = spec.btf, spec.btf.type(spec.root)
    name = rs.essential_name(wanted.name)
    kind = rs.type_text(btf, spec.root)
    others = [target.btf, *(b for _, b in target.loaded_modules())]
    other = next((rs.type_text(b, i) for b in others for i in named(b, name)
                  if rs.type_text(b, i) in WORDS), None)
    if other is not None:
        return f"'{name}' is {WORDS[other]} there, not {WORDS.get(kind, kind)}"
    close = closest(name, (n for b in others for n in close_types(b, name, wanted.kind)))
    return f"there is no {kind} '{name}'" + _offer(close)


#: kinds that a name can stand for, with their article
WORDS = {"struct": "a struct", "union": "a union", "enum": "an enum", "enum64": "an enum",
         "typedef": "a typedef", "fwd": "a forward declaration", "int": "an integer",
         "float": "a floating point number"}


def close_types(btf: Btf, name: str, kind: int) -> list[str]:
    """The types of a kind whose names look most like this one; looked for once."""
    known = _CLOSE.setdefault(btf, {})
    if (name, kind) not in known:
        known[name, kind] = closest(name, names_of(btf, kind))
    return known[name, kind]


def names_of(btf: Btf, kind: int) -> list[str]:
    """The names of all types of a kind, without flavours."""
    known = _NAMES.setdefault(btf, {})
    if kind not in known:
        offsets = [spot for spot, ids in btf.name_ids.items()
                   if any(rs.compatible_kinds(btf.kind(i), kind) for i in ids)]
        known[kind] = sorted({rs.essential_name(btf.string(spot)) for spot in offsets})
    return known[kind]


def closest(name: str, others: Iterable[str]) -> list[str]:
    """The names that look most like `name`, best first."""
    return difflib.get_close_matches(name, set(others) - {name, ""}, CLOSEST, LIKENESS)


def _offer(names: list[str]) -> str:
    return f"; closest: {', '.join(names)}" if names else ""


# a candidate that does not match

def _why_not(spec: Spec, candidate: Candidate) -> str:
    if spec.kind in rs.ENUM_KINDS:
        return _no_enumerator(spec, candidate)
    if spec.kind in rs.TYPE_KINDS:
        return _other_type(spec, candidate)
    return _no_field(spec, candidate)


def _no_enumerator(spec: Spec, candidate: Candidate) -> str:
    btf = candidate.btf
    type_id = btf.resolve(candidate.id)
    found = btf.type(type_id)
    if not isinstance(found, t.AnyEnum):
        return f"'{btf.type(candidate.id).name}' is {shown(btf, type_id)} there, no enum"
    wanted = rs.essential_name(spec.steps[0].name or "")
    close = closest(wanted, (v.name for v in found.values))
    return f"{shown(btf, candidate.id)} has no enumerator '{wanted}'" + _offer(close)


def _no_field(spec: Spec, candidate: Candidate) -> str:
    """Walk along the path as far as the target goes."""
    made = Spec(candidate.btf, candidate.id, spec.kind)
    type_id = candidate.id
    for number, step in enumerate(spec.steps):
        type_id = made.btf.resolve(type_id)
        if step.name is None:
            if number:
                array = made.btf.type(type_id)
                if not isinstance(array, t.Array):
                    return f"'{_so_far(made)}' is {shown(made.btf, type_id)} there, no array"
                if step.number >= array.nelems and not rs.is_flexible(
                        made.btf, made.steps[-1], array):
                    return (f"array '{_so_far(made)}' has {array.nelems} elements there, "
                            f"no [{step.number}]")
                type_id = array.type
            made.steps.append(Step(made.btf.resolve(type_id), step.number))
            continue
        found = find_member(spec.btf, step, made, type_id)
        if found is None:
            return _no_member(spec, step, made, type_id)
        type_id = found
    return "nothing"


def _so_far(made: Spec) -> str:
    return made.btf.type(made.root).name + made.path


def _no_member(spec: Spec, step: Step, made: Spec, type_id: int) -> str:
    btf, name = made.btf, step.name or ""
    found = btf.type(type_id)
    if not isinstance(found, t.Composite):
        return f"'{_so_far(made)}' is {shown(btf, type_id)} there, which has no members"
    members = list(flattened(btf, type_id))
    same = next((m for m in members if m.name == name), None)
    here = spec.btf.expect(step.type_id, t.Composite).members[step.number]
    if same is not None:
        return (f"member '{name}' of {_title(btf, type_id, made)} is of another kind: "
                f"{shown(btf, same.type)} there, {shown(spec.btf, here.type)} in the object")
    head = f"{_title(btf, type_id, made)} has no member '{name}'"
    moved = moved_to(spec.btf, here, btf, type_id)
    renamed = _renamed(spec.btf, here, btf, members)
    near = [path for path in moved if path.count(".") == 1]
    if near or (moved and not renamed):
        return f"{head}; moved to {' or '.join(near or moved)}?"
    return head + (renamed or _new_there(spec.btf, step, btf, members))


def _title(btf: Btf, type_id: int, made: Spec) -> str:
    name = btf.type(type_id).name
    return f"{rs.type_text(btf, type_id)} {name}" if name else f"'{_so_far(made)}'"


def _renamed(local: Btf, here: t.Member, btf: Btf, members: list[t.Member]) -> str:
    """Names alike, with their types; those of a fitting type first."""
    by_name = {m.name: m for m in members}
    close = closest(here.name, by_name)
    fits = [n for n in close if _fits(local, here, btf, by_name[n])]
    ordered = fits + [n for n in close if n not in fits]
    return _offer([f"{n} ({shown(btf, by_name[n].type)})" for n in ordered])


def _new_there(local: Btf, step: Step, btf: Btf, members: list[t.Member]) -> str:
    """Members that the object's type lacks, if it otherwise is the same: one may be the heir."""
    mine = {m.name: m for m in flattened(local, step.type_id)}
    here = local.expect(step.type_id, t.Composite).members[step.number]
    if len(mine.keys() & {m.name for m in members}) < MANY:
        return ""
    new = [m for m in members if m.name not in mine and _fits(local, here, btf, m)]
    new.sort(key=lambda m: -difflib.SequenceMatcher(None, here.name, m.name).ratio())
    names = ", ".join(f"{m.name} ({shown(btf, m.type)})" for m in new[:CLOSEST])
    return f"; new there: {names}" if names else ""


def _fits(local: Btf, here: t.Member, btf: Btf, there: t.Member) -> bool:
    return relo_match.same_field(local, here.type, btf, there.type)


def flattened(btf: Btf, type_id: int, seen: set[int] | None = None) -> Iterator[t.Member]:
    """The named members of a composite, those of its anonymous members among them."""
    seen = set() if seen is None else seen
    type_id = btf.resolve(type_id)
    found = btf.type(type_id)
    if not isinstance(found, t.Composite) or type_id in seen or len(seen) >= NESTED:
        return
    seen.add(type_id)
    for member in found.members:
        if member.name:
            yield member
        else:
            yield from flattened(btf, member.type, seen)


def moved_to(local: Btf, here: t.Member, btf: Btf, type_id: int) -> list[str]:
    """Paths to members of the same name, and a type that fits, inside members; shortest first."""
    found: list[str] = []
    level = [("", btf.resolve(type_id))]
    seen = {btf.resolve(type_id)}
    for _ in range(DEPTH):
        below: list[tuple[str, int]] = []
        for path, outer in level:
            for member in flattened(btf, outer):
                inner = btf.resolve(member.type)
                if path and member.name == here.name and _fits(local, here, btf, member):
                    found.append(f"{path}.{member.name}")
                if inner not in seen and len(seen) < STRUCTS:
                    seen.add(inner)
                    below.append((f"{path}.{member.name}" if path else member.name, inner))
        level = below
    return found[:CLOSEST]


# type_exists, type_matches

def _other_type(spec: Spec, candidate: Candidate) -> str:
    btf, local = candidate.btf, spec.btf
    one, other = local.resolve(spec.root), btf.resolve(candidate.id)
    name = btf.type(candidate.id).name
    if spec.kind != rs.TYPE_MATCHES or not rs.compatible_kinds(local.kind(one), btf.kind(other)):
        return (f"'{name}' is {shown(btf, other)} there, {shown(local, one)} in the object")
    here, there = local.type(one), btf.type(other)
    if isinstance(here, t.Composite) and isinstance(there, t.Composite):
        return _other_member(local, here, btf, there)
    if isinstance(here, t.AnyEnum) and isinstance(there, t.AnyEnum):
        return _other_enum(here, there)
    return f"'{name}' is {shown(btf, other)} there, {shown(local, one)} in the object"


def _other_member(local: Btf, here: t.Composite, btf: Btf, there: t.Composite) -> str:
    matcher = relo_match.Matcher(local, btf)
    for member in here.members:
        alike = [m for m in there.members if relo_match.same_name(m.name, member.name)]
        if not alike:
            close = closest(member.name, (m.name for m in there.members))
            return f"'{there.name}' has no member '{member.name}'" + _offer(close)
        if not any(matcher(member.type, m.type) for m in alike):
            return (f"member '{member.name}' of '{there.name}' differs: "
                    f"{shown(btf, alike[0].type)} there, {shown(local, member.type)} in the object")
    return f"'{there.name}' has fewer members there"


def _other_enum(here: t.AnyEnum, there: t.AnyEnum) -> str:
    if here.size != there.size:
        return f"enum '{there.name}' has {there.size} bytes there, {here.size} in the object"
    names = {rs.essential_name(v.name) for v in there.values}
    gone = [v.name for v in here.values if rs.essential_name(v.name) not in names]
    if not gone:
        return f"enum '{there.name}' has fewer enumerators there"
    return f"enum '{there.name}' has no enumerator '{gone[0]}'" + _offer(closest(gone[0], names))
