"""Decoders of infrared protocols as ir-keytable has them (v4l-utils, utils/keytable/bpf_load.c).

Such an object keeps its maps in `lirc_mode2/maps`, and its global variables are the protocol's
parameters: the program takes a variable's *address* and means its value, which the loader puts
there. So no map is made of them; set them as usual (`obj.data.header_pulse = 9000`) before loading.
"""

from __future__ import annotations

from anybpf import uapi
from anybpf.isa.insn import Insn
from anybpf.libbpf.spec import Code, ObjectSpec, Reference, RefKind

MAPS = "lirc_mode2/maps"
PARAMETER_SIZE = 4


def is_decoder(spec: ObjectSpec) -> bool:
    """True for an object written for ir-keytable's loader."""
    lirc = all(p.type == uapi.BPF_PROG_TYPE_LIRC_MODE2 for p in spec.programs.values())
    return lirc and any(name == MAPS for name, _ in spec.sections)


def make_parameters(spec: ObjectSpec) -> None:
    """Turn references to variables into parameters, if the object is a decoder."""
    if not is_decoder(spec):
        return
    for made in spec.maps.values():
        made.autocreate = made.data is None
    for code in {id(f.code): f.code for f in spec.functions.values()}.values():
        _in_code(code)


def _in_code(code: Code) -> None:
    for at, ref in code.references.items():
        if ref.kind is RefKind.MAP_VALUE:
            code.references[at] = ref._replace(kind=RefKind.PARAMETER)


def put_parameter(spec: ObjectSpec, insns: list[Insn], ref: Reference) -> None:
    """Make the ld_imm64 of `ref` load the parameter's value, sign-extended from 32 bits."""
    data = spec.maps[ref.target].data
    assert data is not None
    raw = data.content[ref.offset:ref.offset + PARAMETER_SIZE]
    value = int.from_bytes(raw, spec.byteorder, signed=True)
    low, high = insns[ref.insn:ref.insn + 2]
    insns[ref.insn] = low._replace(src=0, imm=value)
    insns[ref.insn + 1] = high._replace(imm=-1 if value < 0 else 0)
