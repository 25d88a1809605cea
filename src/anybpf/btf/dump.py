"""BTF as C declarations (tools/lib/bpf/btf_dump.c).

C wants a type complete before it is embedded and at least declared before it is pointed at. So two
walks: *order* finds which definitions a type needs before itself (not through pointers, where a
forward declaration does), *emit* writes them with the forward declarations that are missing.
The text is that of `bpftool btf dump ... format c`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from anybpf.btf import types as t
from anybpf.btf.decl import Declarator
from anybpf.btf.graph import referenced, references
from anybpf.btf.layout import Layout
from anybpf.btf.parse import SECTION, Btf
from anybpf.errors import LoadError

HEAD = """\
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

"""
TAIL = """\
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
"""

#: nested references, and steps for each type, before the BTF is taken for an endless one
MAX_NESTING, FREE_STEPS, STEPS_PER_TYPE = 150, 1 << 16, 64

#: names of integers that some compilers refer to without ever defining them
ALIASES = {
    "__Poly8_t": "unsigned char",
    "__Poly16_t": "unsigned short",
    "__Poly64_t": "unsigned long long",
    "__Poly128_t": "unsigned __int128",
}
BUILT_IN = "__builtin_va_list"


def dump_c(btf: Btf, ids: Iterable[int] | None = None) -> str:
    """A header with the types `ids` (None: all) and everything that they need.

    Raises LoadError for types that C cannot express, such as a struct inside itself.
    """
    dump = CDump(btf)
    for type_id in range(1, len(btf)) if ids is None else ids:
        dump.add(type_id)
    return HEAD + dump.text() + TAIL


def declaration(btf: Btf, type_id: int, name: str = "") -> str:
    """`name` declared as this type, in one piece: `int (*name)[3]`; a cast's type without name."""
    return Declarator(btf, Layout(btf)).declare(type_id, name)


class State(Enum):
    """How far a type has come in one of the walks."""

    NEW = 0
    OPEN = 1
    DONE = 2


