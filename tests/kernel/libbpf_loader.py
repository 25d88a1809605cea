"""What the real libbpf hands to the kernel: bpftool, with a preloaded library taking notes."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.isa import insn as isa
from anybpf.isa.insn import Insn
from anybpf.linux import Linux

SOURCE = Path(__file__).with_name("capture.c")
SCRIPT = ('mount -t bpf bpffs /sys/fs/bpf && '
          'LD_PRELOAD="$1" exec bpftool -d prog loadall "$2" /sys/fs/bpf/progs')
#: first 64-bit load slots whose immediate is a descriptor, different on each load
WITH_FD = frozenset({uapi.BPF_PSEUDO_MAP_FD, uapi.BPF_PSEUDO_MAP_VALUE})


class Captured(NamedTuple):
    """Programs in the order they were loaded, by kernel name (15 bytes), and libbpf's log."""

    programs: list[tuple[str, list[Insn]]]
    log: str

    @property
    def failed(self) -> bool:
        """libbpf has refused to load the object."""
        return "libbpf: failed to load object" in self.log


class RealLoader:
    """Runs bpftool in a mount namespace of its own; nothing is attached, nothing stays."""

    def __init__(self, folder: Path) -> None:
        compiler = next(filter(None, map(shutil.which, ("gcc", "cc", "clang", "clang-19"))), None)
        if compiler is None or not shutil.which("bpftool") or not shutil.which("unshare"):
            pytest.skip("bpftool, unshare or a C compiler is not installed")
        self.folder = folder
        self.library = folder / "capture.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", self.library, SOURCE, "-ldl"],
                       check=True)

    def load(self, path: Path, names: Sequence[str], btf: Path | None = None) -> Captured:
        """What libbpf makes of the object's programs called `names`; `btf` replaces vmlinux's."""
        out = self.folder / "captured"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        wanted = ",".join(("", *(n[:15] for n in names), ""))
        extra = {"CAPTURE_DIR": str(out), "CAPTURE_NAMES": wanted}
        if btf is not None:
            extra["CAPTURE_BTF"] = str(btf)
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", SCRIPT, "sh", self.library, path],
            env=os.environ | extra, capture_output=True, text=True, timeout=60,
            check=False)
        files = sorted(out.iterdir())
        return Captured([(f.name.partition(".")[2], isa.decode(f.read_bytes())) for f in files],
                        done.stderr + done.stdout)


def masked(insns: Sequence[Insn]) -> list[Insn]:
    """The instructions without descriptors."""
    return [i._replace(imm=0) if isa.is_ld_imm64(i) and i.src in WITH_FD else i for i in insns]


class Recorder(Linux):
    """The running kernel, which is shown no program: they are written down instead."""

    def __init__(self) -> None:
        super().__init__()
        self.programs: list[tuple[str, list[Insn]]] = []

    def bpf(self, cmd: int, attr: bytearray) -> int:
        if cmd == uapi.BPF_PROG_LOAD:
            self._keep(attr)
            return os.open(os.devnull, os.O_RDONLY)
        try:
            return super().bpf(cmd, attr)
        except BpfError:
            if cmd == uapi.BPF_MAP_CREATE:               # as the preloaded library does
                return os.open(os.devnull, os.O_RDONLY)
            raise

    def _keep(self, attr: bytearray) -> None:
        count, address = struct.unpack_from("=IQ", attr, 4)
        name = bytes(attr[48:64]).partition(b"\0")[0].decode()
        self.programs.append((name, isa.decode(ctypes.string_at(address, 8 * count))))
