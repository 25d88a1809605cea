"""What OBJ_GET_INFO_BY_FD tells (kernel/bpf/syscall.c, kernel/bpf/btf.c).

The caller's struct is input too: it says where arrays go and how many entries have room there.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from errno import E2BIG, EINVAL, ENOSPC, EPERM
from hashlib import sha256

from anybpf import uapi
from anybpf.errors import BpfError
from anybpf.syscall.attr import MAX_SIZE, Attr
from anybpf.syscall.memory import UserMemory
from anybpf.syscall.objects import BtfObject, MapObject, ProgObject
from anybpf.syscall.record import Record, fields
from anybpf.syscall.state import State
from anybpf.syscall.tags import tag
from anybpf.syscall.xlated import xlated
from anybpf.uapi_structs import STRUCTS

SHA256_SIZE = 32
#: record sizes that prog info knows: field of the size, field of the count, struct
_RECORDS = (
    ("func_info_rec_size", "nr_func_info", STRUCTS["bpf_func_info"].size),
    ("line_info_rec_size", "nr_line_info", STRUCTS["bpf_line_info"].size),
    ("jited_line_info_rec_size", "nr_jited_line_info", 8),
)


def check_tail(memory: UserMemory, address: int, known: int, size: int) -> None:
    """A struct longer than we know must end in zeros (bpf_check_uarg_tail_zero)."""
    if size > MAX_SIZE:
        raise BpfError(E2BIG)
    if size > known and any(memory.read(address + known, size - known)):
        raise BpfError(E2BIG)


class _Answer(Record):
    """A Record that began as the caller's and can fill the caller's arrays."""

    def __init__(self, name: str, memory: UserMemory, attr: Attr) -> None:
        address, size = attr["info.info"], attr["info.info_len"]
        check_tail(memory, address, max(field.end for field in fields(name).values()), size)
        self.length = min(size, STRUCTS[name].size)
        self.memory = memory
        self.address = address
        super().__init__(name, memory.read(address, self.length))

    def array(self, count: str, pointer: str, entries: Sequence[bytes]) -> None:
        """Give the number of entries, and as many of them as the caller has room for."""
        room = self[count]
        self[count] = len(entries)
        if room and entries:
            self.memory.write(self[pointer], b"".join(entries[:room]))

    def data(self, size: str, pointer: str, data: bytes) -> None:
        """The same for plain bytes."""
        room = self[size]
        self[size] = len(data)
        if room and data:
            self.memory.write(self[pointer], data[:room])

    def deliver(self, attr: Attr) -> None:
        """Write the struct back, and how much of it there is."""
        self.memory.write(self.address, bytes(self.bytes[:self.length]))
        attr["info.info_len"] = self.length


def _u32(number: int) -> bytes:
    return struct.pack("<I", number)


def _record_sizes(answer: _Answer) -> None:
    """The caller must know our record sizes if it asks for records or names a size."""
    for size_field, count_field, size in _RECORDS:
        if (answer[count_field] or answer[size_field]) and answer[size_field] != size:
            raise BpfError(EINVAL, f"{size_field} must be {size}")
        answer[size_field] = size


def _prog_btf(answer: _Answer, prog: ProgObject) -> None:
    """BTF id and the func and line records."""
    funcs = prog.btf.funcs if prog.btf else ()
    lines = prog.btf.lines if prog.btf else ()
    answer["btf_id"] = prog.btf.object.id if prog.btf else 0
    answer.array("nr_func_info", "func_info", [struct.pack("<2I", *x) for x in funcs])
    answer.array("nr_line_info", "line_info", [struct.pack("<4I", *x) for x in lines])


def _prog_jited(answer: _Answer, prog: ProgObject) -> None:
    """No machine code: functions are counted, their addresses kept back, as without privilege."""
    count = len(prog.subprogs)
    answer["jited_prog_len"] = 0
    answer["nr_jited_line_info"] = 0
    for number, pointer in (("nr_jited_ksyms", "jited_ksyms"),
                            ("nr_jited_func_lens", "jited_func_lens")):
        answer[number] = count
        answer[pointer] = 0


def _prog_tags(prog: ProgObject) -> list[bytes]:
    """One tag per function, the whole program's if there is just one."""
    if len(prog.subprogs) == 1:
        return [prog.tag]
    insns = prog.facts.insns
    ends = (*prog.subprogs[1:], len(insns) // 8)
    return [tag(insns[a * 8:b * 8]) for a, b in zip(prog.subprogs, ends, strict=True)]


def prog_info(state: State, attr: Attr, prog: ProgObject) -> None:
    """struct bpf_prog_info."""
    answer = _Answer("bpf_prog_info", state.memory, attr)
    facts = prog.facts
    answer["type"] = facts.type
    answer["id"] = prog.id
    answer["tag"] = prog.tag
    answer["load_time"] = facts.load_time
    answer["created_by_uid"] = facts.uid
    answer["name"] = facts.name.encode("latin-1")
    answer["gpl_compatible"] = int(facts.gpl)
    answer["attach_btf_id"] = facts.attach_btf_id
    if prog.attached is not None and prog.attached.btf is not None:
        answer["attach_btf_obj_id"] = prog.attached.btf.object.id
    answer["verified_insns"] = facts.verified_insns
    answer.array("nr_map_ids", "map_ids", [_u32(m.id) for m in prog.maps])
    _record_sizes(answer)
    answer["run_time_ns"] = prog.native.run_time_ns
    answer["run_cnt"] = prog.native.run_cnt
    answer.data("xlated_prog_len", "xlated_prog_insns", xlated(prog))
    _prog_jited(answer, prog)
    _prog_btf(answer, prog)
    answer.array("nr_prog_tags", "prog_tags", _prog_tags(prog))
    answer.deliver(attr)


def _map_hash(answer: _Answer, map: MapObject) -> None:
    """SHA-256 of a frozen array's values, where the caller asked for it."""
    if not answer["hash"]:
        if answer["hash_size"]:
            raise BpfError(EINVAL, "hash_size without hash")
        return
    if map.type != uapi.BPF_MAP_TYPE_ARRAY or answer["hash_size"] != SHA256_SIZE:
        raise BpfError(EINVAL)
    if not map.frozen:
        raise BpfError(EPERM, "only a frozen map has a hash")
    keys = (_u32(i) for i in range(map.map.max_entries))
    stride = (map.map.value_size + 7) & ~7
    values = b"".join(map.map.lookup(key).ljust(stride, b"\0") for key in keys)
    answer.memory.write(answer["hash"], sha256(values).digest())


def map_info(state: State, attr: Attr, map: MapObject) -> None:
    """struct bpf_map_info."""
    answer = _Answer("bpf_map_info", state.memory, attr)
    native = map.map
    answer["type"] = map.type
    answer["id"] = map.id
    answer["key_size"] = native.key_size
    answer["value_size"] = native.value_size
    answer["max_entries"] = native.max_entries
    answer["map_flags"] = native.flags
    answer["map_extra"] = native.map_extra
    answer["name"] = map.name.encode("latin-1")
    if map.btf is not None:
        answer["btf_id"] = map.btf.object.id
        answer["btf_key_type_id"] = map.btf.key
        answer["btf_value_type_id"] = map.btf.value
    _map_hash(answer, map)
    answer.deliver(attr)


def _name_out(answer: _Answer, name: bytes) -> bool:
    """Give the name and its length; False where the caller's buffer cuts it short."""
    room = answer["name_len"]
    if bool(room) != bool(answer["name"]):
        raise BpfError(EINVAL, "name and name_len must be given together")
    answer["name_len"] = len(name)
    if not room:
        return True
    whole = room > len(name)
    text = name if whole else name[:room - 1]
    answer.memory.write(answer["name"], text + b"\0")
    return whole


def btf_info(state: State, attr: Attr, btf: BtfObject) -> None:
    """struct bpf_btf_info, and the bytes where there is room."""
    answer = _Answer("bpf_btf_info", state.memory, attr)
    answer["id"] = btf.id
    state.memory.write(answer["btf"], btf.data[:answer["btf_size"]])
    answer["btf_size"] = len(btf.data)
    answer["kernel_btf"] = int(btf.kernel)
    whole = _name_out(answer, btf.name.encode())
    answer.deliver(attr)
    if not whole:
        raise BpfError(ENOSPC, "the name is longer than the buffer")
