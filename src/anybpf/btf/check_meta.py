"""Is each BTF record well formed by itself? (kernel/bpf/btf.c: check_meta)

The first pass of BTF_LOAD: lengths, reserved bits, names, offsets. It follows no type id, only sees
that it is small enough to be one.
"""

from __future__ import annotations

from collections.abc import Callable

from anybpf import bits, uapi
from anybpf.btf.check_env import HEAD_SIZE, MAX_NAME, WORD, Env, Rec
from anybpf.btf.types import ELEMENT_WORDS, FIXED_WORDS, KIND_NAMES
from anybpf.errors import ENOTSUPP

INFO_MASK = 0x9F00FFFF
INT_MASK = 0x0FFFFFFF
#: bits of the widest integer, __int128
MAX_INT_BITS = 128
FLOAT_SIZES = (2, 4, 8, 12, 16)
MAX_ENUM_SIZE = 8

#: the kernel's letters are those of Latin-1
LATIN = frozenset(range(0xC0, 0x100)) - {0xD7, 0xF7}
LETTERS = LATIN | frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.")
IDENTIFIER = LETTERS | frozenset(b"0123456789")
PRINTABLE = frozenset(range(0x20, 0x7F)) | frozenset(range(0xA0, 0x100))


def is_identifier(name: bytes) -> bool:
    """A C identifier; dots are allowed anywhere since compilers make them."""
    return 0 < len(name) <= MAX_NAME and name[0] in LETTERS and IDENTIFIER.issuperset(name)


def is_section(name: bytes) -> bool:
    """Printable, as the name of an ELF section."""
    return 0 < len(name) <= MAX_NAME and PRINTABLE.issuperset(name)


def check_metas(env: Env, type_len: int) -> None:
    """Check every record of the type section, and collect them in `env.recs`."""
    env.log_type_id, at = env.start_id, 0
    while at < type_len:
        rec, size = _check_record(env, at, type_len - at)
        if env.end_id > uapi.BTF_MAX_TYPE:
            env.refuse(7, "Exceeded max num of types")
        env.recs.append(rec)
        env.log_type_id += 1
        at += size


