"""The raw listing is bpftool's, as text and as JSON."""

from __future__ import annotations

import json

import pytest

from anybpf.btf import raw
from anybpf.btf.parse import Btf
from unit.btf import blobs


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "every_kind.btf"
    path.write_bytes(blobs.build(*blobs.every_kind()).data)
    return path


def test_every_kind_as_text(file):
    assert raw.dump_raw(Btf(file.read_bytes())) == blobs.bpftool("btf", "dump", "file", str(file))


def test_every_kind_as_json(file):
    wanted = json.loads(blobs.bpftool("-j", "btf", "dump", "file", str(file)))["types"]
    assert raw.describe_all(Btf(file.read_bytes())) == wanted


def test_real_objects_as_text():
    for path in blobs.xdp_objects():
        data = blobs.elf_section(path, ".BTF")
        if data:
            assert raw.dump_raw(Btf(data)) == blobs.bpftool("btf", "dump", "file", str(path))
