"""Maps that 64-bit loads mean (resolve_pseudo_ldimm64, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import E2BIG, EACCES, EBADF, EBUSY, EFAULT, EINVAL, EPROTO, ERANGE

from anybpf import uapi
from anybpf.btf.fields import ROOTS
from anybpf.errors import BpfError
from anybpf.isa.check import BadInsn, check_opcode
from anybpf.isa.insn import Insn, is_ld_imm64, split_imm64
from anybpf.verifier import symbols
from anybpf.verifier.env import REFERS_TO_MAP, Env
from anybpf.verifier.facts import MapFacts
from anybpf.verifier.reject import ENOTSUPP, Reject

MAX_USED_MAPS = 64
MAX_OFFSET = 1 << 29
FD_SIZE = 4

#: maps that sleepable programs may use
_SLEEPABLE = frozenset({
    uapi.BPF_MAP_TYPE_HASH, uapi.BPF_MAP_TYPE_LRU_HASH, uapi.BPF_MAP_TYPE_ARRAY,
    uapi.BPF_MAP_TYPE_PERCPU_HASH, uapi.BPF_MAP_TYPE_PERCPU_ARRAY,
    uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH, uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS,
    uapi.BPF_MAP_TYPE_HASH_OF_MAPS, uapi.BPF_MAP_TYPE_RINGBUF, uapi.BPF_MAP_TYPE_USER_RINGBUF,
    uapi.BPF_MAP_TYPE_INODE_STORAGE, uapi.BPF_MAP_TYPE_SK_STORAGE,
    uapi.BPF_MAP_TYPE_TASK_STORAGE, uapi.BPF_MAP_TYPE_CGRP_STORAGE, uapi.BPF_MAP_TYPE_QUEUE,
    uapi.BPF_MAP_TYPE_STACK, uapi.BPF_MAP_TYPE_ARENA})
_TRACING = frozenset({
    uapi.BPF_PROG_TYPE_KPROBE, uapi.BPF_PROG_TYPE_TRACEPOINT, uapi.BPF_PROG_TYPE_PERF_EVENT,
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, uapi.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE})
_CGROUP_STORAGE = frozenset({
    uapi.BPF_MAP_TYPE_CGROUP_STORAGE, uapi.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE})
_VALUES = frozenset({uapi.BPF_PSEUDO_MAP_VALUE, uapi.BPF_PSEUDO_MAP_IDX_VALUE})
_BY_INDEX = frozenset({uapi.BPF_PSEUDO_MAP_IDX, uapi.BPF_PSEUDO_MAP_IDX_VALUE})


def bind(env: Env) -> None:
    """What the array of descriptors holds belongs to the program (process_fd_array)."""
    facts = env.facts
    if not facts.bound:
        return
    if facts.bound >= uapi.U32 // FD_SIZE:
        raise Reject(EINVAL, f"fd_array_cnt is too big ({facts.bound})")
    env.digest = facts.digest(env.insns) if facts.digest else b""
    for number in range(facts.bound):
        fd = _array_fd(env, number, None)
        if fd not in facts.btfs:
            _use(env, _find(env, fd, "bpf_map or btf", None), None)


def maps(env: Env) -> None:
    """Put each map's facts into `aux`, and into the instruction the address that is printed.

    Opcodes are checked in the same pass.
    """
    env.digest = env.facts.digest(env.insns) if env.facts.digest else b""
    env.relocated = list(env.insns)
    index = 0
    while index < len(env.insns):
        try:
            slots = check_opcode(env.insns, index)
        except BadInsn as bad:
            raise Reject(bad.errno or EINVAL, bad.message, bad.index) from None
        insn = env.insns[index]
        if is_ld_imm64(insn) and insn.src in REFERS_TO_MAP:
            _resolve(env, index, insn)
        elif is_ld_imm64(insn) and insn.src == uapi.BPF_PSEUDO_BTF_ID:
            symbols.resolve(env, index, insn)
        index += slots


def _resolve(env: Env, index: int, insn: Insn) -> None:
    fd = _array_fd(env, insn.imm, index) if insn.src in _BY_INDEX else insn.imm
    found = _find(env, fd, "bpf_map", index)
    aux = env.aux[index]
    aux.map = found
    _use(env, found, index)
    address = found.address
    if insn.src in _VALUES:
        aux.map_offset = env.insns[index + 1].imm & uapi.U32
        _check_value(found, aux.map_offset, index)
        address = _value_address(found) + aux.map_offset
    low, high = split_imm64(address)
    env.insns[index] = insn._replace(imm=low)
    env.insns[index + 1] = env.insns[index + 1]._replace(imm=high)


def _array_fd(env: Env, number: int, index: int | None) -> int:
    """An entry of the array of descriptors."""
    if env.facts.fd_array is None:
        if index is None:
            raise Reject(EFAULT, "", None, "")
        raise Reject(EPROTO, "fd_idx without fd_array is invalid", index)
    try:
        return env.facts.fd_array[number]
    except (BpfError, LookupError):
        raise Reject(EFAULT, "", index, "") from None


def _find(env: Env, fd: int, what: str, index: int | None) -> MapFacts:
    """The map behind a descriptor."""
    try:
        return env.facts.maps[fd]
    except KeyError:
        number = EBADF
    except BpfError as error:
        number = error.errno or EINVAL
    raise Reject(number, f"fd {fd} is not pointing to valid {what}", index)


def _use(env: Env, found: MapFacts, index: int | None) -> None:
    """The map is one of those that the program uses, and goes with it."""
    if found in env.used_maps:
        return
    if len(env.used_maps) >= MAX_USED_MAPS:
        raise Reject(E2BIG, "The total number of maps per program has reached the limit of "
                            f"{MAX_USED_MAPS}", index)
    if found.exclusive and found.exclusive != env.digest:
        raise Reject(EACCES, "program's hash doesn't match map's excl_prog_hash", index)
    text = _unfit(env, found)
    if text:
        raise Reject(EINVAL, text, index)
    if found.type in _CGROUP_STORAGE and any(m.type == found.type for m in env.used_maps):
        raise Reject(EBUSY, "only one cgroup storage of each type is allowed", index)
    if found.type == uapi.BPF_MAP_TYPE_ARENA and any(m.type == found.type for m in env.used_maps):
        raise Reject(EBUSY, "Only one arena per program", index)
    if found.type == uapi.BPF_MAP_TYPE_ARENA and not found.user_memory:
        raise Reject(EINVAL, "arena's user address must be set via map_extra or mmap()", index)
    env.used_maps.append(found)


def _unfit(env: Env, found: MapFacts) -> str:
    """Why the map does not go with the program; or empty (check_map_prog_compatibility)."""
    tracing = env.facts.type in _TRACING
    if tracing and any(f.special.name in ROOTS for f in found.fields):
        return "tracing progs cannot use bpf_{list_head,rb_root} yet"
    for name in ("bpf_timer", "bpf_wq"):
        if tracing and found.offset_of(name) >= 0:
            return f"tracing progs cannot use {name} yet"
    if found.has_lock and env.facts.type == uapi.BPF_PROG_TYPE_SOCKET_FILTER:
        return "socket filter progs cannot use bpf_spin_lock yet"
    if found.has_lock and tracing:
        return "tracing progs cannot use bpf_spin_lock yet"
    if found.type == uapi.BPF_MAP_TYPE_STRUCT_OPS:
        return "bpf_struct_ops map cannot be used in prog"
    if env.facts.sleepable and found.type not in _SLEEPABLE:
        return ("Sleepable programs can only use array, hash, ringbuf and local storage maps")
    return ""


def _check_value(found: MapFacts, offset: int, index: int) -> None:
    if offset >= MAX_OFFSET:
        raise Reject(EINVAL, f"direct value offset of {offset} is not allowed", index)
    if found.type not in (uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_ARENA):
        raise Reject(EINVAL, "no direct value access support for this map type", index)
    errno = _beyond(found, offset)
    if errno:
        raise Reject(errno, f"invalid access to map value pointer, value_size={found.value_size} "
                            f"off={offset}", index)


def _value_address(found: MapFacts) -> int:
    """Where the value begins; an arena is named by its address in user space."""
    return found.user_memory.start if found.type == uapi.BPF_MAP_TYPE_ARENA else found.address


def _beyond(found: MapFacts, offset: int) -> int:
    """The errno for an offset outside of the one value (or of the arena's memory); or 0."""
    if found.type == uapi.BPF_MAP_TYPE_ARENA:
        return ERANGE if offset > len(found.user_memory) else 0
    if found.max_entries != 1:
        return ENOTSUPP
    return EINVAL if offset >= found.value_size else 0
