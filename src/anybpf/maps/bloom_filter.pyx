"""Bloom filters: sets that may say yes wrongly, never no (kernel/bpf/bloom_filter.c)."""

from libc.errno cimport E2BIG, EINVAL, ENOENT, EOPNOTSUPP
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from anybpf cimport uapi
from anybpf.maps.bpf_map cimport ENOTSUPP, Map, bpf_map, bpf_map_area, bpf_map_ops, mapping, user_size
from anybpf.maps.jhash cimport jhash
from anybpf.maps.sync cimport fetch_or32, load32

from anybpf import uapi as _uapi
from anybpf.maps.refusal import require

DEFAULT_FUNCTIONS = 5
MIN_BITS = 64

cdef struct bloom_filter:
    bpf_map map
    uint32_t *bits
    uint32_t mask               # number of bits - 1
    uint32_t seed
    uint32_t functions


cdef inline uint32_t bit_of(bloom_filter *bloom, const void *value,
                            uint32_t function) noexcept nogil:
    return jhash(value, bloom.map.value_size, bloom.seed + function) & bloom.mask


cdef int64_t peek(bpf_map *map, void *value) noexcept nogil:
    cdef bloom_filter *bloom = <bloom_filter *> map
    cdef uint32_t i, bit
    for i in range(bloom.functions):
        bit = bit_of(bloom, value, i)
        if not load32(&bloom.bits[bit >> 5]) >> (bit & 31) & 1:
            return -ENOENT
    return 0


cdef int64_t push(bpf_map *map, const void *value, uint64_t flags) noexcept nogil:
    cdef bloom_filter *bloom = <bloom_filter *> map
    cdef uint32_t i, bit
    if flags != uapi.BPF_ANY:
        return -EINVAL
    for i in range(bloom.functions):
        bit = bit_of(bloom, value, i)
        fetch_or32(&bloom.bits[bit >> 5], <uint32_t> 1 << (bit & 31))
    return 0


cdef int64_t pop(bpf_map *map, void *value) noexcept nogil:
    return -EOPNOTSUPP


cdef bpf_map_ops bloom_ops
bloom_ops.push = push
bloom_ops.pop = pop
bloom_ops.peek = peek


def number_of_bits(max_entries, functions):
    """Bits for so many entries: 7/5 a function and entry, rounded up to a power of two."""
    bits = max_entries * functions
    wanted = bits // 5 * 7
    if bits > _uapi.U32 or wanted > _uapi.U32 or wanted > 1 << 31:
        return 1 << 32
    return max(MIN_BITS, 1 << (wanted - 1).bit_length() if wanted else 0)


cdef class BloomFilter(Map):
    """BPF_MAP_TYPE_BLOOM_FILTER: update adds a value, `lookup(value=...)` asks (ENOENT: no)."""

    def __init__(self, attr, uint32_t ncpus, seed=0):
        cdef bloom_filter *bloom
        self.setup(attr, ncpus, sizeof(bloom_filter))
        bloom = <bloom_filter *> self.native
        bloom.map.ops = &bloom_ops
        bloom.functions = attr.map_extra or DEFAULT_FUNCTIONS
        bits = number_of_bits(attr.max_entries, bloom.functions)
        bloom.mask = bits - 1
        bloom.seed = 0 if attr.map_flags & uapi.BPF_F_ZERO_SEED else seed & _uapi.U32
        bloom.bits = <uint32_t *> self.area_alloc(bits // 8)

    def lookup_buffer(self, value):
        """The value to ask for comes in where other maps' values go out."""
        return self.as_value(b"" if value is None else value)

    cdef int64_t sys_lookup(self, const uint8_t *key, uint8_t *value, uint64_t flags) noexcept:
        return peek(self.native, value)

    cdef int64_t sys_update(self, const uint8_t *key, const uint8_t *value,
                            uint64_t flags) noexcept:
        return push(self.native, value, flags)

    cdef int64_t sys_delete(self, const uint8_t *key) noexcept:
        return -EOPNOTSUPP

    cdef int64_t sys_next_key(self, const uint8_t *key, uint8_t *next_key) noexcept:
        return -EOPNOTSUPP
