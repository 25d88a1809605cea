"""Maps that 64-bit loads mean (resolve_pseudo_ldimm64, kernel/bpf/verifier.c)."""

from __future__ import annotations

from errno import EBADF, EINVAL

from anybpf import uapi
from anybpf.errors import NotSupported
from anybpf.isa.check import BadInsn, check_opcodes
from anybpf.isa.insn import Insn, is_ld_imm64, slots, split_imm64
from anybpf.verifier.env import REFERS_TO_MAP, Env
from anybpf.verifier.facts import MapFacts
from anybpf.verifier.reject import ENOTSUPP, Reject

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
_VALUES = frozenset({uapi.BPF_PSEUDO_MAP_VALUE, uapi.BPF_PSEUDO_MAP_IDX_VALUE})


def maps(env: Env) -> None:
    """Put each map's facts into `aux`, and into the instruction the address that is printed."""
    try:
        check_opcodes(env.insns)
    except BadInsn as bad:
        raise Reject(bad.errno or EINVAL, bad.message, bad.index) from None
    for index, insn in slots(env.insns):
        if is_ld_imm64(insn) and insn.src in REFERS_TO_MAP:
            _resolve(env, index, insn)


def _resolve(env: Env, index: int, insn: Insn) -> None:
    found = env.facts.maps.get(insn.imm)
    if found is None:
        raise Reject(EBADF, f"fd {insn.imm} is not pointing to valid bpf_map", index)
    aux = env.aux[index]
    aux.map = found
    _check_map(env, found, index)
    address = found.address
    if insn.src in _VALUES:
        aux.map_offset = env.insns[index + 1].imm & uapi.U32
        _check_value(found, aux.map_offset, index)
        address += aux.map_offset
    if found not in env.used_maps:
        env.used_maps.append(found)
    low, high = split_imm64(address)
    env.insns[index] = insn._replace(imm=low)
    env.insns[index + 1] = env.insns[index + 1]._replace(imm=high)


def _check_map(env: Env, found: MapFacts, index: int) -> None:
    """The map goes with the program (check_map_prog_compatibility)."""
    if found.fields and env.facts.type in _TRACING:
        raise NotSupported(f"maps with {', '.join(found.fields)} in {env.prog.name} programs")
    if env.facts.sleepable and found.type not in _SLEEPABLE:
        raise Reject(EINVAL, "Sleepable programs can only use array, hash, ringbuf and local "
                             "storage maps", index)


def _check_value(found: MapFacts, offset: int, index: int) -> None:
    if found.type not in (uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_ARENA):
        raise Reject(EINVAL, "no direct value access support for this map type", index)
    if offset >= 1 << 29:
        raise Reject(EINVAL, f"direct value offset of {offset} is not allowed", index)
    if found.max_entries != 1 or offset >= found.value_size:
        errno = ENOTSUPP if found.max_entries != 1 else EINVAL
        raise Reject(errno, f"invalid access to map value pointer, value_size={found.value_size} "
                             f"off={offset}", index)