def _check_record(env: Env, at: int, left: int) -> tuple[Rec, int]:
    """(record, its length in bytes)"""
    number = env.log_type_id
    if left < HEAD_SIZE:
        env.refuse(line=f"[{number}] meta_left:{left} meta_needed:{HEAD_SIZE}")
    rec = Rec(at // WORD + 3, *env.words[at // WORD : at // WORD + 3])
    if rec.info & ~INFO_MASK:
        env.refuse(line=f"[{number}] Invalid btf_info:{rec.info:x}")
    if not 0 < rec.kind < len(KIND_NAMES):
        env.refuse(line=f"[{number}] Invalid kind:{rec.kind}")
    if not env.name_ok(rec.name_off):
        env.refuse(line=f"[{number}] Invalid name_offset:{rec.name_off}")
    needed = WORD * (FIXED_WORDS[rec.kind] + ELEMENT_WORDS[rec.kind] * rec.vlen)
    left -= HEAD_SIZE
    if left < needed:
        env.bad(rec, f"meta_left:{left} meta_needed:{needed}", details=False)
    METAS[rec.kind](env, rec)
    return rec, HEAD_SIZE + needed


# -- what several kinds ask -----------------------------------------------------------------------


def _no_vlen(env: Env, rec: Rec) -> None:
    if rec.vlen:
        env.bad(rec, "vlen != 0")


def _no_kflag(env: Env, rec: Rec) -> None:
    if rec.kflag:
        env.bad(rec, "Invalid btf_info kind_flag")


def _no_name(env: Env, rec: Rec) -> None:
    if rec.name_off:
        env.bad(rec, "Invalid name")


def _identifier(env: Env, rec: Rec) -> None:
    if not rec.name_off or not is_identifier(env.name(rec.name_off)):
        env.bad(rec, "Invalid name")


def _maybe_identifier(env: Env, rec: Rec) -> None:
    if rec.name_off:
        _identifier(env, rec)


def is_type_id(type_id: int, void: bool = False) -> bool:
    """Small enough for an id; 0 only where `void` may stand."""
    return type_id <= uapi.BTF_MAX_TYPE and (void or bool(type_id))


# -- one function per kind ------------------------------------------------------------------------


def _int(env: Env, rec: Rec) -> None:
    _no_vlen(env, rec)
    _no_kflag(env, rec)
    data = env.word(rec, 0)
    if data & ~INT_MASK:
        env.bad(rec, f"Invalid int_data:{data:x}", details=False)
    width = (data & 0xFF) + (data >> 16 & 0xFF)
    if width > MAX_INT_BITS:
        env.bad(rec, f"nr_bits exceeds {MAX_INT_BITS}")
    if (width + 7) // 8 > rec.size:
        env.bad(rec, "nr_bits exceeds type_size")
    if data >> 24 not in (0, uapi.BTF_INT_SIGNED, uapi.BTF_INT_CHAR, uapi.BTF_INT_BOOL):
        env.bad(rec, "Unsupported encoding", ENOTSUPP)
    env.describe(rec)


def _ref(env: Env, rec: Rec) -> None:
    _no_vlen(env, rec)
    if rec.kind != uapi.BTF_KIND_TYPE_TAG:
        _no_kflag(env, rec)
    if not is_type_id(rec.size, void=True):
        env.bad(rec, "Invalid type_id")
    REF_NAMES.get(rec.kind, _no_name)(env, rec)
    env.describe(rec)


def _tag_name(env: Env, rec: Rec) -> None:
    if not env.name(rec.name_off):
        env.bad(rec, "Invalid name")


#: what a referring kind asks of its name; the others have none
REF_NAMES: dict[int, Callable[[Env, Rec], None]] = {
    uapi.BTF_KIND_TYPEDEF: _identifier,
    uapi.BTF_KIND_TYPE_TAG: _tag_name,
}


def _fwd(env: Env, rec: Rec) -> None:
    _no_vlen(env, rec)
    if rec.size:
        env.bad(rec, "type != 0")
    _identifier(env, rec)
    env.describe(rec)


def _array(env: Env, rec: Rec) -> None:
    _no_name(env, rec)
    _no_vlen(env, rec)
    _no_kflag(env, rec)
    if rec.size:
        env.bad(rec, "size != 0")
    if not is_type_id(env.word(rec, 0)):
        env.bad(rec, "Invalid elem")
    if not is_type_id(env.word(rec, 1)):
        env.bad(rec, "Invalid index")
    env.describe(rec)


def _composite(env: Env, rec: Rec) -> None:
    _maybe_identifier(env, rec)
    env.describe(rec)
    last = 0
    for member in env.rows(rec):
        last = _member(env, rec, member, last)


def _member(env: Env, rec: Rec, member: tuple[int, int, int], last: int) -> int:
    """Check one member; gives its bit offset."""
    name_off, type_id, offset = member
    if not env.name_ok(name_off):
        env.bad_member(rec, member, f"Invalid member name_offset:{name_off}")
    if name_off and not is_identifier(env.name(name_off)):
        env.bad_member(rec, member, "Invalid name")
    if not is_type_id(type_id):
        env.bad_member(rec, member, "Invalid type_id")
    bit = offset & 0xFFFFFF if rec.kflag else offset
    if bit < last or (bit and rec.kind == uapi.BTF_KIND_UNION):
        env.bad_member(rec, member, "Invalid member bits_offset")
    if (bit + 7) // 8 > rec.size:
        env.bad_member(rec, member, "Member bits_offset exceeds its struct size")
    env.describe_member(rec, member)
    return bit


def _enum_head(env: Env, rec: Rec) -> None:
    if rec.size > MAX_ENUM_SIZE or rec.size.bit_count() != 1:
        env.bad(rec, "Unexpected size")
    _maybe_identifier(env, rec)
    env.describe(rec)


def _enumerator(env: Env, rec: Rec, name_off: int, value: int) -> None:
    if not env.name_ok(name_off):
        env.refuse(line=f"\tInvalid name_offset:{name_off}")
    if not name_off or not is_identifier(env.name(name_off)):
        env.bad(rec, "Invalid name")
    env.say(f"\t{env.shown(name_off)} val={value}\n")


def _enum(env: Env, rec: Rec) -> None:
    _enum_head(env, rec)
    for name_off, value in env.pairs(rec):
        _enumerator(env, rec, name_off, bits.s32(value) if rec.kflag else value)


def _enum64(env: Env, rec: Rec) -> None:
    _enum_head(env, rec)
    for name_off, low, high in env.rows(rec):
        value = low | high << 32
        _enumerator(env, rec, name_off, bits.s64(value) if rec.kflag else value)


def _func_proto(env: Env, rec: Rec) -> None:
    _no_name(env, rec)
    _no_kflag(env, rec)
    env.describe(rec)


def _func(env: Env, rec: Rec) -> None:
    _identifier(env, rec)
    if rec.vlen > uapi.BTF_FUNC_GLOBAL:
        env.bad(rec, "Invalid func linkage")
    _no_kflag(env, rec)
    env.describe(rec)


def _var(env: Env, rec: Rec) -> None:
    _no_vlen(env, rec)
    _no_kflag(env, rec)
    _identifier(env, rec)
    if not is_type_id(rec.size):
        env.bad(rec, "Invalid type_id")
    if env.word(rec, 0) not in (uapi.BTF_VAR_STATIC, uapi.BTF_VAR_GLOBAL_ALLOCATED):
        env.bad(rec, "Linkage not supported")
    env.describe(rec)


def _datasec(env: Env, rec: Rec) -> None:
    if not rec.size:
        env.bad(rec, "size == 0")
    _no_kflag(env, rec)
    if not rec.name_off or not is_section(env.name(rec.name_off)):
        env.bad(rec, "Invalid name")
    env.describe(rec)
    end = total = 0
    for var in env.rows(rec):
        end = _section_var(env, rec, var, end)
        total += var[2]
    if rec.size < total:
        env.bad(rec, "Invalid btf_info size")


def _section_var(env: Env, rec: Rec, var: tuple[int, int, int], end: int) -> int:
    """Check one variable; gives where it ends."""
    type_id, offset, size = var
    if not is_type_id(type_id):
        env.bad_var(rec, var, "Invalid type_id")
    if not end <= offset < rec.size:
        env.bad_var(rec, var, "Invalid offset")
    if not 0 < size <= rec.size:
        env.bad_var(rec, var, "Invalid size")
    if offset + size > rec.size:
        env.bad_var(rec, var, "Invalid offset+size")
    env.describe_var(rec, var)
    return offset + size


def _float(env: Env, rec: Rec) -> None:
    _no_vlen(env, rec)
    _no_kflag(env, rec)
    if rec.size not in FLOAT_SIZES:
        env.bad(rec, "Invalid type_size")
    env.describe(rec)


def _decl_tag(env: Env, rec: Rec) -> None:
    if not env.name(rec.name_off):
        env.bad(rec, "Invalid value")
    _no_vlen(env, rec)
    if bits.s32(env.word(rec, 0)) < -1:
        env.bad(rec, "Invalid component_idx")
    env.describe(rec)


#: kind number -> the check of its record
METAS: dict[int, Callable[[Env, Rec], None]] = {
    uapi.BTF_KIND_INT: _int,
    uapi.BTF_KIND_PTR: _ref,
    uapi.BTF_KIND_ARRAY: _array,
    uapi.BTF_KIND_STRUCT: _composite,
    uapi.BTF_KIND_UNION: _composite,
    uapi.BTF_KIND_ENUM: _enum,
    uapi.BTF_KIND_FWD: _fwd,
    uapi.BTF_KIND_TYPEDEF: _ref,
    uapi.BTF_KIND_VOLATILE: _ref,
    uapi.BTF_KIND_CONST: _ref,
    uapi.BTF_KIND_RESTRICT: _ref,
    uapi.BTF_KIND_FUNC: _func,
    uapi.BTF_KIND_FUNC_PROTO: _func_proto,
    uapi.BTF_KIND_VAR: _var,
    uapi.BTF_KIND_DATASEC: _datasec,
    uapi.BTF_KIND_FLOAT: _float,
    uapi.BTF_KIND_DECL_TAG: _decl_tag,
    uapi.BTF_KIND_TYPE_TAG: _ref,
    uapi.BTF_KIND_ENUM64: _enum64,
}
