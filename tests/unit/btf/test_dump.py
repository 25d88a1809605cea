"""C text: bpftool's for real BTF, and the compiler's opinion of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from anybpf import uapi
from anybpf.btf import decl, dump
from anybpf.btf import types as t
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from unit.btf import blobs

SOURCE = """
struct late; union only_declared;
typedef int (*callback)(struct late *self, const char *, ...);
typedef struct { int x; struct { long y; union { char c; short d[2][3]; }; } in[2]; } anon_t;
struct late { callback fn; struct late *next; anon_t a; union only_declared *u; anon_t *(*m[4])(void); };
struct __attribute__((packed)) tight { char c; long l; int i:3; };
struct holes { char a; long long:0; int b:3; int:5; int c:7; char d; int :32; long e; };
struct empty {};
struct bits { unsigned a:1; unsigned b:31; unsigned long c:40; unsigned d:2; };
enum colour { RED, GREEN = 7, BLUE = -1 }; enum huge { HUGE = 0x123456789ULL };
enum __attribute__((mode(byte))) tiny { TINY };
struct uses { enum colour c; enum huge h; enum tiny t; const volatile int *const restrict p;
  enum { IN_PLACE } inside; _Bool b; double f; __int128 w; void (*(*s)(int))(int); };
struct uses *uses; struct late late; struct tight tight; struct holes holes; struct empty empty;
struct bits bits; const int (*array_pointer)[3]; int *(*matrix[2])[3][4];
int __attribute__((btf_type_tag("user"))) *tagged;
"""  # noqa: E501


def without_modes(text: str) -> str:
    """bpftool before 7.2 forgets that an enum has one byte."""
    return text.replace(" __attribute__((mode(byte)))", "")


def bpftool(path: Path) -> str:
    return blobs.bpftool("btf", "dump", "file", str(path), "format", "c")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    where = tmp_path_factory.mktemp("dump")
    return blobs.compiled(SOURCE, where, "-Wno-everything"), where / "object.o"


def test_the_text_is_bpftools(source):
    btf, path = source
    assert without_modes(dump.dump_c(btf)) == without_modes(bpftool(path))


def test_the_text_of_real_objects_is_bpftools():
    for path in blobs.xdp_objects():
        data = blobs.elf_section(path, ".BTF")
        if data:
            assert without_modes(dump.dump_c(Btf(data))) == without_modes(bpftool(path))


@pytest.fixture(scope="module")
def vmlinux_h():
    return dump.dump_c(blobs.vmlinux())


def test_vmlinux_is_dumped_as_bpftool_does(vmlinux_h):
    assert without_modes(vmlinux_h) == without_modes(bpftool(blobs.VMLINUX))


def sizes(btf: Btf) -> dict[str, tuple[int, list[tuple[str, int, int]]]]:
    """Struct name -> its size and its members' places."""
    composites = (one for _, one in btf.types() if isinstance(one, t.Composite) and one.name)
    return {
        one.name: (one.size, [(m.name, m.bit_offset, m.bitfield_size) for m in one.members])
        for one in composites
    }


def test_the_compiler_lays_it_out_the_same(source, tmp_path):
    btf = source[0]
    wanted = sizes(btf)
    names = "".join(f"struct {name} v_{name};\n" for name in wanted)
    assert sizes(blobs.compiled(dump.dump_c(btf) + names, tmp_path)) == wanted


def size_check(btf: Btf, one: t.Composite) -> str:
    """A C line that fails to compile if the compiler gives another size."""
    tag = f"{'struct' if one.kind == uapi.BTF_KIND_STRUCT else 'union'} {one.name}"
    return f'_Static_assert(sizeof({tag}) == {one.size}, "{one.name}");\n'


def holds_va_list(btf: Btf, one: t.Composite) -> bool:
    """va_list has another size on BPF than on the kernel's machine."""
    return any(btf.type(m.type).name == "va_list" for m in one.members)


def is_only_tag(btf: Btf, name: str) -> bool:
    """Has a struct, union or enum of this name no rival that makes it `name___2`?"""
    tags = t.Composite | t.AnyEnum
    return sum(isinstance(btf.type(i), tags) for i in btf.find_all(name)) == 1


