"""Would the kernel take this BTF? (kernel/bpf/btf.c: btf_parse)

The checks of BPF_BTF_LOAD in the kernel's order, with its log and error numbers. Reading (`parse`)
is more lenient: compilers write BTF that no kernel takes before a loader has completed it.
"""

from __future__ import annotations

import errno
import struct
from array import array
from typing import NamedTuple

from anybpf import bits, uapi
from anybpf.btf import header
from anybpf.btf.check_env import BadBtf, Env
from anybpf.btf.check_meta import check_metas
from anybpf.btf.check_resolve import MODIFIER, Resolver
from anybpf.btf.fields import BadFields, check_fields
from anybpf.btf.parse import Btf
from anybpf.errors import ENOTSUPP, LoadError

__all__ = ["BadBtf", "check"]

#: longest chain of modifiers
MAX_CHAIN = 32
MAX_SIZE = uapi.BTF_MAX_SIZE


class Head(NamedTuple):
    """The header's fields as the kernel names them."""

    magic: int
    version: int
    flags: int
    hdr_len: int
    type_off: int
    type_len: int
    str_off: int
    str_len: int


def check(
    data: bytes,
    base: Btf | None = None,
    *,
    verbose: bool = True,
    byteorder: header.ByteOrder = "little",
    kernel: Btf | None = None,
) -> str:
    """The kernel's log for BTF that it takes; with `verbose` false "".

    `byteorder` is the kernel's, and so is the BTF `kernel`, in which the targets of kernel pointers
    are looked up. Raises BadBtf with errno, the log up to the reason and the type id
    for BTF that the kernel does not take.
    """
    env = Env(base, verbose)
    if len(data) > MAX_SIZE:
        env.refuse(errno.E2BIG)
    head = _header(env, data, byteorder)
    body = data[head.hdr_len :]
    _strings(env, body, head)
    _types(env, body, head, byteorder)
    _type_tags(env)
    env.log_type_id = None
    _special_fields(env, data, kernel)
    return "".join(env.lines)


def _header(env: Env, data: bytes, byteorder: header.ByteOrder) -> Head:
    if len(data) < header.COMMON_SIZE:
        env.refuse(line="hdr_len not found")
    size = int.from_bytes(data[4:8], byteorder)
    if len(data) < size:
        env.refuse(line="btf_header not found")
    if any(data[header.BTF_HEADER_SIZE : size]):
        env.refuse(errno.E2BIG, "Unsupported btf_header")
    known = data[: min(size, header.BTF_HEADER_SIZE)].ljust(header.BTF_HEADER_SIZE, b"\0")
    head = Head(*struct.unpack(header.PREFIX[byteorder] + header.COMMON + "4I", known))
    _say_header(env, head, len(data))
    if head.magic != uapi.BTF_MAGIC:
        env.refuse(line="Invalid magic")
    if head.version != uapi.BTF_VERSION:
        env.refuse(ENOTSUPP, "Unsupported version")
    if head.flags:
        env.refuse(ENOTSUPP, "Unsupported flags")
    if env.base is None and len(data) == head.hdr_len:
        env.refuse(line="No data")
    _sections(env, head, len(data) - head.hdr_len)
    return head


def _say_header(env: Env, head: Head, total: int) -> None:
    for name, value in zip(head._fields, head, strict=True):
        env.say(f"{name}: {value:#x}\n" if name in ("magic", "flags") else f"{name}: {value}\n")
    env.say(f"btf_total_size: {total}\n")


def _first(a: tuple[int, int], b: tuple[int, int]) -> int:
    """Which of two sections the kernel takes for the first: it subtracts as C's int does."""
    return bits.s32(a[0] - b[0]) or bits.s32(a[1] - b[1])


def _sections(env: Env, head: Head, room: int) -> None:
    """The two sections lie side by side and fill the data."""
    total = 0
    types, strings = (head.type_off, head.type_len), (head.str_off, head.str_len)
    for offset, length in (types, strings) if _first(types, strings) < 0 else (strings, types):
        if offset > room:
            env.refuse(line="Invalid section offset")
        if total < offset:
            env.refuse(line="Unsupported section found")
        if total > offset:
            env.refuse(line="Section overlap found")
        if length > room - total:
            env.refuse(line="Total section length too long")
        total += length
    if total != room:
        env.refuse(line="Unsupported section found")


def _strings(env: Env, body: bytes, head: Head) -> None:
    if head.str_off + head.str_len != len(body):
        env.refuse(line="String section is not at the end")
    env.strings = body[head.str_off :]
    if env.base is not None and not env.strings:
        return
    if not env.strings or len(env.strings) - 1 > uapi.BTF_MAX_NAME_OFFSET or env.strings[-1]:
        env.refuse(line="Invalid string section")
    if env.base is None and env.strings[0]:
        env.refuse(line="Invalid string section")


def _types(env: Env, body: bytes, head: Head, byteorder: header.ByteOrder) -> None:
    if head.type_off % 4:
        env.refuse(line="Unaligned type_off")
    if env.base is None and not head.type_len:
        env.refuse(line="No type found")
    whole = body[head.type_off : head.type_off + head.type_len // 4 * 4]
    words = struct.unpack(f"{header.PREFIX[byteorder]}{len(whole) // 4}I", whole)
    env.words = array("I", words)
    check_metas(env, head.type_len)
    Resolver(env).all()


def _special_fields(env: Env, data: bytes, kernel: Btf | None) -> None:
    try:
        check_fields(Btf(data, env.base), kernel)
    except BadFields as e:
        env.refuse(e.errno)
    except LoadError:
        env.refuse(errno.E2BIG)


def _type_tags(env: Env) -> None:
    """Type tags stand before the other modifiers of a type."""
    for type_id in range(env.start_id, env.end_id):
        _one_chain(env, type_id)


def _one_chain(env: Env, type_id: int) -> None:
    rec, length, tags = env.rec(type_id), 0, True
    while rec is not None and rec.kind in MODIFIER:
        if length == MAX_CHAIN:
            env.refuse(errno.ELOOP, "Max chain length or cycle detected")
        is_tag = rec.kind == uapi.BTF_KIND_TYPE_TAG
        if is_tag and not tags:
            env.refuse(line="Type tags don't precede modifiers")
        tags, length = is_tag, length + 1
        rec = env.rec(rec.size)
