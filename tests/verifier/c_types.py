"""C declarations to BTF, as case files write them: one declaration a line.

    struct value { int count; struct bpf_spin_lock lock; };
    int main(struct __sk_buff *skb);
    static u64 helper(int number, void *memory __arg_nonnull);

A word that begins with `__` after a parameter, member or function is a declaration tag
(`__arg_nonnull` is `arg:nonnull`); before a star it is the type tag of what the star points to
(`struct task_struct __kptr *task`). Structs without a body are forward declarations.
"""

from __future__ import annotations

import re

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf

POINTER = 8
INTS = {
    "char": (1, uapi.BTF_INT_SIGNED), "bool": (1, uapi.BTF_INT_BOOL), "u8": (1, 0), "u16": (2, 0),
    "u32": (4, 0), "u64": (8, 0), "int": (4, uapi.BTF_INT_SIGNED), "s64": (8, uapi.BTF_INT_SIGNED),
    "long": (8, uapi.BTF_INT_SIGNED), "__u32": (4, 0), "__u64": (8, 0), "__u8": (1, 0),
    "__u16": (2, 0), "__int128": (16, uapi.BTF_INT_SIGNED),
}
FLOATS = {"float": 4, "double": 8}
#: structs that the kernel knows by name and size: (members' type and name ...)
KNOWN = {
    "bpf_spin_lock": "u32 val;", "bpf_res_spin_lock": "u32 val;", "bpf_refcount": "u32 __opaque;",
    "bpf_timer": "u64 __opaque[2];", "bpf_wq": "u64 __opaque[2];", "bpf_task_work": "u64 __opaque;",
    "bpf_list_head": "u64 __opaque[2];", "bpf_list_node": "u64 __opaque[3];",
    "bpf_rb_root": "u64 __opaque[2];", "bpf_rb_node": "u64 __opaque[4];",
    "bpf_dynptr": "u64 __opaque[2];",
    # contexts are known by their names
    "__sk_buff": "u32 len;", "xdp_md": "u32 data;", "bpf_sock": "u32 bound_dev_if;",
}
DEFINITION = re.compile(r"(struct|union|enum) (\w+) ?\{(.*)\}")
FUNCTION = re.compile(r"(static |extern |)([^(]*?)(\w+)\((.*?)\)((?: __\w+(?:\(.*?\))?)*)")
DECLARATION = re.compile(r"(?P<words>.*?)(?P<stars>\**) ?(?P<name>\w*)"
                         r"(?:\[(?P<number>\d+)\])?(?P<tags>(?: __\w+(?:\(.*?\))?)*)")
LINKAGE = {"static ": uapi.BTF_FUNC_STATIC, "": uapi.BTF_FUNC_GLOBAL,
           "extern ": uapi.BTF_FUNC_EXTERN}