def test_all_of_vmlinux_compiles_to_the_same_sizes(vmlinux_h, tmp_path):
    btf = blobs.vmlinux()
    composites = [one for _, one in btf.types() if isinstance(one, t.Composite) and one.name]
    only = [one for one in composites if is_only_tag(btf, one.name)]
    checks = [size_check(btf, one) for one in only if not holds_va_list(btf, one)]
    assert len(checks) > 5000
    blobs.compiles(vmlinux_h + "".join(checks), tmp_path)


BTF = blobs.build(
    t.Int("int", 4),
    t.Array(1, 1, 3),
    t.Array(2, 1, 2),
    t.Ptr(3),
    t.Const(4),
    t.FuncProto(5, (t.Param("a", 1), t.Param("", 0))),
    t.Ptr(6),
    t.Array(7, 1, 5),
    t.Const(0),
    t.Ptr(9),
    t.FuncProto(0),
    t.Ptr(11),
    t.FuncProto(12, (t.Param("n", 1), t.Param("f", 12))),
    t.Volatile(2),
)


@pytest.mark.parametrize(
    ("type_id", "text"),
    [
        (1, "int x"),
        (3, "int x[2][3]"),
        (4, "int (*x)[2][3]"),
        (8, "int (* const (*x[5])(int a, ...))[2][3]"),
        (10, "const void *x"),
        (13, "void (*x(int n, void (*f)(void)))(void)"),
        (14, "int x[3]"),
    ],
)
def test_declarators(type_id, text):
    assert dump.declaration(BTF, type_id, "x") == text


@pytest.mark.parametrize(
    ("arguments", "pads"),
    [
        ((8, 8, 1, False), []),
        ((8, 32, 4, False), []),
        ((8, 64, 4, False), [("long", 0)]),
        ((8, 16, 1, False), [("short", 0)]),
        ((3, 8, 1, True), [("char", 5)]),
        ((0, 128, 8, False), [("long", 64), ("long", 64)]),
        ((0, 96, 4, False), [("long", 64), ("int", 32)]),
        ((33, 40, 1, False), []),
    ],
)
def test_padding(arguments, pads):
    assert decl.padding(*arguments, long_bits=64) == pads


def test_equal_names_are_told_apart():
    btf = blobs.build(
        t.Int("int", 4),
        t.Struct("s", 4, (t.Member("a", 1, 0),)),
        t.Struct("s", 8, (t.Member("p", 4, 0),)),
        t.Ptr(2),
        t.Enum("e", 4, (t.EnumValue("A", 1),)),
        t.Enum("f", 4, (t.EnumValue("A", 2),)),
    )
    text = dump.dump_c(btf)
    assert "struct s___2 {\n\tstruct s *p;\n};" in text
    assert "\tA___2 = 2," in text


def test_only_what_is_asked_for():
    btf = blobs.build(t.Int("int", 4), t.Typedef("a", 1), t.Typedef("b", 2), t.Typedef("c", 1))
    text = dump.dump_c(btf, [btf.find("b", uapi.BTF_KIND_TYPEDEF)])
    assert text == dump.HEAD + "typedef int a;\n\ntypedef a b;\n\n" + dump.TAIL


def endless() -> list[list[t.Type]]:
    return [
        [t.Struct("s", 4, (t.Member("m", 1, 0),))],
        [t.Struct("", 4, (t.Member("m", 2, 0),)), t.Ptr(1)],
        [t.Typedef("t", 1)],
        [t.Ptr(2), t.Const(1)],
        [t.FuncProto(1)],
        [t.FuncProto(0, (t.Param("f", 2),)), t.Ptr(1)],
        [t.Int("int", 4), t.Struct("s", 1 << 31)],
        [t.FuncProto(0), *(t.FuncProto(i, (t.Param("a", i),)) for i in range(1, 40))],
        [t.Struct("s", 8, (t.Member("m", 2, 0),)), t.Func("f", 1)],
        [t.Typedef("a", 2), t.Array(3, 3, 1), t.Ptr(1)],
    ]


@pytest.mark.parametrize("types", endless())
def test_types_without_end_are_refused(types):
    btf = blobs.build(*types)
    with pytest.raises(LoadError):
        dump.dump_c(btf)


def test_a_declarator_without_end_is_refused():
    btf = blobs.build(t.FuncProto(0, (t.Param("f", 2),)), t.Ptr(1))
    with pytest.raises(LoadError, match="nested too deeply"):
        dump.declaration(btf, 1, "x")
