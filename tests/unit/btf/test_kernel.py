"""Finding BTF: bare files, ELF files, the running kernel's."""

from __future__ import annotations

import pytest

from anybpf.btf import kernel
from anybpf.btf import types as t
from anybpf.errors import LoadError
from unit.btf import blobs


def test_a_bare_file(tmp_path):
    path = tmp_path / "x.btf"
    path.write_bytes(blobs.build(t.Int("int", 4)).data)
    assert kernel.load(path).find("int") == 1
    assert kernel.is_btf(path.read_bytes())
    assert not kernel.is_btf(b"\x7fELF....")


def test_an_elf_file():
    assert len(kernel.load(blobs.xdp_objects()[0])) > 10


@pytest.mark.parametrize("cut", [4, 20, 63, 64, 100, 500, 2000, 5000])
def test_a_broken_elf_file_is_one_load_error(cut):
    data = blobs.xdp_objects()[0].read_bytes()
    with pytest.raises(LoadError):
        kernel.from_bytes(data[:cut])


def test_an_elf_file_without_btf():
    data = blobs.xdp_objects()[0].read_bytes().replace(b".BTF\0", b".BTX\0")
    with pytest.raises(LoadError, match="no such section"):
        kernel.from_bytes(data.replace(b".rel.BTF\0", b".rel.BTX\0"))


def test_the_running_kernel():
    assert kernel.load_vmlinux().data == blobs.vmlinux().data
    with pytest.raises(LoadError, match="module 'no-such-thing'"):
        kernel.load_module("no-such-thing", blobs.vmlinux())


def test_the_search_order_ends_with_an_explanation(monkeypatch):
    monkeypatch.setattr(kernel, "VMLINUX", ("/nowhere/vmlinux-{}",))
    with pytest.raises(LoadError, match="/nowhere/vmlinux-"):
        kernel.load_vmlinux()
    assert [str(p) for p in kernel.candidates("6.1")] == []


def test_a_given_file_wins(tmp_path):
    path = tmp_path / "own.btf"
    path.write_bytes(blobs.build(t.Int("own", 4)).data)
    assert kernel.load_vmlinux(path).find("own") == 1
