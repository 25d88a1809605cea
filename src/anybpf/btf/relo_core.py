"""CO-RE: what a record means on another kernel (tools/lib/bpf/relo_core.c).

`Relocator` answers one record after the other; `relo_patch` puts the answer into an instruction.
Its messages are libbpf's, on the logger `anybpf.libbpf` at debug level; what libbpf refuses an
object for raises CoreError.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from anybpf.btf import relo_match, relo_value
from anybpf.btf import relo_spec as rs
from anybpf.btf import types as t
from anybpf.btf.ext import CoreRelo
from anybpf.btf.parse import Btf
from anybpf.btf.relo_cands import Candidate, Target
from anybpf.btf.relo_spec import CoreError, Spec, Step, bad, refused
from anybpf.btf.relo_value import Answer
from anybpf.errors import LoadError

log = logging.getLogger("anybpf.libbpf")

#: pointers in programs are of this size, whatever the BTF says (btf__set_pointer_size)
BPF_POINTER = 8


@dataclass(eq=False)
class Relocator:
    """Resolves the records of one object, whose BTF is `local`, against one target.

    As in libbpf, a candidate that one record rules out for a type stays ruled out for later ones.
    """

    local: Btf
    target: Target
    _candidates: dict[int, list[Candidate]] = field(default_factory=dict)
    _matchers: dict[Btf, relo_match.Matcher] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.local.pointer_size = BPF_POINTER

    def candidates(self, type_id: int) -> list[Candidate]:
        """The candidates left for a type of the object."""
        known = self._candidates.get(type_id)
        if known is None:
            known = self._candidates[type_id] = self.target.candidates(self.local, type_id)
        return known

    def resolve(self, relo: CoreRelo, where: str = "") -> Answer:
        """The answer to one record. `where` begins the messages: `prog 'x': relo #2`.

        Raises CoreError: EINVAL (a bad record, ambiguity), E2BIG, EOPNOTSUPP.
        """
        if relo.kind != rs.TYPE_ID_LOCAL:
            self._search(relo.type_id, where)
        spec = self._parse(relo, where)
        log.debug("%s: %s", where, spec)
        if relo.kind == rs.TYPE_ID_LOCAL:
            return Answer(spec, None, relo.type_id, relo.type_id, validate=False)
        answers = self._matching(spec, where)
        if not answers:
            log.debug("%s: no matching targets found", where)
            return relo_value.calculate(spec, None, where)
        return answers[0]

    def _search(self, type_id: int, where: str) -> None:
        try:
            self.candidates(type_id)
        except CoreError as e:
            raise refused(where, f"target candidate search failed for [{type_id}] "
                          f"{rs.type_text(self.local, type_id)}: {e.strerror}") from None

    def _parse(self, relo: CoreRelo, where: str) -> Spec:
        try:
            return rs.parse(self.local, relo)
        except CoreError as e:
            what = self.local.type(relo.type_id).name if relo.type_id else ""
            raise refused(where, f"parsing [{relo.type_id}] "
                           f"{rs.type_text(self.local, relo.type_id)} {what or '<anon>'} + "
                           f"{self.local.string(relo.access_str_off)} failed: {e.strerror}",
                           errno.EINVAL) from None

    def _matching(self, spec: Spec, where: str) -> list[Answer]:
        """The answers of the candidates that match; these alone stay candidates."""
        left: list[Candidate] = []
        answers: list[Answer] = []
        for number, candidate in enumerate(self.candidates(spec.root)):
            found = self._match(spec, candidate, number, where)
            if found is None:
                continue
            answer = relo_value.calculate(spec, found, where)
            answers.append(answer._replace(origin=candidate.origin))
            left.append(candidate)
            _check_agreement(answers, where)
        if left:
            self._candidates[spec.root] = left
        return answers

    def _match(self, spec: Spec, candidate: Candidate, number: int, where: str) -> Spec | None:
        made = Spec(candidate.btf, candidate.id, spec.kind)
        try:
            matches = MATCH[spec.kind](self, spec, made)
        except (CoreError, LoadError) as e:
            text = e.message if isinstance(e, LoadError) else e.strerror
            number_of = e.errno or errno.EINVAL if isinstance(e, CoreError) else errno.EINVAL
            raise refused(where, f"error matching candidate #{number} {made}: {text}",
                           number_of) from None
        log.debug("%s: %smatching candidate #%d %s", where, "" if matches else "non-", number,
                  made)
        return made if matches else None

    def _match_type(self, spec: Spec, made: Spec) -> bool:
        if spec.kind != rs.TYPE_MATCHES:
            return relo_match.compatible(spec.btf, spec.root, made.btf, made.root)
        matcher = self._matchers.get(made.btf)
        if matcher is None:
            matcher = self._matchers[made.btf] = relo_match.Matcher(self.local, made.btf)
        return matcher(spec.root, made.root)

    def _match_enumerator(self, spec: Spec, made: Spec) -> bool:
        type_id = made.btf.resolve(made.root)
        found = made.btf.type(type_id)
        wanted = rs.essential_name(spec.steps[0].name or "")
        if not isinstance(found, t.AnyEnum):
            return False
        for index, value in enumerate(found.values):
            if rs.essential_name(value.name) == wanted:
                made.steps.append(Step(type_id, index, value.name))
                made.raw.append(index)
                return True
        return False

    def _match_field(self, spec: Spec, made: Spec) -> bool:
        type_id = made.root
        for number, step in enumerate(spec.steps):
            type_id = made.btf.resolve(type_id)
            next_id = (find_member(spec.btf, step, made, type_id) if step.name
                       else _find_element(step, made, type_id, number))
            if next_id is None:
                return False
            type_id = next_id
        return True


def _check_agreement(answers: list[Answer], where: str) -> None:
    """All candidates must come to the same, or nobody knows what is meant."""
    first, last = answers[0], answers[-1]
    places = [a.target.bit_offset for a in (last, first) if a.target is not None]
    if places[0] != places[-1]:
        raise refused(where, f"field offset ambiguity: {places[0]} != {places[-1]}")
    if (first.poison, first.new) != (last.poison, last.new):
        one, other = ((f"{'failure' if a.poison else 'success'} {a.new}") for a in (last, first))
        raise refused(where, f"relocation decision ambiguity: {one} != {other}")


MATCH: dict[int, Callable[[Relocator, Spec, Spec], bool]] = {
    **dict.fromkeys(rs.TYPE_KINDS, Relocator._match_type),
    **dict.fromkeys(rs.ENUM_KINDS, Relocator._match_enumerator),
    **dict.fromkeys(rs.FIELD_KINDS, Relocator._match_field),
}


# finding a field in the target

def _find_element(step: Step, made: Spec, type_id: int, number: int) -> int | None:
    """Take the same element; the root (`number` 0) counts as an element of an array."""
    if number:
        found = made.btf.type(type_id)
        if not isinstance(found, t.Array):
            return None
        if step.number >= found.nelems and not rs.is_flexible(made.btf, made.steps[-1], found):
            return None
        type_id = made.btf.resolve(found.type)
    _room(made)
    made.steps.append(Step(type_id, step.number))
    made.raw.append(step.number)
    made.move(step.number * made.btf.size_of(type_id) * 8)
    return type_id


def find_member(local: Btf, step: Step, made: Spec, type_id: int,
                barren: set[int] | None = None) -> int | None:
    """Find the member in a target type and its anonymous members; the id of its type.

    `made` grows by what was found. `barren` are types that are known to hold it nowhere: they
    need not be searched twice.
    """
    barren = set() if barren is None else barren
    type_id = made.btf.resolve(type_id)
    found = made.btf.type(type_id)
    if not isinstance(found, t.Composite) or type_id in barren:
        return None
    barren.add(type_id)
    for index, member in enumerate(found.members):
        if member.name and member.name != step.name:
            continue
        _room(made)
        before, depth = made.bit_offset, len(made.raw)
        made.move(member.bit_offset)
        made.raw.append(index)
        if member.name:
            return _same_member(local, step, made, Step(type_id, index, member.name), member)
        inner = find_member(local, step, made, member.type, barren)
        if inner is not None:
            return inner
        made.bit_offset = before
        del made.raw[depth:]
    return None


def _same_member(local: Btf, step: Step, made: Spec, there: Step,
                 member: t.Member) -> int | None:
    here = local.expect(step.type_id, t.Composite).members[step.number]
    if not relo_match.same_field(local, here.type, made.btf, member.type):
        return None
    made.steps.append(there)
    return member.type


def _room(made: Spec) -> None:
    if len(made.raw) >= rs.MAX_LENGTH:
        raise bad("the target's type is nested too deeply", errno.E2BIG)
