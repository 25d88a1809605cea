"""The reasons for what CO-RE does not find."""

from __future__ import annotations

import pytest

from anybpf import uapi
from anybpf.btf import relo_spec as rs
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.ext import CoreRelo
from anybpf.btf.parse import Btf
from anybpf.btf.relo_cands import Target
from anybpf.btf.relo_explain import closest, moved_to, shown, why


def types(*more: t.Type, base: Btf | None = None) -> BtfBuilder:
    """`int` is type 1, `unsigned int` 2, `int[3]` 3, what is given follows."""
    made = BtfBuilder(base=base)
    made.add(t.Int("int", 4, 32, 0, uapi.BTF_INT_SIGNED))
    made.add(t.Int("unsigned int", 4))
    made.add(t.Array(1, 2, 3))
    made.add_all(more)
    return made


def struct_of(name: str, **members: int) -> t.Struct:
    """A struct of members of these types; names that begin with `anon` are empty."""
    rows = ((n, i) for n, i in members.items())
    return t.Struct(name, 64, tuple(t.Member("" if n.startswith("anon") else n, i, 32 * at)
                                    for at, (n, i) in enumerate(rows)))


def reason(local: BtfBuilder, kernel: BtfBuilder, access: str = "0:0",
           kind: int = rs.FIELD_BYTE_OFFSET, type_id: int = 4) -> str:
    spot = local.string(access)
    btf = local.build()
    return why(rs.parse(btf, CoreRelo(0, type_id, spot, kind)), Target(kernel.build()))


S = struct_of("s", old=1)


@pytest.mark.parametrize(("kernel", "text"), [
    ((), "there is no struct 's'"),
    ((struct_of("t"), t.Union("s", 4)), "'s' is a union there, not a struct"),
    ((t.Typedef("s", 1),), "'s' is a typedef there, not a struct"),
    ((t.Fwd("s"),), "'s' is a forward declaration there, not a struct"),
    ((struct_of("s", new=1),), "struct s has no member 'old'"),
    ((struct_of("s", __old=3, olde=2),),
     "struct s has no member 'old'; closest: olde (unsigned int), __old (int[3])"),
    ((struct_of("s", anon=5), t.Union("", 4, (t.Member("old_", 1, 0),))),
     "struct s has no member 'old'; closest: old_ (int)"),
    ((struct_of("s", inner=5), struct_of("in", x=1, old=1)),
     "struct s has no member 'old'; moved to inner.old?"),
    ((struct_of("s", inner=5), struct_of("in", x=1, old=3)), "struct s has no member 'old'"),
    ((struct_of("s", a=5, old_=1), struct_of("in", b=6), struct_of("deep", old=1)),
     "struct s has no member 'old'; closest: old_ (int)"),
    ((struct_of("s", a=5), struct_of("in", b=6), struct_of("deep", old=1)),
     "struct s has no member 'old'; moved to a.b.old?"),
    ((struct_of("s", old=3),),
     "member 'old' of struct s is of another kind: int[3] there, int in the object"),
    ((struct_of("s", old=4),),
     "member 'old' of struct s is of another kind: struct s there, int in the object"),
    ((struct_of("s___2", new=1), struct_of("s", old=3)),
     "struct s___2 has no member 'old'; "
     "member 'old' of struct s is of another kind: int[3] there, int in the object"),
])
def test_fields(kernel: tuple[t.Type, ...], text: str) -> None:
    assert reason(types(S), types(*kernel)) == text


def test_names_of_types() -> None:
    kernel = types(struct_of("task_structs"), struct_of("task_struct_x___3"), t.Fwd("task_struc"))
    local = types(struct_of("task_struct", a=1))
    assert reason(local, kernel) == ("there is no struct 'task_struct'; "
                                     "closest: task_structs, task_struct_x")


def test_heirs() -> None:
    local = types(struct_of("s", a=1, b=1, c=1, gone=1))
    kernel = types(struct_of("s", a=1, b=1, c=1, array=3, queue=2))
    assert reason(local, kernel, "0:3") == ("struct s has no member 'gone'; "
                                            "new there: queue (unsigned int)")


def test_elements() -> None:
    local = types(struct_of("s", a=5), t.Array(1, 2, 9))
    assert reason(local, types(struct_of("s", a=3)), "0:0:5") == (
        "array 's.a' has 3 elements there, no [5]")
    inner = types(struct_of("s", a=5), struct_of("in", b=6), struct_of("in2", c=1))
    other = types(struct_of("s", a=5), struct_of("in", b=1))
    assert reason(inner, other, "0:0:0:0") == (
        "member 'b' of struct in is of another kind: int there, struct in2 in the object")


def test_enumerators() -> None:
    local = types(t.Enum("e", 4, (t.EnumValue("FIRST_ONE", 1),)))
    kernel = types(t.Enum("e", 4, (t.EnumValue("FIRST_ONES", 1), t.EnumValue("X", 2))))
    assert reason(local, kernel, "0", rs.ENUMVAL_VALUE) == (
        "enum e has no enumerator 'FIRST_ONE'; closest: FIRST_ONES")
    named = types(t.Typedef("e", 5), t.Enum("", 4, (t.EnumValue("FIRST_ONE", 1),)))
    assert reason(named, types(t.Typedef("e", 1)), "0", rs.ENUMVAL_EXISTS) == (
        "'e' is int there, no enum")


@pytest.mark.parametrize(("here", "there", "text"), [
    (t.Typedef("s", 1), t.Typedef("s", 3), "'s' is int[3] there, int in the object"),
    (struct_of("s", ab=1), struct_of("s", abc=1), "'s' has no member 'ab'; closest: abc"),
    (struct_of("s", a=1), struct_of("s", a=2),
     "member 'a' of 's' differs: unsigned int there, int in the object"),
    (struct_of("s", a=1, anon=1), struct_of("s", a=1), "'s' has no member ''"),
    (t.Enum("s", 4, (t.EnumValue("A", 1),)), t.Enum("s", 1), "enum 's' has 1 bytes there, "
     "4 in the object"),
    (t.Enum("s", 4, (t.EnumValue("A", 1),)), t.Enum("s", 4, (t.EnumValue("B", 1),)),
     "enum 's' has no enumerator 'A'"),
    (t.Typedef("s", 1), t.Typedef("s", 2), "'s' is unsigned int there, int in the object"),
])
def test_matches(here: t.Type, there: t.Type, text: str) -> None:
    assert reason(types(here), types(there), "0", rs.TYPE_MATCHES) == text


def test_types_that_are_no_longer_compatible() -> None:
    local, kernel = types(t.Typedef("s", 1)), types(t.Typedef("s", 5), struct_of("x"))
    assert reason(local, kernel, "0", rs.TYPE_EXISTS) == "'s' is struct x there, int in the object"


def test_pieces() -> None:
    btf = types(struct_of("s", anon=5, a=6), t.Union("", 4, (t.Member("u", 1, 0),)),
                struct_of("in", u=1)).build()
    assert shown(btf, 0) == "void"
    assert len(shown(types(struct_of("", **{f"member{i}": 1 for i in range(9)})).build(), 4)) == 48
    assert moved_to(btf, t.Member("u", 1, 0), btf, 4) == ["a.u"]
    assert closest("state", ["__state", "state", "", "stat", "xyz"]) == ["stat", "__state"]


def test_types_without_end_do_not_raise() -> None:
    local = types(struct_of("s", a=1))
    kernel = types(struct_of("s", anon=4, b=5), t.Const(5))
    assert "deep" in reason(local, kernel) or "no member" in reason(local, kernel)
