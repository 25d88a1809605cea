"""Longest prefix match tries (kernel/bpf/lpm_trie.c).

A binary trie over the bits of the key. A node stands for a prefix; where two prefixes part, there is
an intermediate node without a value, which always has two children. A key is a u32 prefix length
and the data, most significant bit of the first byte first.
"""

from libc.errno cimport EEXIST, EINVAL, ENOENT, ENOMEM, ENOSPC
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from anybpf cimport uapi
from anybpf.maps.bpf_map cimport (ENOTSUPP, Map, bpf_map, bpf_map_area, bpf_map_ops, copy_map_value,
                                  mapping, round_up8, user_size)
from anybpf.maps.sync cimport spin_lock, spin_unlock

from anybpf import uapi as _uapi
from anybpf.maps.refusal import require

#: address space for the nodes of one trie, in bytes
MAX_AREA = 1 << 44

cdef extern from *:
    uint32_t leading_zeros "__builtin_clz"(uint32_t) nogil

cdef enum:
    MAX_DEPTH = 256 * 8 + 1
    NODE_HEADER = 16
    NO_NODE = 0

cdef struct trie_node:
    uint32_t child[2]           # numbers of nodes (1: the first), or NO_NODE; child[0] links free ones
    uint32_t prefixlen
    uint32_t intermediate
    # then the data, then the value, at 8 bytes

cdef struct lpm_trie:
    bpf_map map
    uint8_t *nodes
    uint64_t stride
    uint32_t value_off
    uint32_t data_size
    uint32_t max_prefixlen
    uint32_t root
    uint32_t n_entries
    uint32_t n_nodes
    uint32_t fresh              # nodes never used begin here
    uint32_t free
    uint32_t lock


# -- nodes and bits

cdef inline trie_node *node_at(lpm_trie *trie, uint32_t number) noexcept nogil:
    return <trie_node *> (trie.nodes + <uint64_t> (number - 1) * trie.stride)


cdef inline uint8_t *data_of(trie_node *node) noexcept nogil:
    return <uint8_t *> node + NODE_HEADER


