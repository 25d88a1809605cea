"""Which maps can be made, beyond what rows can say (map_create in kernel/bpf/syscall.c).

Every function takes a MapAttr and raises the BpfError that BPF_MAP_CREATE gives; the order of the
checks is the kernel's, because it decides between the error numbers.
"""

from __future__ import annotations

from errno import EINVAL, EOPNOTSUPP
from mmap import PAGESIZE

from anybpf import uapi
from anybpf.maps.attr import MapAttr
from anybpf.maps.refusal import require
from anybpf.proto import maps as rows

#: the one node modelled, and NUMA_NO_NODE
NUMA_NODES = (0, uapi.U32)
SPIN_LOCK_SIZE = 4


def check_common(attr: MapAttr) -> None:
    """What BPF_MAP_CREATE asks of every type before it asks the type."""
    flags, both = attr.map_flags, uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY
    row = rows.BY_TYPE.get(attr.map_type)
    require(all(0 <= n <= uapi.U32 for n in attr[:5]), EINVAL, "sizes and flags have 32 bits")
    require(attr.map_extra == 0 or (row is not None and row.extra_max > 0), EINVAL, "map_extra")
    require(flags & both != both, EINVAL, "both BPF_F_RDONLY and BPF_F_WRONLY")
    require(not flags & uapi.BPF_F_NUMA_NODE or attr.numa_node in NUMA_NODES, EINVAL, "NUMA node")
    require(row is not None, EINVAL, "map type")


def check_spin_lock(attr: MapAttr, row: rows.Map) -> None:
    """A bpf_spin_lock lies in the value, and only in values of some types."""
    offset = attr.spin_lock_off
    require(offset == -1 or 0 <= offset <= attr.value_size - SPIN_LOCK_SIZE, EINVAL,
            "spin lock outside the value")
    require(offset == -1 or "bpf_spin_lock" in row.specials, EOPNOTSUPP, "spin lock in the value")


def check_type(attr: MapAttr) -> rows.Map:
    """Sizes, flags and spin lock as the map's type wants them; the row of the type."""
    row = rows.BY_TYPE[attr.map_type]
    check_spin_lock(attr, row)
    number = row.check(attr.key_size, attr.value_size, attr.max_entries, attr.map_flags,
                       attr.map_extra)
    require(not number, number,
            f"a map of type {row.name} with key size {attr.key_size}, value size "
            f"{attr.value_size}, {attr.max_entries} entries, flags {attr.map_flags:#x}")
    # where pages are larger than the row's, memory cannot be mapped twice in smaller pieces
    require(attr.map_type != uapi.BPF_MAP_TYPE_RINGBUF or attr.max_entries % PAGESIZE == 0, EINVAL,
            f"ring buffers are whole pages of {PAGESIZE} bytes here")
    return row
