"""The selftests' tables (tools/testing/selftests/bpf/verifier/*.c) as programs to load.

The kernel's own test_verifier.c is compiled with `selftest_recorder.c`, which writes down what each
test would load instead of loading it; here the objects are made and the programs put before both
verifiers.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anybpf import uapi
from anybpf.btf.parse import Btf
from anybpf.isa.insn import Insn, decode
from kernel.both_verifiers import Both
from kernel.calls import Calls
from kernel.selftest_sources import Tree

HERE = Path(__file__).parent
RECORDER = [HERE / "selftest_recorder.c", HERE / "selftest_absent.c"]
INCLUDES = ("tools/include", "tools/include/uapi", "tools/lib")
#: a type tag that newer kernels do not know by the old name
RENAMED = (b"\0kptr_ref\0", b"\0kptr\0\0\0\0\0")
FIRST_PLACEHOLDER = 100_000

Line = dict[str, Any]


def build(tree: Tree, folder: Path) -> Path:
    """The recorder for a tree's tables."""
    (folder / "verifier").mkdir(parents=True, exist_ok=True)
    (folder / "verifier" / "tests.h").write_text("".join(
        f'{{ .descr = "@{path.stem}" }},\n#include "{path}"\n'
        for path in sorted(tree.selftests.glob("verifier/*.c"))))
    made = folder / "recorder"
    subprocess.run(["gcc", "-w", "-O0", "-ffunction-sections", "-Wl,--gc-sections", f"-I{folder}",
                    *tree.includes(folder, INCLUDES), *map(str, RECORDER), "-o", str(made)],
                   check=True, timeout=300)
    return made


@dataclass
class Table:
    """A test of the tables: its name and the objects it makes, the program last."""

    file: str
    name: str
    lines: list[Line] = field(default_factory=list)


def tables(tree: Tree, folder: Path) -> Iterator[Table]:
    """Every test of a tree's tables; `folder` is for what is built."""
    lines = folder / "tables.json"
    subprocess.run([build(tree, folder), lines], check=True, timeout=300)
    test: Table | None = None
    with lines.open() as file:
        for line in map(json.loads, file):
            if line["kind"] == "test":
                if test is not None:
                    yield test
                test = Table(line["file"] and _text(line["file"]), _text(line["name"]))
            else:
                assert test is not None
                test.lines.append(line)
    if test is not None:
        yield test


def _text(data: str) -> str:
    return bytes.fromhex(data).decode()


class Replay:
    """Makes a test's objects in the running kernel, and the attr that would load its program."""

    def __init__(self, both: Both, vmlinux: Btf) -> None:
        self.both = both
        self.vmlinux = vmlinux
        self.calls = Calls(both)
        self.real: dict[int, int] = {}

    def attr(self, table: Table) -> bytearray | None:
        """None where the kernel lacks something the program needs."""
        attr = None
        for line in table.lines:
            attr = getattr(self, "_" + line["kind"])(line)
        assert attr is None or isinstance(attr, bytearray)
        return attr

    def close(self) -> None:
        self.calls.close()

    def _fd(self, placeholder: int) -> int:
        return self.real.get(placeholder, placeholder)

    def _map(self, line: Line) -> None:
        typed = {} if not line["btf"] else {
            "btf_fd": self._fd(line["btf"]), "btf_key_type_id": line["key_type"],
            "btf_value_type_id": line["value_type"]}
        if line["inner"]:
            typed["inner_map_fd"] = self._fd(line["inner"])
        self.real[line["fd"]] = self.calls.map(
            line["type"], line["key"], line["value"], line["entries"], map_flags=line["flags"],
            map_name=bytes.fromhex(line["name"]), **typed)

    def _update(self, line: Line) -> None:
        value = bytes.fromhex(line["value"])
        if int.from_bytes(value[:4], "little") in self.real:
            value = self._fd(int.from_bytes(value[:4], "little")).to_bytes(4, "little")
        self.calls.call(uapi.BPF_MAP_UPDATE_ELEM, map_fd=self._fd(line["fd"]),
                        key=bytes.fromhex(line["key"]), value=value)

    def _btf(self, line: Line) -> None:
        data = bytes.fromhex(line["data"]).replace(*RENAMED)
        self.real[line["fd"]] = self.calls.btf(data)

    def _dummy(self, line: Line) -> None:
        self.real[line["fd"]] = self.calls.must(uapi.BPF_PROG_LOAD, **self._fields(line))

    def _id(self, line: Line) -> None:
        self.real[line["id"]] = self.vmlinux.find(_text(line["name"]), uapi.BTF_KIND_FUNC)

    def _attach(self, line: Line) -> None:
        name = _text(line["name"])
        if line["attach_type"] == uapi.BPF_LSM_MAC:
            name = f"bpf_lsm_{name}"
        kind = uapi.BTF_KIND_FUNC
        if line["attach_type"] == uapi.BPF_TRACE_RAW_TP:
            name, kind = f"btf_trace_{name}", uapi.BTF_KIND_TYPEDEF
        if line["attach_type"] == uapi.BPF_TRACE_ITER:
            name = f"bpf_iter_{name}"
        self.real[line["id"]] = self.vmlinux.find(name, kind)

    def _prog(self, line: Line) -> bytearray:
        fields = self._fields(line) | {
            "expected_attach_type": line["attach_type"], "prog_flags": line["flags"],
            "attach_btf_id": self._fd(line["attach_id"])}
        if line["btf"]:
            fields["prog_btf_fd"] = self._fd(line["btf"])
        if line["func_count"]:
            fields |= {"func_info": bytes.fromhex(line["func_info"]),
                       "func_info_cnt": line["func_count"], "func_info_rec_size": line["func_size"]}
        return self.calls.packed(fields)

    def _fields(self, line: Line) -> dict[str, Any]:
        insns = [self._insn(insn) for insn in decode(bytes.fromhex(line["insns"]))]
        return self.calls.prog_fields(insns, prog_type=line["type"],
                                      license=bytes.fromhex(line["license"]) + b"\0")

    def _insn(self, insn: Insn) -> Insn:
        if insn.imm in self.real and insn.imm >= FIRST_PLACEHOLDER:
            return insn._replace(imm=self.real[insn.imm])
        return insn