class CDump:
    """Collects C text; `add` appends a type with what it needs and is not there yet."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.decl = Declarator(btf, Layout(btf))
        self._out: list[str] = []
        self._order: dict[int, State] = {0: State.DONE}
        self._emit: dict[int, State] = {}
        self._forward: set[int] = set()
        self._queue: list[int] = []
        self._depth = 0
        self._steps = FREE_STEPS + STEPS_PER_TYPE * len(btf)
        self._referenced: set[int] | None = None

    def text(self) -> str:
        """All declarations so far."""
        return "".join(self._out)

    def add(self, type_id: int) -> None:
        """Append the definition of a type and all that it needs first."""
        self._queue = []
        self._order_type(type_id, False)
        for one in self._queue:
            self._emit_type(one, 0)

    def _put(self, text: str) -> None:
        self._out.append(text + ";\n\n")

    def _enter(self, type_id: int) -> None:
        self._depth += 1
        self._steps -= 1
        if self._depth > MAX_NESTING or self._steps < 0:
            raise self._error("types are nested too deeply", type_id)

    def _error(self, message: str, type_id: int) -> LoadError:
        return LoadError(message, SECTION, self.btf.offset_of(type_id))

    # -- which definitions come first ---------------------------------------------------------

    def _order_type(self, type_id: int, through_ptr: bool) -> bool:
        """Queue what this type needs, then itself. Is it defined now (not only declared)?"""
        state = self._order.get(type_id, State.NEW)
        made = self.btf.type(type_id)
        if state is State.DONE:
            return True
        if state is State.OPEN:
            if isinstance(made, t.Composite) and through_ptr and made.name:
                return False
            raise self._error("a type contains itself", type_id)
        self._enter(type_id)
        strong = self._order_new(type_id, made, through_ptr)
        self._depth -= 1
        return strong

    def _order_new(self, type_id: int, made: t.Type, through_ptr: bool) -> bool:
        if isinstance(made, t.Composite):
            return self._order_composite(type_id, made, through_ptr)
        if isinstance(made, t.Typedef):
            return self._order_typedef(type_id, made, through_ptr)
        if isinstance(made, t.AnyEnum | t.Fwd):
            if made.name or type_id not in self._all_referenced():
                self._queue.append(type_id)
            self._order[type_id] = State.DONE
            return True
        if isinstance(made, t.FuncProto):
            parts = [made.type, *(p.type for p in made.params)]
            defined = [self._order_type(part, through_ptr) for part in parts]
            return any(defined)
        if isinstance(made, t.Ptr):
            strong = self._order_type(made.type, True)
            self._order[type_id] = State.DONE
            return strong
        if isinstance(made, t.Array):
            return self._order_type(made.type, False)
        if isinstance(made, t.Ref | t.TypeTag):
            return self._order_type(made.type, through_ptr)
        self._order[type_id] = State.DONE
        return False

    def _order_composite(self, type_id: int, made: t.Composite, through_ptr: bool) -> bool:
        if through_ptr and made.name:
            return False
        self._order[type_id] = State.OPEN
        for member in made.members:
            self._order_type(member.type, False)
        if made.name:
            self._queue.append(type_id)
        self._order[type_id] = State.DONE
        return True

    def _order_typedef(self, type_id: int, made: t.Typedef, through_ptr: bool) -> bool:
        strong = self._order_type(made.type, through_ptr)
        if through_ptr and not strong:
            return False
        self._queue.append(type_id)
        self._order[type_id] = State.DONE
        return True

    def _all_referenced(self) -> set[int]:
        """Types that another refers to: an anonymous enum among them is written in its place."""
        if self._referenced is None:
            self._referenced = referenced(self.btf)
        return self._referenced

    # -- writing ------------------------------------------------------------------------------

    def _emit_type(self, type_id: int, inside: int) -> None:
        """Write a definition (`inside` is 0), or what a part of definition `inside` needs."""
        state = self._emit.get(type_id, State.NEW)
        if state is State.DONE or not type_id:
            return None
        made = self.btf.type(type_id)
        if state is State.OPEN:
            return self._emit_open(type_id, made, inside)
        self._enter(type_id)
        self._emit_new(type_id, made, inside)
        self._depth -= 1
        return None

    def _emit_open(self, type_id: int, made: t.Type, inside: int) -> None:
        """A reference to what is being written: declare it ahead, once."""
        if type_id in self._forward:
            return
        if isinstance(made, t.Composite):
            if type_id == inside or not made.name:
                return
            self._put(self.decl.tag(type_id, made))
        elif isinstance(made, t.Typedef):
            self._emit_typedef(type_id, made)
        self._forward.add(type_id)

    def _emit_new(self, type_id: int, made: t.Type, inside: int) -> None:
        if isinstance(made, t.Composite):
            self._emit_composite(type_id, made, inside)
        elif isinstance(made, t.Typedef):
            self._emit[type_id] = State.OPEN
            self._emit_type(made.type, type_id)
            if type_id not in self._forward:
                self._emit_typedef(type_id, made)
            self._emit[type_id] = State.DONE
        elif isinstance(made, t.Int | t.AnyEnum | t.Fwd):
            self._emit_simple(type_id, made, inside)
        else:
            for part in references(made):
                self._emit_type(part, inside)

    def _emit_simple(self, type_id: int, made: t.Type, inside: int) -> None:
        if isinstance(made, t.Int):
            if made.name in ALIASES:
                self._put(f"typedef {ALIASES[made.name]} {made.name}")
        elif isinstance(made, t.Fwd):
            self._put(self.decl.tag(type_id, made))
        elif isinstance(made, t.AnyEnum):
            if inside:
                return
            self._put(self.decl.enum(type_id, made, 0))
        self._emit[type_id] = State.DONE

    def _emit_typedef(self, type_id: int, made: t.Typedef) -> None:
        if made.name == BUILT_IN:
            return
        if made.name == "__gnuc_va_list" and not made.type:
            self._put(f"typedef {BUILT_IN} {made.name}")
            return
        name = self.decl.identifier(type_id, made.name)
        self._put("typedef " + self.decl.declare(made.type, name))

    def _emit_composite(self, type_id: int, made: t.Composite, inside: int) -> None:
        self._emit[type_id] = State.OPEN
        if not inside or not made.name:
            for member in made.members:
                self._emit_type(member.type, type_id if made.name else inside)
        elif type_id not in self._forward and type_id != inside:
            self._put(self.decl.tag(type_id, made))
            self._forward.add(type_id)
        if inside:
            self._emit[type_id] = State.NEW
        else:
            self._put(self.decl.composite(type_id, made, 0))
            self._emit[type_id] = State.DONE
