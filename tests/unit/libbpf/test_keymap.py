"""ir-keytable decoders: variables are parameters, put into the instructions."""

from __future__ import annotations

from anybpf import uapi
from anybpf.isa.insn import Insn
from anybpf.libbpf import elf as e
from anybpf.libbpf import read_object
from anybpf.libbpf.keymap import is_decoder, put_parameter
from anybpf.libbpf.spec import ObjectSpec, RefKind
from objects.elfbuild import ALLOC_WRITE, EXIT, MOV, ElfBuilder

LD64, HI = Insn(0x18, 1), Insn(0)


def decoder(section: str = "lirc_mode2/maps") -> ObjectSpec:
    made = ElfBuilder()
    code = made.code("lirc_mode2/x", [LD64, HI, LD64, HI, MOV, EXIT])
    maps = made.section(section, bytes(28), flags=ALLOC_WRITE)
    data = made.section(".data", b"\5\0\0\0\xfe\xff\xff\xff", flags=ALLOC_WRITE)
    made.function("bpf_decoder", code, 0, 48)
    made.symbol("state", maps, 0, 28)
    made.relocate(code, (0, made.symbol("first", data, 0, 4), e.R_BPF_64_64),
                  (16, made.symbol("second", data, 4, 4), e.R_BPF_64_64))
    return read_object(made.to_bytes(), "x")


def test_parameters() -> None:
    spec = decoder()
    program = spec.programs["bpf_decoder"]
    assert program.type == uapi.BPF_PROG_TYPE_LIRC_MODE2
    assert [r.kind for r in program.references] == [RefKind.PARAMETER] * 2
    assert not spec.maps["x.data"].autocreate
    insns = list(program.instructions)
    for ref in program.references:
        put_parameter(spec, insns, ref)
    assert insns[:4] == [LD64._replace(imm=5), HI, LD64._replace(imm=-2), HI._replace(imm=-1)]


def test_others_keep_their_variables() -> None:
    spec = decoder("maps")
    assert not is_decoder(spec)
    assert [r.kind for r in spec.programs["bpf_decoder"].references] == [RefKind.MAP_VALUE] * 2
