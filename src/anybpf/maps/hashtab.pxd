# struct bpf_htab: buckets of chained elements, all elements in one lazily committed mapping.
#
# Chains link elements by number (1 = the first). A chain ends with NULLS | its bucket's number, so
# that a reader without a lock notices when an element moved to another bucket under its feet; a head
# of 0 is an empty chain in memory never touched.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from anybpf.maps.bpf_lru_list cimport bpf_lru
from anybpf.maps.bpf_map cimport Map, bpf_map

cdef enum:
    NULLS = 0x80000000

cdef struct bucket:
    uint32_t head
    uint32_t lock

cdef struct htab_elem:
    uint32_t next
    uint32_t hash
    uint32_t next_free          # valid on the free list only; `next` stays for readers
    uint32_t number             # its own, once it was used
    # an LRU map's elements have their bpf_lru_node here; then the key, then the value, at 8 bytes

cdef struct bpf_htab:
    bpf_map map
    bucket *buckets
    uint8_t *elems
    uint8_t *percpu_values      # per-CPU maps: the copies of element 0, of element 1, ...
    uint64_t stride
    uint64_t percpu_stride
    uint32_t n_buckets
    uint32_t n_elems            # max_entries and some more, for updates that replace
    uint32_t key_off
    uint32_t value_off
    uint32_t seed
    uint32_t count              # elements in the table (and on their way in)
    uint32_t replacing          # elements taken by updates that replace
    uint32_t fresh              # elements never used begin here
    uint64_t free_top           # free list: low half element number, high half counts changes
    uint32_t is_lru
    uint32_t holds_addresses    # a value is the 8-byte address of a map, though value_size says 4
    bpf_lru lru

cdef htab_elem *htab_find(bpf_map *map, const void *key) noexcept nogil
cdef uint8_t *htab_value(bpf_htab *htab, htab_elem *elem) noexcept nogil

cdef class HashMap(Map):
    cdef bint ready
    cdef int64_t copy_element(self, htab_elem *elem, uint8_t *value, uint64_t flags) noexcept
