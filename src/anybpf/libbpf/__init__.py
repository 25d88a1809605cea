"""Object files to specs to loaded objects, over any backend (tools/lib/bpf/libbpf.c)."""

from __future__ import annotations

from anybpf.libbpf.bpf import Backend, TestRun
from anybpf.libbpf.map import Map
from anybpf.libbpf.object import Object
from anybpf.libbpf.program import Program
from anybpf.libbpf.read import read_object
from anybpf.libbpf.spec import DataSection, MapSpec, ObjectSpec, ProgramSpec

__all__ = ["Backend", "DataSection", "Map", "MapSpec", "Object", "ObjectSpec", "Program",
           "ProgramSpec", "TestRun", "read_object"]
