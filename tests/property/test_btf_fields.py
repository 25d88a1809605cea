"""Structs of locks, lists and kernel pointers at random: our verdict is the kernel's."""

from __future__ import annotations

import random

import pytest

from anybpf.btf import types as t
from unit.btf import blobs, hostkernel
from unit.btf.test_check import kernel_verdict, verdict
from unit.btf.test_fields import HEAD, LEAF, LOCK, NODE, REF, ROOT, TIMER

SPECIAL = (LOCK, HEAD, NODE, ROOT, LEAF, REF, TIMER)
NAMES = ("task_struct", "sk_buff", "foo", "bar", "baz")
TAGS = ("kptr", "kptr_untrusted", "percpu_kptr", "uptr", "other")


class Program:
    """Types that a program could have; `sizes` of those that can be members."""

    def __init__(self, seed: int) -> None:
        self.rnd = random.Random(seed)
        self.types: list[t.Type] = []
        self.sizes: dict[int, int] = {}
        self.add(t.Int("unsigned int", 4), 4)
        self.add(t.Int("unsigned long", 8), 8)
        for one in self.rnd.sample(SPECIAL, self.rnd.randint(0, 3)):
            self.add(one, one.size)
        for _ in range(self.rnd.randint(3, 9)):
            self.rnd.choice((self.struct, self.struct, self.pointer, self.array, self.tag,
                             self.qualifier, self.declaration))()  # fmt: skip

    def add(self, made: t.Type, size: int = 0) -> int:
        self.types.append(made)
        if size:
            self.sizes[len(self.types)] = size
        return len(self.types)

    def any(self) -> int:
        return self.rnd.randint(1, len(self.types))

    def struct(self) -> None:
        members, at = [], 0
        for i in range(self.rnd.randint(1, 4)):
            chosen = self.rnd.choice(list(self.sizes))
            members.append(t.Member(f"m{i}", chosen, 8 * at))
            at += -(-self.sizes[chosen] // 8) * 8
        self.add(t.Struct(self.rnd.choice(NAMES), at, tuple(members)), at)

    def pointer(self) -> None:
        self.add(t.Ptr(self.add(t.TypeTag(self.rnd.choice(TAGS), self.any()))), 8)

    def array(self) -> None:
        element, count = self.rnd.choice(list(self.sizes)), self.rnd.randint(1, 3)
        self.add(t.Array(element, 1, count), count * self.sizes[element])

    def qualifier(self) -> None:
        target = self.any()
        self.add(self.rnd.choice((t.Volatile, t.Const))(target), self.sizes.get(target, 0))

    def tag(self) -> None:
        structs = [i for i, one in enumerate(self.types, 1) if isinstance(one, t.Struct)]
        if structs:
            owner = self.rnd.choice(structs)
            text = f"contains:{self.rnd.choice(NAMES)}:m{self.rnd.randrange(4)}"
            self.add(t.DeclTag(text, owner, self.rnd.randrange(len(self.types[owner - 1].members))))

    def declaration(self) -> None:
        self.add(t.Fwd(self.rnd.choice(NAMES)))


@pytest.mark.kernel
def test_the_kernels_verdict():
    hostkernel.need_reference()
    kernel, accepted = blobs.vmlinux(), 0
    for seed in range(400):
        data = blobs.build(*Program(seed).types).data
        want = kernel_verdict(data)
        assert verdict(data, kernel=kernel) == want, seed
        accepted += not want[0]
    assert 50 < accepted < 350
