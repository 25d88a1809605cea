"""Locks, lists and trees inside structs: what the kernel takes, and its error for the rest."""

from __future__ import annotations

import errno

import pytest

from anybpf.btf import check, fields
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from unit.btf import blobs, hostkernel
from unit.btf.test_check import kernel_verdict, verdict

U32, U64 = t.Int("unsigned int", 4), t.Int("unsigned long", 8)


def kernel_struct(name: str, size: int) -> t.Struct:
    """A struct of 32- or 64-bit words, ids 1 and 2."""
    word, width = (1, 4) if size == 4 else (2, 8)
    places = range(0, size, width)
    return t.Struct(name, size, tuple(t.Member(f"w{at}", word, at * 8) for at in places))


LOCK, RES_LOCK = kernel_struct("bpf_spin_lock", 4), kernel_struct("bpf_res_spin_lock", 4)
HEAD, NODE = kernel_struct("bpf_list_head", 16), kernel_struct("bpf_list_node", 24)
ROOT, LEAF = kernel_struct("bpf_rb_root", 16), kernel_struct("bpf_rb_node", 32)
REF, TIMER = kernel_struct("bpf_refcount", 4), kernel_struct("bpf_timer", 16)


def s(size: int, *places: tuple[int, int], name: str = "s") -> t.Struct:
    """A struct with members of (type id, byte offset)."""
    members = (t.Member(f"m{i}", one, 8 * at) for i, (one, at) in enumerate(places))
    return t.Struct(name, size, tuple(members))


def listing(tag: str, lock: int = 4) -> list[t.Type]:
    """A list of `foo` (6) in a struct (7) with a lock, and its tag."""
    foo = s(32, (5, 0), (2, 24), name="foo")
    return [HEAD, LOCK, NODE, foo, s(24, (3, 0), (lock, 16)), t.DeclTag(tag, 7, 0)]


#: name -> (types behind the two integers, error or 0)
CASES = {
    "a lock": ([LOCK, s(8, (3, 0), (1, 4))], 0),
    "two locks": ([LOCK, s(8, (3, 0), (3, 4))], errno.E2BIG),
    "a lock of the wrong size": (
        [kernel_struct("bpf_spin_lock", 8), s(16, (3, 0), (2, 8))], errno.EFAULT),
    "a lock off its alignment": ([LOCK, s(8, (3, 1))], errno.EFAULT),
    "a lock behind a typedef": ([LOCK, t.Typedef("bpf_spin_lock", 3), s(24, (4, 1))], 0),
    "a lock in a struct in a struct": ([LOCK, s(8, (3, 0)), s(24, (4, 0), (3, 16))], 0),
    "an array of locks": ([LOCK, t.Array(3, 1, 2), s(24, (4, 0), (3, 16))], errno.EINVAL),
    "an array of one lock": ([LOCK, t.Array(3, 1, 1), s(24, (4, 0), (3, 16))], errno.E2BIG),
    "a lock in a union": ([LOCK, t.Union("u", 4, (t.Member("l", 3, 0),))], 0),
    "a lock behind bitfields": ([LOCK, t.Struct("s", 8, (
        t.Member("a", 1, 0, 3), t.Member("b", 1, 3, 3), t.Member("l", 3, 32)), True)],
        errno.EINVAL),
    "both locks": ([LOCK, RES_LOCK, s(8, (3, 0), (4, 4))], errno.EINVAL),
    "a lock and two timers": ([TIMER, LOCK, s(40, (3, 0), (3, 16), (4, 32))], 0),
    "two reference counts": ([REF, s(8, (3, 0), (3, 4))], 0),
    "eleven nodes": ([NODE, s(264, *((3, 24 * i) for i in range(11)))], 0),
    "twelve nodes": ([NODE, s(288, *((3, 24 * i) for i in range(12)))], errno.E2BIG),
    "nodes of both kinds": ([NODE, LEAF, s(56, (3, 0), (4, 24))], errno.EINVAL),
    "nodes and a count": ([NODE, LEAF, REF, s(64, (3, 0), (4, 24), (5, 56))], 0),
    "a head without a tag": ([HEAD, LOCK, s(24, (3, 0), (4, 16))], errno.EINVAL),
    "a list": (listing("contains:foo:m0"), 0),
    "a list without a lock": (listing("contains:foo:m0", lock=1), errno.EINVAL),
    "a list of nothing": (listing("contains:bar:m0"), errno.ENOENT),
    "a list by no member": (listing("contains:foo:x"), errno.ENOENT),
    "a list by a number": (listing("contains:foo:m1"), errno.EINVAL),
    "a tag without a member": (listing("contains:foo"), errno.EINVAL),
    "a tag with an empty member": (listing("contains:foo:"), errno.EINVAL),
    "two tags": ([*listing("contains:foo:m0"), t.DeclTag("contains:foo:m0", 7, 0)], errno.EINVAL),
    "a tree": ([ROOT, LOCK, LEAF, s(32, (5, 0), name="foo"), s(24, (3, 0), (4, 16)),
                t.DeclTag("contains:foo:m0", 7, 0)], 0),
    "a tree of list nodes": ([ROOT, LOCK, NODE, s(32, (5, 0), name="foo"), s(24, (3, 0), (4, 16)),
                              t.DeclTag("contains:foo:m0", 7, 0)], errno.EINVAL),
    "a list of itself": ([HEAD, LOCK, NODE, s(48, (5, 0), (3, 24), (4, 40), name="foo"),
                          t.DeclTag("contains:foo:m0", 6, 1)], errno.ELOOP),
}  # fmt: skip




