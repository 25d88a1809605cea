"""Values of maps (check_map_access, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EACCES

from anybpf import uapi
from anybpf.btf.fields import Field
from anybpf.errors import Bug
from anybpf.verifier.env import Env
from anybpf.verifier.facts import MapFacts
from anybpf.verifier.region import kptr
from anybpf.verifier.region.access import Access, check_region
from anybpf.verifier.reject import ENOTSUPP, Reject
from anybpf.verifier.state import Reg, mark_known_scalar, mark_unknown


def map_of(reg: Reg) -> MapFacts:
    """The map that the register points to or into."""
    if reg.map is None:
        raise Bug("a map pointer without its map")
    return reg.map


def access_key(what: Access) -> None:
    """A key that a callback was given: only to read."""
    if what.write:
        raise what.env.reject(EACCES, f"write to change key R{what.regno} not allowed")
    check_region(what.env, what.reg, what.regno, what.off, what.size, map_of(what.reg).key_size)
    if what.loads is not None:
        mark_unknown(what.loads)


def access(what: Access) -> None:
    """A load or store; loads of constants give them."""
    env, reg = what.env, what.reg
    check_flags(env, reg, what.off, what.size, what.write)
    check(env, reg, what.regno, what.off, what.size, direct=True)
    for one in map_of(reg).fields:
        if one.special.pointer and one.offset == what.off + reg.vv:
            kptr.access(what, one, map_of(reg).btf)
            return
    if what.loads is not None:
        _load(what, what.loads)


def check_flags(env: Env, reg: Reg, off: int, size: int, write: bool) -> None:
    """The map may be written, or read, by programs (check_map_access_type)."""
    found = map_of(reg)
    refused = uapi.BPF_F_RDONLY_PROG if write else uapi.BPF_F_WRONLY_PROG
    if found.flags & refused:
        what = "write into" if write else "read from"
        raise env.reject(EACCES, f"{what} map forbidden, value_size={found.value_size} "
                                 f"off={off} size={size}")


def check(env: Env, reg: Reg, regno: int, off: int, size: int, zero_ok: bool = False,
          direct: bool = False) -> None:
    """Inside the value, and not on a special field."""
    found = map_of(reg)
    check_region(env, reg, regno, off, size, found.value_size, zero_ok)
    for one in found.fields:
        if reg.smin + off < one.offset + one.special.size and one.offset < reg.umax + off + size:
            _check_field(env, reg, off, size, one, direct)


def _check_field(env: Env, reg: Reg, off: int, size: int, one: Field, direct: bool) -> None:
    """Only pointers may be touched, whole, and by loads and stores of the program itself."""
    special = one.special
    text, at = "", off + reg.vv
    if not special.pointer:
        text = f"{special.name} cannot be accessed directly by load/store"
    elif not direct:
        text = f"{special.word} cannot be accessed indirectly by helper"
    elif reg.vm:
        text = f"{special.word} access cannot have variable offset"
    elif at != one.offset:
        text = f"{special.word} access misaligned expected={one.offset} off={at & uapi.U64}"
    elif size != special.size:
        text = f"{special.word} access size must be BPF_DW"
    if text:
        raise env.reject(EACCES, text)


def _is_constant(found: MapFacts) -> bool:
    """Nobody can write to the map, and its values have an address (bpf_map_is_rdonly)."""
    return (found.frozen and bool(found.flags & uapi.BPF_F_RDONLY_PROG)
            and found.type == uapi.BPF_MAP_TYPE_ARRAY)


def _load(what: Access, into: Reg) -> None:
    found = map_of(what.reg)
    if what.reg.vm or not _is_constant(found):
        mark_unknown(into)
        return
    if found.max_entries != 1:        # the kernel looks for the value in vain, and says nothing
        raise Reject(ENOTSUPP, "", what.env.idx, "")
    if found.content is None:
        mark_unknown(into)
        return
    at = what.off + what.reg.vv
    data = found.content[at:at + what.size]
    mark_known_scalar(into, int.from_bytes(data, "little", signed=what.signed) & uapi.U64)
