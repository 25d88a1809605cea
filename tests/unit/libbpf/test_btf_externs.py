"""BTF without externs: accepted by the kernel, ids and strings unmoved."""

from __future__ import annotations

from typing import Any

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.libbpf import bpf, read_object
from anybpf.libbpf.btf_externs import DUMMY, without_externs
from conftest import Build


def test_what_changes(build: Build) -> None:
    spec = read_object(build("externs.bpf.c").read_bytes())
    assert spec.btf is not None
    made = without_externs(spec.btf, spec.externs)
    assert made.strings.startswith(spec.btf.strings)
    assert len(made) == len(spec.btf) + 1
    kfunc = made.expect(spec.externs["bpf_no_such_kfunc"].btf_id, t.Func)
    assert kfunc.linkage == uapi.BTF_FUNC_GLOBAL
    assert [p.name for p in made.expect(kfunc.type, t.FuncProto).params] == [DUMMY]
    config = made.expect(made.find(".kconfig", uapi.BTF_KIND_DATASEC), t.Datasec)
    assert config.size == 29
    assert [row.offset for row in config.vars] == [0, 8, 12, 16, 20, 28]
    symbols = made.expect(made.find(".ksyms", uapi.BTF_KIND_DATASEC), t.Datasec)
    assert (symbols.size, [row.offset for row in symbols.vars]) == (12, [0, 4, 8])
    variables = [made.type(row.type) for row in (*config.vars, *symbols.vars)]
    assert all(isinstance(v, t.Var) and v.linkage == uapi.BTF_VAR_GLOBAL_ALLOCATED
               for v in variables)


def test_without_externs_nothing_changes(build: Build) -> None:
    spec = read_object(build("features.bpf.c").read_bytes())
    assert spec.btf is not None
    assert without_externs(spec.btf, spec.externs) is spec.btf


def test_both_backends_take_it(build: Build, backend: Any) -> None:
    spec = read_object(build("externs.bpf.c").read_bytes())
    assert spec.btf is not None
    data = without_externs(spec.btf, spec.externs).to_bytes()
    fd = bpf.btf_load(backend, data)
    assert bpf.btf_bytes(backend, fd) == data
    backend.close(fd)
