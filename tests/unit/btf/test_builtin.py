"""The small BTF built in: whole, in C, and good enough for CO-RE."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from anybpf import toolchain, uapi, uapi_structs
from anybpf.btf import builtin as table
from anybpf.btf import kernel
from anybpf.btf import types as t
from anybpf.btf.builtin import builtin
from anybpf.btf.check import check
from anybpf.btf.dump import dump_c
from anybpf.errors import LoadError
from anybpf.libbpf import Object
from anybpf.machine import Machine

PROGRAM = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, u32); __type(value, u64);
         __uint(max_entries, 8); } seen SEC(".maps");

SEC("raw_tp/x") int offsets(u64 *ctx)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    u32 tgid = BPF_CORE_READ(task, real_parent, tgid), uid = BPF_CORE_READ(task, cred, uid.val);
    u64 ino = BPF_CORE_READ(task, mm, exe_file, f_inode, i_ino);
    bpf_map_update_elem(&seen, &tgid, &ino, BPF_ANY);
    return uid + bpf_core_field_exists(task->comm) + bpf_core_type_exists(struct sk_buff);
}
SEC("xdp") int first(struct xdp_md *ctx) { return ctx->data ? XDP_PASS : XDP_DROP; }
SEC("kprobe/x") int BPF_KPROBE(probe, struct sock *sk)
{
    return BPF_CORE_READ(sk, __sk_common.skc_dport) + BPF_CORE_READ(sk, __sk_common.skc_family);
}
char _license[] SEC("license") = "GPL";
"""


def composites() -> Iterator[t.Composite]:
    return (made for _, made in builtin().types() if isinstance(made, t.Composite) and made.name)


def test_it_is_whole() -> None:
    made = builtin()
    assert builtin() is made
    check(made.to_bytes(), verbose=False, kernel=None)
    names = [c.name for c in composites()]
    assert len(names) == len(set(names)) > 100
    forward = {one.name for _, one in made.types() if isinstance(one, t.Fwd)}
    assert not forward & set(names)


@pytest.mark.parametrize("name", table.UAPI)
def test_uapi_structs_are_laid_out_as_they_are(name: str) -> None:
    made, known = builtin(), uapi_structs.STRUCTS[name]
    type_id = made.find(name, uapi.BTF_KIND_STRUCT)
    assert made.size_of(type_id) == known.size
    found = dict(places(type_id, 0))
    for member in known.members:
        if not member.bits:
            assert found[member.name] == member.offset, member.name


def places(type_id: int, start: int, prefix: str = "") -> Iterator[tuple[str, int]]:
    """(dotted name, byte) of every member, those of anonymous ones as their parents'."""
    made = builtin()
    found = made.type(made.resolve(type_id))
    if isinstance(found, t.Composite):
        for m in found.members:
            at = start + m.bit_offset // 8
            if m.name:
                yield prefix + m.name, at
            inner = made.type(made.resolve(m.type))
            if isinstance(inner, t.Composite) and not inner.name:
                yield from places(m.type, at, f"{prefix}{m.name}." if m.name else prefix)


def test_as_c_it_compiles_to_the_same(tmp_path: Path) -> None:
    compiler = toolchain.find_compiler()
    if compiler is None:
        pytest.skip("no clang and no ziglang package installed")
    source = tmp_path / "types.c"
    checks = (f'_Static_assert(sizeof({"union" if isinstance(c, t.Union) else "struct"} {c.name})'
              f' == {c.size}, "{c.name}");\n' for c in composites())
    source.write_text(dump_c(builtin()) + "".join(checks))
    made = toolchain.compile_file(source, tmp_path / "types.o", compiler=compiler,
                                  options=["-Wno-everything"])
    assert made.is_file()


def test_programs_find_their_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                    caplog: pytest.LogCaptureFixture) -> None:
    """Compiled for these types where there is no kernel's; relocated and run on them."""
    if toolchain.find_compiler() is None:
        pytest.skip("no clang and no ziglang package installed")
    monkeypatch.setattr(kernel, "candidates", lambda release=None: [])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source, said = tmp_path / "prog.bpf.c", list[str]()
    source.write_text(PROGRAM)
    try:
        path = toolchain.compile_file(source, tmp_path / "prog.bpf.o", warn=said.append)
    except subprocess.TimeoutExpired:
        pytest.skip("the compiler takes too long")
    assert len(said) == 1
    assert "using the types built into anybpf for vmlinux.h" in said[0]
    with Machine(btf="builtin") as machine, Object.open(path) as obj:
        with caplog.at_level(logging.DEBUG, logger="anybpf.libbpf"):
            obj.load(machine)
        assert obj.programs["first"].test_run(data=bytes(64)).retval == uapi.XDP_PASS
        assert obj.programs["offsets"].fd is not None
    about = [m for m in caplog.messages if "relo #" in m]
    assert sum("matching candidate #0" in m for m in about) > 10
    assert not any("non-matching" in m or "no matching" in m for m in about)


def test_host_kernels_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "vmlinux").write_bytes(builtin().to_bytes())
    monkeypatch.setattr(kernel, "candidates", lambda release=None: [tmp_path / "vmlinux"])
    assert kernel.load_vmlinux_or_builtin(said.append) is not builtin()
    assert not said
    monkeypatch.setattr(kernel, "candidates", lambda release=None: [tmp_path / "none"])
    assert kernel.load_vmlinux_or_builtin(said.append) is builtin()
    assert "no BTF of the running kernel" in said[0]
    with pytest.raises(LoadError):
        kernel.load_vmlinux()


def test_machine_takes_the_word() -> None:
    with Machine(btf="builtin") as machine:
        assert machine.kernel_btf() == builtin().to_bytes()
    with pytest.raises(ValueError, match="builtin"):
        Machine(btf="other")  # type: ignore[arg-type]
