"""Made-up BTF of a program's structs and data: locks, timers, lists, trees, kernel pointers.

Most of it makes sense, so that what does not is refused for one reason at a time.
"""

from __future__ import annotations

import random

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf

#: kernel structs that programs embed: bytes
SIZES = {
    "bpf_spin_lock": 4, "bpf_res_spin_lock": 4, "bpf_timer": 16, "bpf_wq": 16, "bpf_task_work": 8,
    "bpf_list_head": 16, "bpf_list_node": 24, "bpf_rb_root": 16, "bpf_rb_node": 32,
    "bpf_refcount": 4,
}
NODE_OF = {"bpf_list_head": "bpf_list_node", "bpf_rb_root": "bpf_rb_node"}
LOCKS = ("bpf_spin_lock", "bpf_res_spin_lock")
TAGS = ("kptr", "kptr_untrusted", "percpu_kptr", "uptr")
#: structs of the kernel: some that pointers may own, and others
KERNELS = ("task_struct", "cgroup", "bpf_cpumask", "sk_buff", "sock")
OWN = ("foo", "bar", "baz", "qux")
U32, U64 = 1, 2
#: how often something is made not as it should be
ODD = 0.04
PAGE = 4096


class SpecialTypes:
    """Types of one program: `data` are the structs and data sections that a value may be."""

    def __init__(self, seed: int) -> None:
        self.rnd = random.Random(seed)
        self.types: list[t.Type] = []
        self.size: dict[int, int] = {}
        self.special: dict[str, int] = {}
        self.data: list[int] = []
        self._plain: list[int] = []
        self._add(t.Int("unsigned int", 4), 4)
        self._add(t.Int("unsigned long", 8), 8)
        for name in self.rnd.sample(sorted(SIZES), self.rnd.randint(1, 5)):
            self.special[name] = self._special(name)
        for name, node in NODE_OF.items():
            if name in self.special and node not in self.special and not self._odd(5):
                self.special[node] = self._special(node)
        for _ in range(self.rnd.randint(2, 7)):
            self.rnd.choice((self._struct, self._struct, self._pointer, self._array,
                             self._alias))()
        self._struct()
        if self.rnd.random() < 0.5:
            self._section()

    def build(self) -> Btf:
        made = BtfBuilder()
        made.add_all(self.types)
        return made.build()

    # -- how

    def _odd(self, times: float = 1) -> bool:
        return self.rnd.random() < ODD * times

    def _add(self, made: t.Type, size: int = 0) -> int:
        self.types.append(made)
        if size:
            self.size[len(self.types)] = size
        return len(self.types)

    def _special(self, name: str) -> int:
        size = SIZES[name] + (8 if self._odd(0.5) else 0)
        word = U32 if size < 8 else U64
        step = 4 if size < 8 else 8
        members = tuple(t.Member(f"w{at}", word, 8 * at) for at in range(0, size, step))
        kind = t.Union if self._odd(0.3) else t.Struct
        return self._add(kind(name, size, members), size)

    def _struct(self) -> None:
        """A struct of members that may be there, each at its place."""
        members: list[t.Member] = []
        at = 0
        for number in range(self.rnd.randint(1, 5)):
            chosen = self._member()
            step = 1 if self._odd(0.5) else min(8, 4 if self.size[chosen] % 8 else 8)
            at = -(-at // step) * step + (4 if self._odd(0.3) else 0)
            members.append(t.Member(f"m{number}", chosen, 8 * at))
            at += self.size[chosen] - (4 if self._odd(0.2) else 0)
        self._lock(members, at)
        at = max((m.bit_offset // 8 + self.size[m.type] for m in members), default=0)
        name = self.rnd.choice(KERNELS) if self._odd() else self.rnd.choice(OWN)
        size = max(-(-at // 8) * 8, 8)
        owner = self._add(t.Struct(name, size, tuple(members)), size)
        self._plain.append(owner)
        self.data.append(owner)
        self._tags(owner, members)

    def _lock(self, members: list[t.Member], at: int) -> None:
        """Roots need a lock."""
        lock = next((self.special[name] for name in LOCKS if name in self.special), 0)
        rooted = any(self._holds_root(m.type) for m in members)
        locked = any(m.type == lock for m in members)
        if rooted and not self._odd(3) and lock and not locked:
            members.append(t.Member("lock", lock, 8 * (-(-at // 4) * 4)))

    def _holds_root(self, number: int) -> bool:
        made = self.types[number - 1]
        if isinstance(made, t.Array):
            return self._holds_root(made.type)
        if isinstance(made, t.Struct):
            return made.name in NODE_OF or any(self._holds_root(m.type) for m in made.members)
        return False

    def _member(self) -> int:
        """A type that a member may have."""
        if self.special and self.rnd.random() < 0.6:
            return self.rnd.choice(list(self.special.values()))
        return self.rnd.choice(list(self.size))

    def _tags(self, owner: int, members: list[t.Member]) -> None:
        """What the roots of a struct contain."""
        for index, member in enumerate(members):
            root = self._root(member.type)
            if root and not self._odd():
                self._add(t.DeclTag(self._contains(NODE_OF[root]), owner, index))
            if root and self._odd():
                self._add(t.DeclTag(self._contains(NODE_OF[root]), owner, index))

    def _root(self, number: int) -> str:
        made = self.types[number - 1]
        while isinstance(made, t.Array):
            made = self.types[made.type - 1]
        return made.name if isinstance(made, t.Struct) and made.name in NODE_OF else ""

    def _contains(self, node: str) -> str:
        """The text of a tag, mostly a right one."""
        if self._odd():
            return self.rnd.choice(("contains:", "contains:foo", "contains:foo:", "contains::m0",
                                    "contains:nothing:m0", "contains:unsigned int:m0",
                                    "contains:foo:nothing", "contains:foo:m0:m1", "contained"))
        right = [(made.name, member.name) for made in self.types
                 if isinstance(made, t.Struct) and made.name not in SIZES
                 for member in made.members if member.type == self.special.get(node)]
        if right and not self._odd():
            return ":".join(("contains", *self.rnd.choice(right)))
        return f"contains:{self.rnd.choice(OWN)}:m{self.rnd.randrange(3)}"

    def _pointer(self) -> None:
        """A pointer to a kernel struct or one of the program's."""
        if self.rnd.random() < 0.5 and self._plain:
            target = self.rnd.choice(self._plain)
        elif self._odd(2):
            target = self._add(t.Fwd(self.rnd.choice((*KERNELS, *OWN))))
        elif self._odd():
            target = self.rnd.randint(0, len(self.types))
        else:
            name = self.rnd.choice((*KERNELS, "big", "empty"))
            size = {"big": 2 * PAGE, "empty": 0}.get(name, 8)
            target = self._add(t.Struct(name, size, ()))
        if self._odd(2):
            target = self._add(self.rnd.choice((t.Const, t.Volatile))(target))
        tag = "other" if self._odd() else self.rnd.choice(TAGS)
        tagged = self._add(t.TypeTag(tag, target))
        if self._odd():
            tagged = self._add(t.TypeTag(self.rnd.choice((*TAGS, "user")), tagged))
        pointer = self._add(t.Ptr(tagged), 8)
        self.special[f"pointer {pointer}"] = pointer

    def _array(self) -> None:
        element = self._member()
        count = self.rnd.choice((1, 2, 2, 3, 12, 0))
        self._add(t.Array(element, U32, count), count * self.size[element])

    def _alias(self) -> None:
        target = self._member()
        made = self.rnd.choice((t.Volatile(target), t.Const(target), t.Typedef("alias", target)))
        self._add(made, self.size[target])

    def _section(self) -> None:
        """A data section: global variables."""
        chosen = []
        at = 0
        for number in range(self.rnd.randint(1, 4)):
            type_id = self._member()
            var = self._add(t.Var(f"v{number}", type_id, uapi.BTF_VAR_GLOBAL_ALLOCATED))
            root = self._root(type_id)
            if root and not self._odd():
                self._add(t.DeclTag(self._contains(NODE_OF[root]), var, -1))
            at = -(-at // 8) * 8
            size = self.size[type_id] + (8 if self._odd(0.5) else 0)
            chosen.append(t.SecVar(var, at, size))
            at += size
        size = max(-(-at // 8) * 8, 8)
        name = self.rnd.choice((".bss", ".data", ".data.A"))
        section = self._add(t.Datasec(name, size, tuple(chosen)), size)
        self.data.append(section)