def target(name: str) -> t.Struct:
    return t.Struct(name, 4, (t.Member("a", 1, 0),))


OWN, TASK, SKB = target("only_the_program_has_this"), target("task_struct"), target("sk_buff")
KPTR = [t.TypeTag("kptr", 3), t.Ptr(4)]


def pointer(held: t.Type, tag: str, locked: bool = False) -> list[t.Type]:
    """A tagged pointer (5) to `held` (3) in a struct, on request beside a lock."""
    more = [LOCK, s(16, (5, 0), (6, 8))] if locked else [s(8, (5, 0))]
    return [held, t.TypeTag(tag, 3), t.Ptr(4), *more]


#: name -> (types behind the two integers, error or 0) for a kernel that has TASK and SKB
POINTERS = {
    "own": (pointer(OWN, "kptr"), 0),
    "a task": (pointer(TASK, "kptr"), 0),
    "a packet": (pointer(SKB, "kptr"), errno.ENOENT),
    "an unowned packet": (pointer(SKB, "kptr_untrusted"), 0),
    "a packet for each CPU": (pointer(SKB, "percpu_kptr"), 0),
    "a user's packet": (pointer(SKB, "uptr", True), 0),
    "a strange tag": (pointer(SKB, "weird"), 0),
    "a strange tag beside a lock": (pointer(SKB, "weird", True), errno.EINVAL),
    "an integer": (pointer(t.Typedef("i", 1), "kptr"), 0),
    "an integer beside a lock": (pointer(t.Typedef("i", 1), "kptr", True), errno.EINVAL),
    "a user's integer": (pointer(t.Typedef("i", 1), "uptr", True), 0),
    "two tags": ([SKB, *KPTR[:1], t.TypeTag("kptr", 4), t.Ptr(5), LOCK, s(16, (6, 0), (7, 8))],
                 errno.EINVAL),
    "volatile": ([SKB, *KPTR, t.Volatile(5), s(8, (6, 0))], errno.ENOENT),
    "const": ([SKB, *KPTR, t.Const(5), s(8, (6, 0))], 0),
    "to const": ([SKB, t.Const(3), t.TypeTag("kptr", 4), t.Ptr(5), s(8, (6, 0))], errno.ENOENT),
    "a typedef": ([SKB, *KPTR, t.Typedef("p", 5), s(8, (6, 0))], 0),
    "an array alone": ([SKB, *KPTR, t.Array(5, 1, 3), s(24, (6, 0))], 0),
    "eleven": ([OWN, *KPTR, t.Array(5, 1, 10), s(88, (6, 0), (5, 80))], 0),
    "twelve": ([OWN, *KPTR, t.Array(5, 1, 11), s(96, (6, 0), (5, 88))], errno.E2BIG),
    "unaligned": ([SKB, *KPTR, s(16, (5, 4))], errno.EFAULT),
    "to a declaration": ([t.Fwd("sk_buff"), *KPTR, s(8, (5, 0))], 0),
    "an attribute": ([SKB, t.TypeTag("kptr", 3, True), t.Ptr(4), s(8, (5, 0))], 0),
    "to void": ([OWN, t.TypeTag("kptr", 0), t.Ptr(4), LOCK, s(16, (5, 0), (6, 8))], errno.EINVAL),
    "to itself": ([t.Struct("selfish", 8, (t.Member("n", 5, 0),)), *KPTR], 0),
}  # fmt: skip
KERNEL = blobs.build(t.Int("int", 4), TASK, SKB)


