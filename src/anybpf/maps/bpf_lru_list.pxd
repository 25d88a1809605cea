# The lists by which an LRU map decides what to forget. Nodes are part of the map's elements.
#
# Common LRU: one set of lists, and per CPU a stock of free nodes and a list of nodes that are new
# ("pending"), so that the common lock is taken once in `target_free` insertions. Per-CPU LRU: every
# CPU has a whole set of lists and a share of the nodes.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

cdef struct bpf_lru_list
cdef struct bpf_lru_node

cdef struct list_head:
    list_head *next
    list_head *prev

cdef struct bpf_lru_node:
    list_head list
    uint16_t cpu
    uint8_t type
    uint8_t ref                 # looked up since it was last looked at

cdef enum:
    LRU_ACTIVE = 0
    LRU_INACTIVE = 1
    LRU_FREE = 2
    LRU_LOCAL_FREE = 3
    LRU_LOCAL_PENDING = 4

cdef struct bpf_lru_list:
    list_head lists[3]
    uint32_t counts[2]          # of the active and the inactive list
    list_head *next_inactive_rotation
    uint32_t lock
    uint32_t fresh              # nodes never used yet: free, but still untouched memory
    uint8_t *next_fresh

cdef struct bpf_lru_locallist:
    list_head free
    list_head pending
    uint32_t next_steal
    uint32_t lock

# Takes the node's element out of the hash table; false if it is not in there (any more).
ctypedef bint (*del_from_htab_t)(void *arg, bpf_lru_node *node) noexcept nogil

cdef struct bpf_lru:
    bint percpu
    uint32_t ncpus
    uint32_t nr_scans
    uint32_t target_free
    int32_t hash_offset         # from a node to its element's hash
    uint32_t node_stride        # from a fresh node to the next
    bpf_lru_list *lists         # one, or one per CPU
    bpf_lru_locallist *local    # one per CPU (common LRU)
    del_from_htab_t del_from_htab
    void *del_arg

cdef int lru_init(bpf_lru *lru, bint percpu, uint32_t ncpus, int32_t hash_offset,
                  del_from_htab_t del_from_htab, void *del_arg) noexcept nogil
cdef void lru_populate(bpf_lru *lru, void *first, uint32_t stride, uint32_t count) noexcept nogil
cdef void lru_destroy(bpf_lru *lru) noexcept nogil
# A node to use, with the hash of its new key stored; NULL if none can be freed.
cdef bpf_lru_node *lru_pop_free(bpf_lru *lru, uint32_t hash, uint32_t cpu) noexcept nogil
cdef void lru_push_free(bpf_lru *lru, bpf_lru_node *node) noexcept nogil

cdef inline void lru_set_ref(bpf_lru_node *node) noexcept nogil:
    if not node.ref:
        node.ref = 1
