"""Ask the running kernel which arguments of its tracepoints may be NULL.

A program that reads every argument is loaded for each tracepoint, and never attached; the log of
the verifier says what each argument is. Prints the rows of `anybpf.proto.tracepoints.NULLABLE`.

    python tools/gen_tracepoints.py
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator

from anybpf import uapi
from anybpf.btf import types as t
from anybpf.btf.kernel import load_vmlinux
from anybpf.btf.parse import Btf
from anybpf.errors import BpfError
from anybpf.isa.asm import assemble
from anybpf.isa.insn import encode
from anybpf.linux import Linux
from anybpf.syscall.attr import FIELDS, SIZE

PREFIX = "btf_trace_"
LOG_SIZE = 1 << 16
LOAD = re.compile(r"r2 = \*\(u64 \*\)\(r1 \+(\d+)\)(.*?)(?=\n\d+: \(|\Z)", re.S)


def tracepoints(btf: Btf) -> Iterator[tuple[str, int, int]]:
    """Name, id and number of arguments of each."""
    for type_id, made in btf.types():
        if isinstance(made, t.Typedef) and made.name.startswith(PREFIX):
            pointer = btf.expect(made.type, t.Ptr)
            proto = btf.expect(pointer.type, t.FuncProto)
            yield made.name.removeprefix(PREFIX), type_id, len(proto.params) - 1


def log_of(kernel: Linux, type_id: int, count: int) -> str:
    """What the verifier says of a program that reads all arguments."""
    source = "".join(f"r2 = *(u64 *)(r1 + {8 * i})\n" for i in range(count)) + "r0 = 0\nexit"
    insns = encode(assemble(source))
    code, licence = ctypes.create_string_buffer(insns), ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(LOG_SIZE)
    attr = bytearray(SIZE)
    fields = {
        "prog_type": uapi.BPF_PROG_TYPE_TRACING, "expected_attach_type": uapi.BPF_TRACE_RAW_TP,
        "attach_btf_id": type_id, "insns": ctypes.addressof(code), "insn_cnt": len(insns) // 8,
        "license": ctypes.addressof(licence), "log_level": 2, "log_size": LOG_SIZE,
        "log_buf": ctypes.addressof(log),
    }
    for name, value in fields.items():
        codec = FIELDS[name].codec
        assert codec is not None
        codec.pack_into(attr, FIELDS[name].start, value)
    try:
        kernel.close(kernel.bpf(uapi.BPF_PROG_LOAD, attr))
    except BpfError:
        return ""
    return log.value.decode(errors="replace")


def main() -> None:
    kernel = Linux()
    for name, type_id, count in sorted(tracepoints(load_vmlinux())):
        log = log_of(kernel, type_id, count)
        found = tuple(int(off) // 8 for off, said in LOAD.findall(log) if "or_null" in said)
        if found:
            print(f'    "{name}": {found},')


if __name__ == "__main__":
    main()