class CTypes:
    """The types of some declarations; `ids` has those with a name."""

    def __init__(self, text: str) -> None:
        self.builder = BtfBuilder()
        self.types: list[t.Type] = []
        self.ids: dict[str, int] = {}
        self.built: tuple[bytes, Btf] | None = None
        for line in text.splitlines():
            if line.strip():
                self._line(" ".join(line.split()).rstrip(";"))
        self.builder.add_all(self.types)

    @property
    def blob(self) -> bytes:
        return self.builder.to_bytes()

    def parsed(self) -> Btf:
        """The same object as long as nothing is added."""
        blob = self.blob
        if self.built is None or self.built[0] != blob:
            self.built = blob, self.builder.build()
        return self.built[1]

    def string(self, text: str) -> int:
        """The offset of a string, which is added if it is not there."""
        return self.builder.string(text)

    def functions(self) -> list[str]:
        """Names of the functions, in order."""
        return [one.name for one in self.types if isinstance(one, t.Func)]

    def _add(self, made: t.Type, name: str = "") -> int:
        self.types.append(made)
        if name:
            self.ids[name] = len(self.types)
        return len(self.types)

    def _line(self, line: str) -> None:
        if found := DEFINITION.fullmatch(line):
            self._define(*found.groups())
        elif found := FUNCTION.fullmatch(line):
            self._function(*found.groups())
        elif line.startswith("typedef "):
            name, made, _ = self._declared(line.removeprefix("typedef "))
            self._add(t.Typedef(name, made), name)
        else:
            self._base(line)

    def _base(self, words: str) -> int:
        """The id of what is named by words without stars."""
        if words == "void" or words in self.ids:
            return self.ids.get(words, 0)
        if words.startswith("const "):
            return self._add(t.Const(self._base(words.removeprefix("const "))), words)
        if words in INTS:
            size, encoding = INTS[words]
            return self._add(t.Int(words, size, encoding=encoding), words)
        if words in FLOATS:
            return self._add(t.Float(words, FLOATS[words]), words)
        kind, _, tag = words.partition(" ")
        assert kind in ("struct", "union"), f"unknown type {words!r}"
        if tag in KNOWN:
            return self._define(kind, tag, KNOWN[tag])
        return self._add(t.Fwd(tag, kind == "union"), words)

    def _declared(self, text: str) -> tuple[str, int, list[str]]:
        """(name, type, tags) of one declaration."""
        found = DECLARATION.fullmatch(text.strip())
        assert found is not None, text
        words = found["words"].split()
        tags = [w for before, w in zip(["", *words], words, strict=False)
                if w.startswith("__") and w not in INTS and before not in ("struct", "union")]
        name, plain = found["name"], [w for w in words if w not in tags]
        if not plain and not found["stars"]:
            plain, name = [name], ""
        elif plain in (["struct"], ["union"], ["enum"], ["const"]):
            plain, name = [*plain, name], ""
        made = self._base(" ".join(plain))
        for tag in tags:
            made = self._add(t.TypeTag(tag[2:], made))
        for _ in found["stars"]:
            made = self._add(t.Ptr(made))
        if found["number"]:
            made = self._add(t.Array(made, self._base("int"), int(found["number"])))
        return name, made, found["tags"].split()

    def _define(self, kind: str, tag: str, body: str) -> int:
        if kind == "enum":
            values = tuple(t.EnumValue(n.strip(), i) for i, n in enumerate(body.split(",")))
            return self._add(t.Enum(tag, 4, values), f"enum {tag}")
        end, align, members, tagged = 0, 1, [], []
        for number, text in enumerate(body.split(";")[:-1]):
            name, made, tags = self._declared(" ".join(text.split()))
            size, natural = self._layout(made)
            start = 0 if kind == "union" else _up(end, natural)
            members.append(t.Member(name, made, 8 * start))
            end, align = max(end, start + size), max(align, natural)
            tagged += [(number, tag) for tag in tags]
        cls = t.Union if kind == "union" else t.Struct
        made = self._add(cls(tag, _up(end, align), tuple(members)), f"{kind} {tag}")
        self._tag(made, tagged)
        return made

    def _function(self, linkage: str, returned: str, name: str, params: str, tags: str) -> None:
        result = self._declared(returned.strip())[1]
        found, tagged = [], [(-1, tag) for tag in tags.split()]
        for number, text in enumerate(params.split(",") if params.strip() else ()):
            if text.strip() == "...":
                found.append(t.Param("", 0))
                continue
            param, made, more = self._declared(" ".join(text.split()))
            found.append(t.Param(param, made))
            tagged += [(number, tag) for tag in more]
        proto = self._add(t.FuncProto(result, tuple(found)), f"{name}()")
        self._tag(self._add(t.Func(name, proto, LINKAGE[linkage]), name), tagged)

    def _tag(self, made: int, tagged: list[tuple[int, str]]) -> None:
        for number, tag in tagged:
            self._add(t.DeclTag(_tag_text(tag), made, number))

    def _layout(self, type_id: int) -> tuple[int, int]:
        """(size, alignment)"""
        made = self.types[type_id - 1]
        if isinstance(made, t.Array):
            size, align = self._layout(made.type)
            return size * made.nelems, align
        if isinstance(made, t.Typedef | t.Const | t.TypeTag):
            return self._layout(made.type)
        if isinstance(made, t.Composite):
            return made.size, max((self._layout(m.type)[1] for m in made.members), default=1)
        size = made.size if isinstance(made, t.Int | t.AnyEnum | t.Float) else POINTER
        return size, size


def _tag_text(tag: str) -> str:
    """`__arg_ctx` is `arg:ctx`, `__contains(node,next)` is `contains:node:next`."""
    name, _, inside = tag.removeprefix("__").partition("(")
    if inside:
        return ":".join((name, *(part.strip() for part in inside.rstrip(")").split(","))))
    return name.replace("_", ":", 1) if name.startswith("arg_") else name


def _up(offset: int, step: int) -> int:
    return -(-offset // step) * step