@pytest.mark.parametrize("name", POINTERS)
def test_the_error_of_pointers(name):
    types, number = POINTERS[name]
    try:
        check.check(blobs.build(U32, U64, *types).data, kernel=KERNEL)
        got = 0
    except check.BadBtf as e:
        got = e.errno
    assert got == number


@pytest.mark.kernel
@pytest.mark.parametrize("name", POINTERS)
def test_the_kernels_error_of_pointers(name):
    hostkernel.need_reference()
    data = blobs.build(U32, U64, *POINTERS[name][0]).data
    assert verdict(data, kernel=blobs.vmlinux()) == kernel_verdict(data)


def test_where_pointers_point():
    btf = blobs.build(U32, U64, *pointer(TASK, "kptr"))
    finder = fields.Finder(btf, fields.MAP_VALUE, KERNEL)
    (found,) = fields.parse_fields(btf, 6, finder)
    assert (found.special.name, found.value_type, found.kernel_type) == ("kptr", 3, 2)


def test_what_only_maps_hold():
    btf = blobs.build(U32, U64, TIMER, s(24, (3, 0), (2, 16)), t.Var("v", 3), t.Var("n", 1),
                      t.Datasec(".data", 32, (t.SecVar(6, 0, 4), t.SecVar(5, 8, 16))))  # fmt: skip
    finder = fields.Finder(btf, fields.MAP_VALUE)
    assert fields.parse_fields(btf, 4) == []
    assert [(f.special.name, f.offset) for f in fields.parse_fields(btf, 4, finder)] == [
        ("bpf_timer", 0)]  # fmt: skip
    assert [f.offset for f in fields.parse_fields(btf, 7, finder)] == [8]
    assert fields.parse_fields(btf, 1, finder) == []


def test_the_root_of_a_variable():
    """What it holds is said by a tag about the variable, not about the section."""
    foo = s(32, (5, 0), (2, 24), name="foo")
    btf = blobs.build(U32, U64, HEAD, LOCK, NODE, foo, t.Var("head", 3), t.Var("lock", 4),
                      t.DeclTag("contains:foo:m0", 7),
                      t.Datasec(".bss", 20, (t.SecVar(7, 0, 16), t.SecVar(8, 16, 4))))  # fmt: skip
    finder = fields.Finder(btf, fields.MAP_VALUE)
    assert [(f.special.name, f.offset) for f in fields.parse_fields(btf, 10, finder)] == [
        ("bpf_list_head", 0), ("bpf_spin_lock", 16)]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_error(name):
    types, number = CASES[name]
    assert verdict(blobs.build(U32, U64, *types).data)[0] == number


@pytest.mark.kernel
@pytest.mark.parametrize("name", CASES)
def test_the_kernels_error(name):
    hostkernel.need_reference()
    data = blobs.build(U32, U64, *CASES[name][0]).data
    assert verdict(data) == kernel_verdict(data)


def test_what_is_found():
    btf = blobs.build(U32, U64, *listing("contains:foo:m0"))
    head, lock = fields.parse_fields(btf, 7)
    assert (head.special.name, head.offset) == ("bpf_list_head", 0)
    assert (head.value_type, head.node_member) == (6, "m0")
    assert (lock.special.name, lock.offset) == ("bpf_spin_lock", 16)


def test_empty_structs_that_multiply_are_refused():
    levels = [t.Struct("", 0, (t.Member("a", i, 0), t.Member("b", i, 0))) for i in range(3, 33)]
    types = [t.Struct("", 0), *levels, LOCK, s(8, (34, 0), (33, 8))]
    with pytest.raises(fields.BadFields) as caught:
        fields.check_fields(Btf(blobs.build(U32, U64, *types).data))
    assert caught.value.errno == errno.E2BIG
