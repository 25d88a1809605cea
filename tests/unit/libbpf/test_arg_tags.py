"""Context parameters by tag, for kernels that know them by type name only."""

from __future__ import annotations

from typing import Any

import pytest

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.errors import BpfError
from anybpf.libbpf import Object, arg_tags, bpf
from conftest import Build


def fixed(build: Build) -> tuple[Object, Any, dict[str, Any]]:
    obj = Object.open(build("tags.bpf.c"))
    assert obj.btf is not None
    btf, infos = arg_tags.fix_up(obj.btf, obj.spec.programs.values())
    return obj, btf, infos


def func_of(btf: Any, table: Any, row: int) -> t.Func:
    found: t.Func = btf.expect(int.from_bytes(table.rows[row].rest[:4], "little"), t.Func)
    return found


def test_tagged_functions_get_a_copy_for_each_type_of_program(build: Build) -> None:
    _, btf, infos = fixed(build)
    assert set(infos) == {"on_packet", "on_buffer"}
    for name, context in (("on_packet", "xdp_md"), ("on_buffer", "__sk_buff")):
        table = infos[name]
        copies = [func_of(btf, table, i) for i in range(len(table.rows))]
        tagged = next(f for f in copies if f.name == "by_tag")
        proto = btf.expect(tagged.type, t.FuncProto)
        target = btf.type(btf.type(proto.params[0].type).type)
        assert (target.name, len(proto.params)) == (context, 2)
        assert [p.name for p in proto.params] == ["ctx", "more"]


def test_tags_come_along(build: Build) -> None:
    obj, btf, _ = fixed(build)
    assert obj.btf is not None
    before = arg_tags.tagged_params(obj.btf)
    after = arg_tags.tagged_params(btf)
    assert len(after) == len(before) + 2
    assert all(components == {0} for components in after.values())


def test_what_needs_no_copy(build: Build) -> None:
    obj, _, infos = fixed(build)
    names = {"already", "on_packet"}
    kept = [r for r in infos["on_packet"].rows if r in
            obj.spec.programs["on_packet"].linked.func_info.rows]
    assert len(kept) == len(infos["on_packet"].rows) - 1
    assert names <= {f.name for f in obj.spec.functions.values()}
    plain = Object.open(build("features.bpf.c"))
    assert plain.btf is not None
    assert arg_tags.fix_up(plain.btf, plain.spec.programs.values()) == (plain.btf, {})


@pytest.mark.kernel
def test_the_kernel_takes_the_copies(build: Build, linux: Any,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own reading of tags is out of the way: the tags are renamed."""
    monkeypatch.setattr(type(linux), "kernel_version", (6, 1, 0))
    renamed = build("tags.bpf.c").read_bytes().replace(b"arg:ctx", b"xxx:ctx")
    with pytest.raises(BpfError):
        Object.open(renamed).load(linux)
    monkeypatch.setattr(arg_tags, "TAG", "xxx:ctx")
    with Object.open(renamed).load(linux) as obj:
        assert obj.programs["on_packet"].test_run(bytes(64)).retval == 5


@pytest.mark.kernel
def test_newer_kernels_read_the_tags_themselves(build: Build, linux: Any) -> None:
    if linux.kernel_version < arg_tags.NATIVE_SINCE:
        pytest.skip("this kernel is older than 6.8")
    with Object.open(build("tags.bpf.c")).load(linux) as obj:
        info = obj.programs["on_packet"].info()
        assert isinstance(info["btf_id"], int)
        fd = bpf.get_fd_by_id(linux, uapi.BPF_BTF_GET_FD_BY_ID, info["btf_id"])
        size = bpf.obj_info(linux, fd, "bpf_btf_info")["btf_size"]
        linux.close(fd)
        assert obj.btf is not None
        assert size == len(obj.btf.to_bytes())
