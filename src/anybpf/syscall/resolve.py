"""Map references in instructions (resolve_pseudo_ldimm64 in kernel/bpf/verifier.c)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from errno import E2BIG, EACCES, EINVAL, EPROTO

from anybpf import uapi
from anybpf.errors import BpfError, NotSupported
from anybpf.isa.check import BadInsn, check_opcodes
from anybpf.isa.insn import Insn, is_ld_imm64
from anybpf.syscall.attr import Attr
from anybpf.syscall.log import Refused
from anybpf.syscall.objects import BtfObject, MapObject, MapRef
from anybpf.syscall.state import State

_BY_INDEX = (uapi.BPF_PSEUDO_MAP_IDX, uapi.BPF_PSEUDO_MAP_IDX_VALUE)
_TO_VALUE = (uapi.BPF_PSEUDO_MAP_VALUE, uapi.BPF_PSEUDO_MAP_IDX_VALUE)
_TO_MAP = (uapi.BPF_PSEUDO_MAP_FD, uapi.BPF_PSEUDO_MAP_IDX)
#: maps with values whose address an instruction may hold
_ADDRESSABLE = (uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_ARENA)
#: offsets into values lie below this (BPF_MAX_VAR_OFF)
_MAX_OFFSET = 1 << 29
_FD_SIZE = 4


class Resolver:
    """Collects the maps that one program uses, in the order in which it names them."""

    def __init__(self, state: State, attr: Attr, digest: bytes) -> None:
        self._state = state
        self._fd_array = attr["fd_array"]
        self.digest = digest
        self.maps: list[MapObject] = []
        self.refs: dict[int, MapRef] = {}

    def _fd(self, insn: Insn) -> int:
        """The descriptor that an instruction means, itself or through fd_array."""
        if insn.src not in _BY_INDEX:
            return insn.imm
        if not self._fd_array:
            raise Refused(EPROTO, "fd_idx without fd_array is invalid\n")
        return self._array_fd(insn.imm)

    def _array_fd(self, index: int) -> int:
        data = self._state.memory.read(self._fd_array + index * _FD_SIZE, _FD_SIZE)
        fd: int = struct.unpack("<i", data)[0]
        return fd

    def _use(self, map: MapObject) -> MapObject:
        """Add the map to those in use."""
        if map in self.maps:
            return map
        if len(self.maps) >= uapi.MAX_USED_MAPS:
            raise Refused(E2BIG, "The total number of maps per program has reached the limit of "
                                 f"{uapi.MAX_USED_MAPS}\n")
        if map.exclusive and map.exclusive != self.digest:
            raise Refused(EACCES, "program's hash doesn't match map's excl_prog_hash\n")
        self.maps.append(map)
        return map

    def _map(self, fd: int) -> MapObject:
        try:
            return self._use(self._state.object(fd, MapObject))
        except Refused:
            raise
        except BpfError as error:
            number = error.errno or EINVAL
            raise Refused(number, f"fd {fd} is not pointing to valid bpf_map\n") from None

    def use_array(self, count: int) -> None:
        """Bind everything in fd_array, as a caller asks that gives fd_array_cnt."""
        if count >= uapi.U32 // _FD_SIZE:
            raise Refused(EINVAL, f"fd_array_cnt is too big ({count})\n")
        for index in range(count):
            self._bind(self._array_fd(index))

    def _bind(self, fd: int) -> None:
        try:
            found = self._state.files[fd].object
        except BpfError as error:
            number = error.errno or EINVAL
            raise Refused(number, f"fd {fd} is not pointing to valid bpf_map or btf\n") from None
        if isinstance(found, MapObject):
            self._use(found)
        elif not isinstance(found, BtfObject):
            raise Refused(EINVAL, f"fd {fd} is not pointing to valid bpf_map or btf\n")

    def _check_offset(self, map: MapObject, offset: int) -> None:
        """A direct value address lies in the only value of an array."""
        if offset >= _MAX_OFFSET:
            raise Refused(EINVAL, f"direct value offset of {offset} is not allowed\n")
        if map.type not in _ADDRESSABLE:
            raise Refused(EINVAL, "no direct value access support for this map type\n")
        try:
            map.map.value_address(offset)
        except BpfError as error:
            raise Refused(error.errno or EINVAL, "invalid access to map value pointer, "
                          f"value_size={map.map.value_size} off={offset}\n") from None

    def _reference(self, index: int, low: Insn, high: Insn) -> None:
        """One ld_imm64 that is not a plain number."""
        if low.src in _TO_MAP:
            self.refs[index] = MapRef(self._map(self._fd(low)), None)
        elif low.src in _TO_VALUE:
            map = self._map(self._fd(low))
            self._check_offset(map, high.imm & uapi.U32)
            self.refs[index] = MapRef(map, high.imm & uapi.U32)
        elif low.src == uapi.BPF_PSEUDO_BTF_ID:
            raise NotSupported("kernel variables in ld_imm64 (BPF_PSEUDO_BTF_ID)", "5.6")

    def resolve(self, insns: Sequence[Insn]) -> None:
        """All references, up to the first unknown opcode."""
        bad = None
        try:
            check_opcodes(insns)
        except BadInsn as error:
            bad = error
        for index in range(len(insns) if bad is None else bad.index):
            if is_ld_imm64(insns[index]):
                self._reference(index, insns[index], insns[index + 1])
        if bad is not None:
            raise Refused(bad.errno or EINVAL, bad.message + "\n")