cdef inline uint32_t bit_at(const uint8_t *data, uint32_t index) noexcept nogil:
    return data[index // 8] >> (7 - index % 8) & 1


cdef inline uint32_t key_prefixlen(const void *key) noexcept nogil:
    cdef uint32_t prefixlen
    memcpy(&prefixlen, key, 4)
    return prefixlen


cdef inline const uint8_t *key_data(const void *key) noexcept nogil:
    return <const uint8_t *> key + 4


cdef uint32_t match(trie_node *node, const void *key) noexcept nogil:
    """How many leading bits node and key have in common, up to the shorter prefix."""
    cdef uint32_t limit = min(node.prefixlen, key_prefixlen(key)), bits = 0, differ
    cdef uint8_t *a = data_of(node)
    cdef const uint8_t *b = key_data(key)
    while bits < limit:
        differ = a[bits // 8] ^ b[bits // 8]
        if differ:
            return min(limit, bits + leading_zeros(differ) - 24)
        bits += 8
    return limit


cdef uint32_t take_node(lpm_trie *trie) noexcept nogil:
    """The number of a node without children, or NO_NODE."""
    cdef uint32_t number = trie.free
    cdef trie_node *node
    if number != NO_NODE:
        trie.free = node_at(trie, number).child[0]
    elif trie.fresh < trie.n_nodes:
        trie.fresh += 1
        number = trie.fresh
    if number != NO_NODE:
        node = node_at(trie, number)
        node.child[0] = node.child[1] = NO_NODE
        node.intermediate = 0
    return number


cdef void free_node(lpm_trie *trie, uint32_t number) noexcept nogil:
    node_at(trie, number).child[0] = trie.free
    trie.free = number


# -- what programs call

cdef uint32_t find_longest(lpm_trie *trie, const void *key) noexcept nogil:
    cdef uint32_t number = trie.root, found = NO_NODE, matched
    cdef trie_node *node
    while number != NO_NODE:
        node = node_at(trie, number)
        matched = match(node, key)
        if matched == trie.max_prefixlen:
            return number
        if matched < node.prefixlen:
            break
        if not node.intermediate:
            found = number
        number = node.child[bit_at(key_data(key), node.prefixlen)]
    return found


cdef void *trie_lookup(bpf_map *map, const void *key, uint32_t cpu) noexcept nogil:
    cdef lpm_trie *trie = <lpm_trie *> map
    cdef uint32_t found
    if key_prefixlen(key) > trie.max_prefixlen:
        return NULL
    spin_lock(&trie.lock)
    found = find_longest(trie, key)
    spin_unlock(&trie.lock)
    return NULL if found == NO_NODE else <uint8_t *> node_at(trie, found) + trie.value_off


cdef uint32_t *find_slot(lpm_trie *trie, const void *key, uint32_t *matched) noexcept nogil:
    """The link to the first node that is the key's, parts from it or is longer; or to nothing."""
    cdef uint32_t *slot = &trie.root
    cdef trie_node *node
    while slot[0] != NO_NODE:
        node = node_at(trie, slot[0])
        matched[0] = match(node, key)
        if node.prefixlen != matched[0] or node.prefixlen == key_prefixlen(key):
            break
        slot = &node.child[bit_at(key_data(key), node.prefixlen)]
    return slot


cdef int64_t check_add(lpm_trie *trie, uint64_t flags) noexcept nogil:
    if flags == uapi.BPF_EXIST:
        return -ENOENT
    if trie.n_entries == trie.map.max_entries:
        return -ENOSPC
    return 0


cdef int64_t split(lpm_trie *trie, uint32_t *slot, uint32_t number, const void *key,
                   uint32_t matched) noexcept nogil:
    """Put an intermediate node where the key's new node and the node in the slot part."""
    cdef uint32_t joint = take_node(trie), old = slot[0]
    cdef uint32_t side = bit_at(key_data(key), matched)
    cdef trie_node *node
    if joint == NO_NODE:
        return -ENOMEM
    node = node_at(trie, joint)
    node.intermediate = 1
    node.prefixlen = matched
    memcpy(data_of(node), data_of(node_at(trie, old)), trie.data_size)
    node.child[side] = number
    node.child[1 - side] = old
    slot[0] = joint
    return 0


cdef int64_t place(lpm_trie *trie, uint32_t number, const void *key,
                   uint64_t flags) noexcept nogil:
    """Link a new node into the trie. On an error it is not linked."""
    cdef uint32_t matched = 0, old
    cdef uint32_t *slot = find_slot(trie, key, &matched)
    cdef trie_node *node = node_at(trie, number)
    cdef trie_node *there
    cdef int64_t err
    old = slot[0]
    there = NULL if old == NO_NODE else node_at(trie, old)
    if there != NULL and there.prefixlen == matched and not there.intermediate:
        if flags == uapi.BPF_NOEXIST:
            return -EEXIST
    else:
        err = check_add(trie, flags)
        if err:
            return err
        trie.n_entries += 1
    if there == NULL:
        slot[0] = number
    elif there.prefixlen == matched:            # the same prefix: take its place
        node.child[0] = there.child[0]
        node.child[1] = there.child[1]
        slot[0] = number
        free_node(trie, old)
    elif matched == node.prefixlen:             # the new one is a prefix of what is there
        node.child[bit_at(data_of(there), matched)] = old
        slot[0] = number
    elif split(trie, slot, number, key, matched):
        trie.n_entries -= 1
        return -ENOMEM
    return 0


cdef int64_t trie_update(bpf_map *map, const void *key, const void *value, uint64_t flags,
                         uint32_t cpu) noexcept nogil:
    cdef lpm_trie *trie = <lpm_trie *> map
    cdef int64_t err = -ENOMEM
    cdef uint32_t number
    cdef trie_node *node
    if flags > uapi.BPF_EXIST or key_prefixlen(key) > trie.max_prefixlen:
        return -EINVAL
    spin_lock(&trie.lock)
    number = take_node(trie)
    if number != NO_NODE:
        node = node_at(trie, number)
        node.prefixlen = key_prefixlen(key)
        memcpy(data_of(node), key_data(key), trie.data_size)
        copy_map_value(map, <uint8_t *> node + trie.value_off, value)
        err = place(trie, number, key, flags)
        if err:
            free_node(trie, number)
    spin_unlock(&trie.lock)
    return err


cdef int64_t unlink(lpm_trie *trie, const void *key) noexcept nogil:
    """Delete the key's node, and the intermediate one above it that it leaves with one child."""
    cdef uint32_t matched = 0, number, parent_number = NO_NODE
    cdef uint32_t *slot = &trie.root
    cdef uint32_t *parent_slot = slot
    cdef trie_node *node = NULL
    cdef trie_node *parent = NULL
    while slot[0] != NO_NODE:
        node = node_at(trie, slot[0])
        matched = match(node, key)
        if node.prefixlen != matched or node.prefixlen == key_prefixlen(key):
            break
        parent, parent_slot, parent_number = node, slot, slot[0]
        slot = &node.child[bit_at(key_data(key), node.prefixlen)]
    number = slot[0]
    if (number == NO_NODE or node.prefixlen != key_prefixlen(key) or node.prefixlen != matched
            or node.intermediate):
        return -ENOENT
    trie.n_entries -= 1
    if node.child[0] != NO_NODE and node.child[1] != NO_NODE:
        node.intermediate = 1
        return 0
    if (parent != NULL and parent.intermediate and node.child[0] == NO_NODE
            and node.child[1] == NO_NODE):
        parent_slot[0] = parent.child[1] if parent.child[0] == number else parent.child[0]
        free_node(trie, parent_number)
    else:
        slot[0] = node.child[0] if node.child[0] != NO_NODE else node.child[1]
    free_node(trie, number)
    return 0


cdef int64_t trie_delete(bpf_map *map, const void *key) noexcept nogil:
    cdef lpm_trie *trie = <lpm_trie *> map
    cdef int64_t err
    if key_prefixlen(key) > trie.max_prefixlen:
        return -EINVAL
    spin_lock(&trie.lock)
    err = unlink(trie, key)
    spin_unlock(&trie.lock)
    return err


# -- walking: the most specific first, left before right

cdef uint32_t leftmost(lpm_trie *trie, uint32_t number) noexcept nogil:
    """The first node with a value in postorder below (or at) a node."""
    cdef uint32_t found = NO_NODE
    cdef trie_node *node
    while number != NO_NODE:
        node = node_at(trie, number)
        if not node.intermediate:
            found = number
        number = node.child[0] if node.child[0] != NO_NODE else node.child[1]
    return found


cdef int find_path(lpm_trie *trie, const void *key, uint32_t *path) noexcept nogil:
    """The nodes from the root to the key's own; how many, or 0 if it is not there."""
    cdef uint32_t number = trie.root, matched
    cdef trie_node *node
    cdef int depth = 0
    while number != NO_NODE:
        path[depth] = number
        depth += 1
        node = node_at(trie, number)
        matched = match(node, key)
        if node.prefixlen != matched or node.prefixlen == key_prefixlen(key):
            return 0 if node.prefixlen != matched or node.intermediate else depth
        number = node.child[bit_at(key_data(key), node.prefixlen)]
    return 0


cdef uint32_t successor(lpm_trie *trie, uint32_t *path, int depth) noexcept nogil:
    """The node with a value after the last of the path, in postorder; NO_NODE after the last."""
    cdef trie_node *parent
    while depth > 1:
        parent = node_at(trie, path[depth - 2])
        if parent.child[0] == path[depth - 1] and parent.child[1] != NO_NODE:
            return leftmost(trie, parent.child[1])
        if not parent.intermediate:
            return path[depth - 2]
        depth -= 1
    return NO_NODE


cdef uint32_t after(lpm_trie *trie, const void *key) noexcept nogil:
    cdef uint32_t path[MAX_DEPTH]
    cdef int depth = 0
    if key != NULL and key_prefixlen(key) <= trie.max_prefixlen:
        depth = find_path(trie, key, path)
    return successor(trie, path, depth) if depth else leftmost(trie, trie.root)


cdef bpf_map_ops trie_ops
trie_ops.lookup = trie_lookup
trie_ops.update = trie_update
trie_ops.delete = trie_delete


cdef class LpmTrie(Map):
    """BPF_MAP_TYPE_LPM_TRIE: a key is a u32 prefix length in bits and the data."""

    batch_ops = frozenset({"lookup", "update", "delete"})

    def __init__(self, attr, uint32_t ncpus, seed=0):
        cdef lpm_trie *trie
        self.setup(attr, ncpus, sizeof(lpm_trie))
        trie = <lpm_trie *> self.native
        trie.map.ops = &trie_ops
        trie.data_size = attr.key_size - 4
        trie.max_prefixlen = trie.data_size * 8
        trie.value_off = NODE_HEADER + round_up8(trie.data_size)
        trie.stride = trie.value_off + round_up8(attr.value_size)
        # an intermediate node for every entry but one, and the new node of an update
        trie.n_nodes = min(2 * attr.max_entries + 1, MAX_AREA // trie.stride, _uapi.U32)
        trie.nodes = <uint8_t *> self.area_alloc(trie.n_nodes * trie.stride)
        trie.map.area = bpf_map_area(<uint64_t> trie.nodes, trie.n_nodes * trie.stride, trie.stride,
                                     trie.value_off, attr.value_size)

    @property
    def count(self):
        """How many elements there are."""
        return (<lpm_trie *> self.native).n_entries

    cdef void *sys_value(self, const uint8_t *key) noexcept:
        return trie_lookup(self.native, key, 0)

    cdef int64_t sys_update(self, const uint8_t *key, const uint8_t *value,
                            uint64_t flags) noexcept:
        return trie_update(self.native, key, value, flags, 0)

    cdef int64_t sys_delete(self, const uint8_t *key) noexcept:
        return trie_delete(self.native, key)

    cdef int64_t sys_next_key(self, const uint8_t *key, uint8_t *next_key) noexcept:
        cdef lpm_trie *trie = <lpm_trie *> self.native
        cdef trie_node *node
        cdef uint32_t number
        spin_lock(&trie.lock)
        number = after(trie, key)
        if number != NO_NODE:
            node = node_at(trie, number)
            memcpy(next_key, &node.prefixlen, 4)
            memcpy(next_key + 4, data_of(node), trie.data_size)
        spin_unlock(&trie.lock)
        return -ENOENT if number == NO_NODE else 0
