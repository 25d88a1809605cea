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
    host = blobs.vmlinux()                # skips where there is none
    assert kernel.load_vmlinux().data == host.data
    with pytest.raises(LoadError, match="module 'no-such-thing'"):
        kernel.load_module("no-such-thing", blobs.vmlinux())


def test_the_search_order_ends_with_an_explanation(monkeypatch):
    monkeypatch.setattr(kernel, "VMLINUX", ("/nowhere/vmlinux-{}", "/nowhere/{}/vmlinux-{}"))
    monkeypatch.setattr(kernel, "VMLINUZ", ())
    with pytest.raises(LoadError, match="BTF of the running kernel in /nowhere/vmlinux-"):
        kernel.load_vmlinux()
    with pytest.raises(LoadError, match=r"BTF of kernel 6\.1 in /nowhere/6\.1/vmlinux-6\.1$"):
        kernel.load_vmlinux(release="6.1")


def test_libbpfs_search_order():
    order = [str(one) for one in kernel.candidates("6.1")]
    assert order[:7] == [
        "/boot/vmlinux-6.1",
        "/lib/modules/6.1/vmlinux-6.1",
        "/lib/modules/6.1/build/vmlinux",
        "/usr/lib/modules/6.1/kernel/vmlinux",
        "/usr/lib/debug/boot/vmlinux-6.1",
        "/usr/lib/debug/boot/vmlinux-6.1.debug",
        "/usr/lib/debug/lib/modules/6.1/vmlinux",
    ]
    assert str(kernel.candidates()[0]) == "/sys/kernel/btf/vmlinux"


def test_an_error_names_the_file(tmp_path):
    junk = tmp_path / "junk"
    junk.write_bytes(b"no kernel")
    with pytest.raises(LoadError) as caught:
        kernel.load(junk)
    assert caught.value.file == str(junk)
    assert str(caught.value).startswith(f"{junk}: offset 0x0: neither BTF nor an ELF file")


def test_what_is_broken_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "a-6.1").write_bytes(b"no kernel")
    (tmp_path / "c-6.1").write_bytes(blobs.build(t.Int("c", 4)).data)
    places = ["", *(str(tmp_path / name) for name in ("a-{}", "b-{}", "c-{}"))]
    monkeypatch.setattr(kernel, "VMLINUX", places)
    assert kernel.load_vmlinux(release="6.1").find("c") == 1
    (tmp_path / "c-6.1").unlink()
    monkeypatch.setattr(kernel, "VMLINUZ", ())
    with pytest.raises(LoadError, match=r"a-6\.1 \(neither BTF nor .*\), .*b-6\.1, .*c-6\.1$"):
        kernel.load_vmlinux(release="6.1")


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A /sys/kernel/btf with two modules, one of them broken."""
    base = blobs.build(t.Int("int", 4))
    monkeypatch.setattr(kernel, "SYSFS", tmp_path)
    (tmp_path / "vmlinux").write_bytes(base.data)
    (tmp_path / "good_one").write_bytes(blobs.build(t.Typedef("good_t", 1), base=base).data)
    (tmp_path / "torn").write_bytes(blobs.build(t.Int("x", 4), base=base).data[:-3])
    return base


def test_modules(modules, tmp_path):
    assert kernel.modules() == ["good_one", "torn"]
    assert kernel.load_module("good-one", modules).find("good_t") == 2
    assert kernel.load(tmp_path / "good_one").base.data == modules.data


def test_a_broken_module_is_warned_of(modules):
    said = []
    assert list(kernel.load_modules(modules, said.append)) == ["good_one"]
    assert len(said) == 1
    assert said[0].startswith("failed to load module [torn]'s BTF: ")
    with pytest.warns(UserWarning, match="torn"):
        kernel.load_modules(modules)


def test_a_given_file_wins(tmp_path):
    path = tmp_path / "own.btf"
    path.write_bytes(blobs.build(t.Int("own", 4)).data)
    assert kernel.load_vmlinux(path).find("own") == 1
