"""vmlinux.h, whole and slim, from small and from real kernels."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anybpf import toolchain
from anybpf.btf import kernel
from anybpf.btf import types as t
from anybpf.btf.encode import BtfBuilder
from anybpf.btf.parse import Btf
from anybpf.errors import LoadError
from anybpf.libbpf import Object
from anybpf.toolchain import vmlinux
from conftest import OBJECTS
from unit.toolchain.compilers import small_kernel

DEFINED = re.compile(r"^(?:struct|enum) (\w+) \{|^typedef .* (\w+);|^\t([A-Z_]+) = ", re.M)


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def slim(tmp_path: Path, text: str) -> set[str]:
    """The types that a slim header defines for a source with this text."""
    source = tmp_path / "x.bpf.c"
    source.write_text('#include "vmlinux.h"\n' + text)
    header = vmlinux.slim(Btf(small_kernel()), source, [])
    return {name for names in DEFINED.findall(header) for name in names if name}


@pytest.mark.parametrize(("text", "expected"), [
    ("int f;", set()),
    ("u32 f;", {"u32"}),
    ("struct leaf f;", {"u32", "leaf"}),
    ("struct node *f;", {"u32", "inside", "node"}),
    ("int f(struct node *n) { return n->inside.leaf->depth; }",
     {"u32", "inside", "leaf", "node"}),
    ("int f(struct node *n) { return n->far->x; }", {"u32", "inside", "distant", "node"}),
    ("int leaf = COLOUR_RED;", {"COLOUR_RED"}),
    ("/* struct leaf */ char *f = \"struct leaf\"; // struct leaf", set()),
    ("enum shape f;", {"shape", "SHAPE_ROUND"}),
])
def test_slim(tmp_path: Path, text: str, expected: set[str]) -> None:
    assert slim(tmp_path, text) == expected


def test_slim_declares_what_it_leaves_out(tmp_path: Path) -> None:
    source = tmp_path / "x.bpf.c"
    source.write_text("struct node f;")
    header = vmlinux.slim(Btf(small_kernel()), source, [])
    assert "struct distant;\n" in header
    assert "struct distant {" not in header


@pytest.mark.parametrize("loop", [
    [t.Ptr(1)], [t.Ptr(2), t.Ptr(1)], [t.Array(2, 2, 4), t.Ptr(1)],
])
def test_types_without_end(tmp_path: Path, loop: list[t.Type]) -> None:
    made = BtfBuilder()
    made.add_all([*loop, t.Struct("node", 8, (t.Member("next", 1, 0),))])
    source = tmp_path / "x.bpf.c"
    source.write_text("struct node n; int next;")
    with pytest.raises(LoadError, match="types are nested too deeply"):
        vmlinux.slim(Btf(made.to_bytes()), source, [])


def test_slim_follows_includes(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "more.h").write_text("struct leaf *leaf;")
    assert slim(tmp_path, "#include <more.h>\n") == set()
    source = tmp_path / "x.bpf.c"
    assert "struct leaf {" in vmlinux.slim(Btf(small_kernel()), source, [tmp_path / "folder"])


def test_the_whole_header_is_kept(a_cache_of_its_own: Path, tmp_path: Path,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    btf = Btf(small_kernel())
    folder = vmlinux.cached(btf, tmp_path)
    assert folder.is_relative_to(a_cache_of_its_own)
    assert [p.name for p in folder.iterdir()] == ["vmlinux.h"]
    text = (folder / "vmlinux.h").read_text()
    assert "struct unrelated {" in text
    monkeypatch.setattr("anybpf.btf.dump.dump_c", None)     # not made a second time
    assert vmlinux.cached(btf, tmp_path) == folder


def test_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert vmlinux.cached(Btf(small_kernel()), tmp_path / "spare") == tmp_path / "spare"


def test_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "candidates", lambda release=None: [Path("/none/vmlinux")])
    with pytest.raises(LoadError, match="choose a file with --btf"):
        vmlinux.load()


def test_an_object_opened_for_another_kernel(tmp_path: Path) -> None:
    """The BTF that CO-RE goes by is the one that a source's vmlinux.h is of."""
    if toolchain.find_compiler() is None:
        pytest.skip("no clang and no ziglang package installed")
    (tmp_path / "types.btf").write_bytes(small_kernel())
    source = tmp_path / "x.bpf.c"
    source.write_text('#include "vmlinux.h"\n__attribute__((section("raw_tp"), used)) '
                      "u32 f(struct node *n) { return n->hidden; }\n")
    obj = Object.open(source, btf=tmp_path / "types.btf")
    assert questions(obj, "f") == [(0, 0, "node", "0:1")]


def host() -> Btf:
    try:
        return kernel.load_vmlinux()
    except LoadError as error:
        pytest.skip(str(error))


def questions(obj: Object, name: str) -> list[tuple[int, int, str, str]]:
    """What a program asks the loader: where, of which kind, about which part of which type."""
    btf = obj.btf
    assert btf is not None
    return [(r.insn_off, r.kind, btf.type(r.type_id).name, btf.string(r.access_str_off))
            for r in obj.programs[name].spec.core_relos]


@pytest.mark.kernel
def test_this_kernel(tmp_path: Path) -> None:
    """Programs with the running kernel's types: the slim header gives the same as the whole."""
    if toolchain.find_compiler() is None:
        pytest.skip("no clang and no ziglang package installed")
    source = OBJECTS / "vmlinux.bpf.c"
    (tmp_path / "vmlinux.h").write_text(vmlinux.slim(host(), source, []))
    said: list[str] = []
    slim, whole = (
        Object.open(toolchain.compile_file(source, tmp_path / "x.o", options=options,
                                           prefer="own", warn=said.append))
        for options in ([f"-I{tmp_path}"], []))
    assert said == []
    for name in ("on_unlink", "on_switch", "on_open", "dump"):
        ours, theirs = slim.programs[name], whole.programs[name]
        assert ours.instructions == theirs.instructions
        assert questions(slim, name) == questions(whole, name) != []
