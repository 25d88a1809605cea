"""BTF to C to BTF: the compiler makes the same types of our text, in both byte orders."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from anybpf.btf import dump
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from unit.btf import blobs

SCALARS = ("char", "signed char", "unsigned char", "short", "unsigned short", "int",
           "unsigned int", "long", "unsigned long", "long long", "_Bool", "float", "double",
           "enum shade", "enum wide", "enum small", "word_t")  # fmt: skip
BITFIELDS = {"unsigned char": 8, "short": 16, "int": 32, "unsigned int": 32, "unsigned long": 64,
             "long long": 64, "_Bool": 1, "enum shade": 32}  # fmt: skip
HEAD = """
typedef unsigned int word_t; typedef int (*callback_t)(const char *, ...); struct never;
enum shade { DARK, LIGHT = 5, NONE = -3 }; enum wide { FAR = 0x1234567890ULL };
enum __attribute__((mode(byte))) small { TINY, SMALL };
"""
ATTRIBUTES = ("", "", "__attribute__((packed))", "__attribute__((aligned(16)))",
              "__attribute__((packed, aligned(4)))")  # fmt: skip


class Program:
    """C source of many structs, each of which may use the ones before it."""

    def __init__(self, seed: int) -> None:
        self.rnd = random.Random(seed)
        self.known: list[str] = []
        self.names = (f"m{i}" for i in itertools.count())

    def source(self, count: int) -> str:
        text = HEAD
        for i in range(count):
            kind = self.rnd.choice(("struct", "struct", "struct", "union"))
            attribute = self.rnd.choice(ATTRIBUTES)
            text += f"{kind} {attribute} t{i} {{ {self.members(0)} }};\n{kind} t{i} v{i};\n"
            self.known.append(f"{kind} t{i}")
        return text

    def members(self, depth: int) -> str:
        names = itertools.islice(self.names, self.rnd.randint(0, 6))
        return " ".join([self.member(name, depth) for name in names])

    def member(self, name: str, depth: int) -> str:
        """One declaration, of one of many forms."""
        rnd = self.rnd
        form = rnd.randrange(10)
        if form < 3:
            kind = rnd.choice(list(BITFIELDS))
            width = rnd.randint(1, BITFIELDS[kind])
            padding = f"int :{rnd.choice((0, 3))};" if rnd.random() < 0.2 else ""
            return f"{padding} {kind} {name}:{width};"
        if form == 3 and depth < 3:
            inner = next(self.names)
            kind = rnd.choice(("struct", "union"))
            attribute = rnd.choice(("", "", "__attribute__((packed))"))
            body = self.members(depth + 1)
            name = rnd.choice(("", name, f"{name}[2]"))
            return f"{kind} {attribute} {{ char {inner}; {body} }} {name};"
        if form == 4 and self.known:
            return f"{rnd.choice(self.known)} {name};"
        return f"{rnd.choice(SCALARS)} {self.declarator(name)};"

    def declarator(self, name: str) -> str:
        shapes = ("{}", "{}", "{}", "{}[3]", "{}[2][4]", "*{}", "*const {}", "*{}[2]", "(*{})[3]",
                  "(*{})(int, struct never *)", "(*(*{})(void))[2]", "*volatile *{}")  # fmt: skip
        return self.rnd.choice(shapes).format(name)


def described(btf: Btf) -> dict[str, object]:
    """Everything about the named structs and unions, down to the types of their members."""

    def composite(made: t.Composite) -> object:
        return made.kind_name, made.size, [
            (m.name, m.bit_offset, m.bitfield_size, member(m.type)) for m in made.members
        ]  # fmt: skip

    def member(type_id: int) -> object:
        made = btf.type(type_id)
        if isinstance(made, t.Composite) and not made.name:
            return composite(made)
        if isinstance(made, t.Array):
            return made.nelems, member(made.type)
        return dump.declaration(btf, type_id, "x")

    return {
        one.name: composite(one)
        for _, one in btf.types()
        if isinstance(one, t.Composite) and one.name
    }


def compile_again(btf: Btf, text: str, tmp_path, target: str) -> Btf:
    """What the compiler makes of the text and a variable of every struct in it."""
    (tmp_path / "again").mkdir()
    tags = (
        f"{'union' if isinstance(one, t.Union) else 'struct'} {one.name}"
        for _, one in btf.types()
        if isinstance(one, t.Composite) and one.name
    )
    variables = "".join(f"{tag} again_{i};\n" for i, tag in enumerate(tags))
    source = "#define BPF_NO_PRESERVE_ACCESS_INDEX\n" + text + variables
    return blobs.compiled(source, tmp_path / "again", "-Wno-everything", target=target)


@pytest.mark.parametrize("target", ["bpfel", "bpfeb"])
@pytest.mark.parametrize("seed", range(6))
def test_the_compiler_gives_the_same_types_back(seed, target, tmp_path):
    source = Program(seed).source(60)
    btf = blobs.compiled(source, tmp_path, "-Wno-everything", target=target)
    again = compile_again(btf, dump.dump_c(btf), tmp_path, target)
    assert again.byteorder == btf.byteorder
    wanted, got = described(btf), described(again)
    assert got.keys() >= wanted.keys()
    for name, one in wanted.items():
        assert got[name] == one, name


def bare(text: str) -> list[str]:
    """Lines without the attributes that bpftool leaves out, and without marks between bitfields."""
    lines = (re.sub(r" __attribute__\(\(.*?\)\)(?!\))", "", line) for line in text.splitlines())
    return [line for line in lines if not re.fullmatch(r"\t+\w+: \d+;", line)]


@pytest.mark.parametrize("seed", range(6, 9))
def test_but_for_layout_the_text_is_bpftools(seed, tmp_path):
    btf = blobs.compiled(Program(seed).source(60), tmp_path, "-Wno-everything")
    text = blobs.bpftool("btf", "dump", "file", str(tmp_path / "object.o"), "format", "c")
    assert bare(dump.dump_c(btf)) == bare(text)
