"""Hash tables: plain, per-CPU, LRU and LRU per-CPU (kernel/bpf/hashtab.c).

Lookups take no lock; changes take the bucket's. An update of an existing element of a plain table puts
a new element at the head of the chain, so a program that holds the old value's address keeps seeing
the old value until the element is used again, as in the kernel. Elements never move and are never
unmapped while the map lives.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport E2BIG, EEXIST, EINVAL, ENOENT, ENOMEM, ENOSPC
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memset

from anybpf cimport uapi
from anybpf.maps.bpf_lru_list cimport (bpf_lru, bpf_lru_node, lru_destroy, lru_init, lru_pop_free,
                                       lru_populate, lru_push_free, lru_set_ref)
from anybpf.maps.bpf_map cimport (ENOTSUPP, Map, bpf_map, bpf_map_area, bpf_map_ops, bpf_map_visit_t,
                                  copy_map_value, copy_map_value_locked, mapping, round_up8, user_size)
from anybpf.maps.jhash cimport jhash
from anybpf.maps.sync cimport (cas64, fetch_add32, load32, load64, spin_lock, spin_unlock, store32)

from anybpf import uapi as _uapi
from anybpf.maps.attr import Batch
from anybpf.maps.refusal import fail, require

cdef enum:
    SPARE = 16                  # elements for updates that replace, besides one per CPU
    ELEM_HEADER = 16            # sizeof(struct htab_elem)
    LRU_HEADER = 40             # with the bpf_lru_node
    ALL_CPUS = 0xFFFFFFFF       # in place of a CPU: the value has the copies of all

LRU_HASHES = (_uapi.BPF_MAP_TYPE_LRU_HASH, _uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH)
#: more buckets than this overflow the size of the kernel's bucket array
HASH_MAX_BUCKETS = 1 << 27


# -- elements

cdef inline htab_elem *elem_at(bpf_htab *htab, uint32_t number) noexcept nogil:
    return <htab_elem *> (htab.elems + <uint64_t> (number - 1) * htab.stride)


cdef inline uint8_t *elem_key(bpf_htab *htab, htab_elem *elem) noexcept nogil:
    return <uint8_t *> elem + htab.key_off


cdef inline bpf_lru_node *lru_node(htab_elem *elem) noexcept nogil:
    return <bpf_lru_node *> (<uint8_t *> elem + ELEM_HEADER)


cdef inline htab_elem *elem_of_node(bpf_lru_node *node) noexcept nogil:
    return <htab_elem *> (<uint8_t *> node - ELEM_HEADER)


cdef uint8_t *htab_value(bpf_htab *htab, htab_elem *elem) noexcept nogil:
    """The value, or the first CPU's copy of it."""
    if htab.map.percpu:
        return htab.percpu_values + <uint64_t> (elem.number - 1) * htab.percpu_stride
    return <uint8_t *> elem + htab.value_off


cdef htab_elem *take_elem(bpf_htab *htab) noexcept nogil:
    """An element from the free list or from memory never touched; NULL if all are in use."""
    cdef uint64_t top
    cdef uint32_t number
    while True:
        top = load64(&htab.free_top)
        number = <uint32_t> top
        if not number:
            break
        if cas64(&htab.free_top, top,
                 ((top >> 32) + 1) << 32 | load32(&elem_at(htab, number).next_free)):
            return elem_at(htab, number)
    if load32(&htab.fresh) >= htab.n_elems:
        return NULL
    number = fetch_add32(&htab.fresh, 1)
    if number < htab.n_elems:
        elem_at(htab, number + 1).number = number + 1
        return elem_at(htab, number + 1)
    fetch_add32(&htab.fresh, <uint32_t> -1)
    return NULL


cdef void free_elem(bpf_htab *htab, htab_elem *elem) noexcept nogil:
    cdef uint64_t top
    while True:
        top = load64(&htab.free_top)
        store32(&elem.next_free, <uint32_t> top)
        if cas64(&htab.free_top, top, ((top >> 32) + 1) << 32 | elem.number):
            return


cdef inline bint take_count(uint32_t *count, uint32_t limit) noexcept nogil:
    if fetch_add32(count, 1) < limit:
        return True
    fetch_add32(count, <uint32_t> -1)
    return False


# -- chains

cdef inline bint same_key(const void *a, const void *b, uint32_t size) noexcept nogil:
    if size == 4:
        return not memcmp(a, b, 4)          # constant sizes: one comparison, no call
    if size == 8:
        return not memcmp(a, b, 8)
    return not memcmp(a, b, size)


cdef inline bucket *bucket_of(bpf_htab *htab, uint32_t hash) noexcept nogil:
    return &htab.buckets[hash & (htab.n_buckets - 1)]


cdef inline bint in_chain(uint32_t link) noexcept nogil:
    return link != 0 and not link & NULLS


cdef htab_elem *find_in(bpf_htab *htab, bucket *b, uint32_t hash, const void *key) noexcept nogil:
    """The element with this key, or NULL; needs no lock."""
    cdef uint32_t link, index = hash & (htab.n_buckets - 1)
    cdef htab_elem *elem
    while True:
        link = load32(&b.head)
        while in_chain(link):
            elem = elem_at(htab, link)
            if elem.hash == hash and same_key(elem_key(htab, elem), key,
                                                    htab.map.key_size):
                return elem
            link = load32(&elem.next)
        if link == 0 or link == (NULLS | index):
            return NULL


cdef inline void chain_add(bpf_htab *htab, bucket *b, htab_elem *elem) noexcept nogil:
    cdef uint32_t head = b.head
    store32(&elem.next, head if head else <uint32_t> (NULLS | <uint32_t> (b - htab.buckets)))
    store32(&b.head, elem.number)


cdef bint chain_del(bpf_htab *htab, bucket *b, htab_elem *elem) noexcept nogil:
    """Unlink, if it is in this chain. The element's own link stays, for readers standing on it."""
    cdef uint32_t *link = &b.head
    while in_chain(link[0]):
        if link[0] == elem.number:
            store32(link, elem.next)
            return True
        link = &elem_at(htab, link[0]).next
    return False


cdef inline uint32_t hash_key(bpf_htab *htab, const void *key) noexcept nogil:
    return jhash(key, htab.map.key_size, htab.seed)


cdef htab_elem *htab_find(bpf_map *map, const void *key) noexcept nogil:
    cdef bpf_htab *htab = <bpf_htab *> map
    cdef uint32_t hash = hash_key(htab, key)
    return find_in(htab, bucket_of(htab, hash), hash, key)


# -- what programs call

cdef void *htab_lookup(bpf_map *map, const void *key, uint32_t cpu) noexcept nogil:
    cdef htab_elem *elem = htab_find(map, key)
    return NULL if elem == NULL else <uint8_t *> elem + (<bpf_htab *> map).value_off


cdef void *htab_percpu_lookup(bpf_map *map, const void *key, uint32_t cpu) noexcept nogil:
    cdef htab_elem *elem = htab_find(map, key)
    if elem == NULL:
        return NULL
    return htab_value(<bpf_htab *> map, elem) + cpu * round_up8(map.value_size)


cdef void *htab_lru_lookup(bpf_map *map, const void *key, uint32_t cpu) noexcept nogil:
    cdef htab_elem *elem = htab_find(map, key)
    if elem == NULL:
        return NULL
    lru_set_ref(lru_node(elem))
    return <uint8_t *> elem + (<bpf_htab *> map).value_off


cdef void *htab_lru_percpu_lookup(bpf_map *map, const void *key, uint32_t cpu) noexcept nogil:
    cdef htab_elem *elem = htab_find(map, key)
    if elem == NULL:
        return NULL
    lru_set_ref(lru_node(elem))
    return htab_value(<bpf_htab *> map, elem) + cpu * round_up8(map.value_size)


cdef inline int64_t check_flags(htab_elem *old, uint64_t flags) noexcept nogil:
    flags &= ~<uint64_t> uapi.BPF_F_LOCK
    if old != NULL and flags == uapi.BPF_NOEXIST:
        return -EEXIST
    if old == NULL and flags == uapi.BPF_EXIST:
        return -ENOENT
    return 0


cdef void set_percpu(bpf_htab *htab, htab_elem *elem, const void *value, uint32_t cpu,
                     bint fresh) noexcept nogil:
    """One CPU's copy (a new element has zeros in the others), or all."""
    cdef uint8_t *copies = htab_value(htab, elem)
    if cpu == ALL_CPUS:
        memcpy(copies, value, htab.percpu_stride)
        return
    if fresh:
        memset(copies, 0, htab.percpu_stride)
    copy_map_value(&htab.map, copies + cpu * round_up8(htab.map.value_size), value)


cdef inline void write_value(bpf_htab *htab, htab_elem *elem, const void *value) noexcept nogil:
    if htab.holds_addresses:
        memcpy(<uint8_t *> elem + htab.value_off, value, 8)
    else:
        copy_map_value(&htab.map, <uint8_t *> elem + htab.value_off, value)


cdef void set_value(bpf_htab *htab, htab_elem *elem, const void *value) noexcept nogil:
    """The value of a new element, its spin lock free."""
    if htab.map.spin_lock_off >= 0:
        memset(<uint8_t *> elem + htab.value_off + htab.map.spin_lock_off, 0, 4)
    write_value(htab, elem, value)


cdef void fill(bpf_htab *htab, htab_elem *elem, uint32_t hash, const void *key, const void *value,
               uint32_t cpu) noexcept nogil:
    elem.hash = hash
    memcpy(elem_key(htab, elem), key, htab.map.key_size)
    if htab.map.percpu:
        set_percpu(htab, elem, value, cpu, True)
    else:
        set_value(htab, elem, value)


cdef int64_t insert(bpf_htab *htab, bucket *b, uint32_t hash, const void *key, const void *value,
                    uint32_t cpu) noexcept nogil:
    cdef htab_elem *elem
    if not take_count(&htab.count, htab.map.max_entries):
        return -E2BIG
    elem = take_elem(htab)
    if elem == NULL:
        fetch_add32(&htab.count, <uint32_t> -1)
        return -E2BIG
    fill(htab, elem, hash, key, value, cpu)
    chain_add(htab, b, elem)
    return 0


cdef int64_t replace(bpf_htab *htab, bucket *b, htab_elem *old, uint32_t hash, const void *key,
                     const void *value, uint32_t cpu) noexcept nogil:
    """Put a new element in place of `old`; where many threads do so at once, write in place."""
    cdef htab_elem *elem = NULL
    cdef bint counted = take_count(&htab.replacing, htab.n_elems - htab.map.max_entries)
    if counted:
        elem = take_elem(htab)
    if elem == NULL:
        write_value(htab, old, value)
    else:
        fill(htab, elem, hash, key, value, cpu)
        chain_add(htab, b, elem)
        chain_del(htab, b, old)
        free_elem(htab, old)
    if counted:
        fetch_add32(&htab.replacing, <uint32_t> -1)
    return 0


cdef int64_t update_locked(bpf_htab *htab, bucket *b, uint32_t hash, const void *key,
                           const void *value, uint64_t flags, uint32_t cpu) noexcept nogil:
    """htab_update with the bucket locked."""
    cdef htab_elem *old = find_in(htab, b, hash, key)
    cdef int64_t err = check_flags(old, flags)
    if err:
        return err
    if old == NULL:
        return insert(htab, b, hash, key, value, cpu)
    if flags & uapi.BPF_F_LOCK:
        return copy_map_value_locked(&htab.map, <uint8_t *> old + htab.value_off, value, False)
    if htab.map.percpu:
        set_percpu(htab, old, value, cpu, False)
        return 0
    return replace(htab, b, old, hash, key, value, cpu)


cdef int64_t htab_update(bpf_map *map, const void *key, const void *value, uint64_t flags,
                         uint32_t cpu) noexcept nogil:
    cdef bpf_htab *htab = <bpf_htab *> map
    cdef uint32_t hash = hash_key(htab, key)
    cdef bucket *b = bucket_of(htab, hash)
    cdef int64_t err
    if flags & ~<uint64_t> uapi.BPF_F_LOCK > uapi.BPF_EXIST:
        return -EINVAL
    if flags & uapi.BPF_F_LOCK and (map.percpu or map.spin_lock_off < 0):
        return -EINVAL
    spin_lock(&b.lock)
    err = update_locked(htab, b, hash, key, value, flags, cpu)
    spin_unlock(&b.lock)
    return err


cdef int64_t htab_delete(bpf_map *map, const void *key) noexcept nogil:
    cdef bpf_htab *htab = <bpf_htab *> map
    cdef uint32_t hash = hash_key(htab, key)
    cdef bucket *b = bucket_of(htab, hash)
    cdef htab_elem *elem
    spin_lock(&b.lock)
    elem = find_in(htab, b, hash, key)
    if elem != NULL:
        chain_del(htab, b, elem)
    spin_unlock(&b.lock)
    if elem == NULL:
        return -ENOENT
    release(htab, elem)
    return 0


cdef void release(bpf_htab *htab, htab_elem *elem) noexcept nogil:
    """Give back an element that is out of its chain."""
    if htab.is_lru:
        lru_push_free(&htab.lru, lru_node(elem))
    else:
        free_elem(htab, elem)
    fetch_add32(&htab.count, <uint32_t> -1)


cdef int64_t htab_for_each(bpf_map *map, bpf_map_visit_t visit, void *arg, uint64_t flags,
                           uint32_t cpu) noexcept nogil:
    cdef bpf_htab *htab = <bpf_htab *> map
    cdef uint64_t value_off = cpu * round_up8(map.value_size) if map.percpu else 0
    cdef uint32_t i, link
    cdef int64_t visited = 0
    cdef htab_elem *elem
    if flags:
        return -EINVAL
    for i in range(htab.n_buckets):
        link = load32(&htab.buckets[i].head)
        while in_chain(link):
            elem = elem_at(htab, link)
            link = load32(&elem.next)       # before the visit, which may delete the element
            visited += 1
            if visit(map, elem_key(htab, elem), htab_value(htab, elem) + value_off, arg):
                return visited
    return visited


# -- LRU

cdef bint lru_evict(void *arg, bpf_lru_node *node) noexcept nogil:
    """Take the node's element out of its chain, if it is still in it."""
    cdef bpf_htab *htab = <bpf_htab *> arg
    cdef htab_elem *elem = elem_of_node(node)
    cdef bucket *b = bucket_of(htab, elem.hash)
    cdef bint found
    spin_lock(&b.lock)
    found = chain_del(htab, b, elem)
    spin_unlock(&b.lock)
    if found:
        fetch_add32(&htab.count, <uint32_t> -1)
    return found


cdef htab_elem *lru_take(bpf_htab *htab, const void *key, uint32_t hash,
                         uint32_t cpu) noexcept nogil:
    cdef bpf_lru_node *node = lru_pop_free(&htab.lru, hash, cpu)
    cdef htab_elem *elem
    if node == NULL:
        return NULL
    fetch_add32(&htab.count, 1)
    elem = elem_of_node(node)
    if not elem.number:
        elem.number = <uint32_t> ((<uint8_t *> elem - htab.elems) // htab.stride) + 1
    memcpy(elem_key(htab, elem), key, htab.map.key_size)
    return elem


cdef int64_t lru_update(bpf_map *map, const void *key, const void *value, uint64_t flags,
                        uint32_t cpu) noexcept nogil:
    cdef bpf_htab *htab = <bpf_htab *> map
    cdef uint32_t hash = hash_key(htab, key)
    cdef bucket *b = bucket_of(htab, hash)
    cdef htab_elem *elem
    cdef htab_elem *old
    cdef int64_t err
    if flags > uapi.BPF_EXIST:
        return -EINVAL
    elem = lru_take(htab, key, hash, cpu)   # may evict, so before the bucket is locked
    if elem == NULL:
        return -ENOMEM
    set_value(htab, elem, value)
    spin_lock(&b.lock)
    old = find_in(htab, b, hash, key)
    err = check_flags(old, flags)
    if not err:
        chain_add(htab, b, elem)
        if old != NULL:
            lru_set_ref(lru_node(elem))
            chain_del(htab, b, old)
    spin_unlock(&b.lock)
    if err:
        release(htab, elem)
    elif old != NULL:
        release(htab, old)
    return err


cdef int64_t lru_percpu_update_on(bpf_htab *htab, const void *key, const void *value,
                                  uint64_t flags, uint32_t cpu, uint32_t copies) noexcept nogil:
    """Update on CPU `cpu`; `copies` is that CPU, or ALL_CPUS to set every copy."""
    cdef uint32_t hash = hash_key(htab, key)
    cdef bucket *b = bucket_of(htab, hash)
    cdef htab_elem *elem = NULL
    cdef htab_elem *old
    cdef int64_t err
    if flags > uapi.BPF_EXIST:
        return -EINVAL
    if flags != uapi.BPF_EXIST:
        elem = lru_take(htab, key, hash, cpu)
        if elem == NULL:
            return -ENOMEM
    spin_lock(&b.lock)
    old = find_in(htab, b, hash, key)
    err = check_flags(old, flags)
    if not err and old != NULL:
        lru_set_ref(lru_node(old))
        set_percpu(htab, old, value, copies, False)
    elif not err:
        set_percpu(htab, elem, value, copies, True)
        chain_add(htab, b, elem)
        elem = NULL
    spin_unlock(&b.lock)
    if elem != NULL:
        release(htab, elem)
    return err


cdef int64_t lru_percpu_update(bpf_map *map, const void *key, const void *value, uint64_t flags,
                               uint32_t cpu) noexcept nogil:
    return lru_percpu_update_on(<bpf_htab *> map, key, value, flags, cpu, cpu)


cdef bpf_map_ops htab_ops, htab_percpu_ops, lru_ops, lru_percpu_ops

cdef void init_ops(bpf_map_ops *ops):
    ops.update = htab_update
    ops.delete = htab_delete
    ops.for_each = htab_for_each

init_ops(&htab_ops)
init_ops(&htab_percpu_ops)
init_ops(&lru_ops)
init_ops(&lru_percpu_ops)
htab_ops.lookup = htab_lookup
htab_percpu_ops.lookup = htab_percpu_lookup
lru_ops.lookup = htab_lru_lookup
lru_ops.update = lru_update
lru_percpu_ops.lookup = htab_lru_percpu_lookup
lru_percpu_ops.update = lru_percpu_update


cdef const bpf_map_ops *ops_of(bint lru, bint percpu) noexcept:
    if lru:
        return &lru_percpu_ops if percpu else &lru_ops
    return &htab_percpu_ops if percpu else &htab_ops


# -- creation

def lru_entries(uint32_t entries, uint32_t ncpus):
    """The entries of an LRU map with lists per CPU: the same for every CPU."""
    cdef uint64_t up = (<uint64_t> entries + ncpus - 1) // ncpus * ncpus
    return up if up <= _uapi.U32 else up - ncpus


cdef class HashMap(Map):
    """BPF_MAP_TYPE_HASH, PERCPU_HASH, LRU_HASH and LRU_PERCPU_HASH."""

    batch_ops = frozenset({"lookup", "lookup_and_delete", "update", "delete"})

    def __init__(self, attr, uint32_t ncpus, seed=0):
        self.setup(attr, ncpus, sizeof(bpf_htab))
        self.lay_out(attr, seed)
        if attr.map_type in LRU_HASHES:
            self.init_lru(attr.map_flags)

    def __dealloc__(self):
        if self.native != NULL:
            lru_destroy(&(<bpf_htab *> self.native).lru)

    def lay_out(self, attr, seed):
        """Choose offsets and reserve memory; everything is zero, so nothing is touched."""
        cdef bpf_htab *htab = <bpf_htab *> self.native
        cdef bint lru = attr.map_type in LRU_HASHES
        cdef bint percpu = htab.map.percpu
        entries = attr.max_entries
        if attr.map_flags & uapi.BPF_F_NO_COMMON_LRU:
            entries = lru_entries(entries, htab.map.ncpus)
        require(entries <= HASH_MAX_BUCKETS, E2BIG, "max_entries")
        htab.map.max_entries = entries
        htab.map.ops = ops_of(lru, percpu)
        htab.is_lru = lru
        htab.seed = 0 if attr.map_flags & uapi.BPF_F_ZERO_SEED else seed & _uapi.U32
        htab.n_buckets = 1 << (entries - 1).bit_length()
        htab.n_elems = entries if lru else entries + htab.map.ncpus + SPARE
        htab.key_off = LRU_HEADER if lru else ELEM_HEADER
        htab.value_off = htab.key_off + round_up8(attr.key_size)
        htab.stride = htab.value_off + (0 if percpu else round_up8(attr.value_size))
        htab.percpu_stride = htab.map.ncpus * round_up8(attr.value_size)
        htab.buckets = <bucket *> self.area_alloc(<uint64_t> htab.n_buckets * sizeof(bucket))
        htab.elems = <uint8_t *> self.area_alloc(htab.n_elems * htab.stride)
        if percpu:
            htab.percpu_values = <uint8_t *> self.area_alloc(htab.n_elems * htab.percpu_stride)
        self.describe_area()

    def describe_area(self):
        """Tell where programs find values."""
        cdef bpf_htab *htab = <bpf_htab *> self.native
        cdef bpf_map *map = self.native
        if map.percpu:
            map.area = bpf_map_area(<uint64_t> htab.percpu_values, htab.n_elems * htab.percpu_stride,
                                    round_up8(map.value_size), 0, map.value_size)
        else:
            map.area = bpf_map_area(<uint64_t> htab.elems, htab.n_elems * htab.stride, htab.stride,
                                    htab.value_off, map.value_size)

    def init_lru(self, flags):
        """Set up the lists and give them all elements."""
        cdef bpf_htab *htab = <bpf_htab *> self.native
        cdef bint percpu_lru = flags & uapi.BPF_F_NO_COMMON_LRU
        # elem.hash lies before the node
        if lru_init(&htab.lru, percpu_lru, htab.map.ncpus, 4 - ELEM_HEADER, lru_evict,
                    htab):
            fail(ENOMEM, "LRU lists")
        lru_populate(&htab.lru, htab.elems + ELEM_HEADER, <uint32_t> htab.stride, htab.n_elems)

    @property
    def batch_size(self):
        """Bytes of the opaque position in batch lookups: a bucket number."""
        return 4

    @property
    def count(self):
        """How many elements there are."""
        return (<bpf_htab *> self.native).count

    # -- bpf(2)

    cdef int64_t copy_element(self, htab_elem *elem, uint8_t *value, uint64_t flags) noexcept:
        return self.copy_out(htab_value(<bpf_htab *> self.native, elem), value, flags)

    cdef int64_t sys_lookup(self, const uint8_t *key, uint8_t *value, uint64_t flags) noexcept:
        cdef htab_elem *elem = htab_find(self.native, key)
        return -ENOENT if elem == NULL else self.copy_element(elem, value, flags)

    cdef int64_t sys_update(self, const uint8_t *key, const uint8_t *value,
                            uint64_t flags) noexcept:
        cdef bpf_htab *htab = <bpf_htab *> self.native
        if htab.is_lru and htab.map.percpu:
            return lru_percpu_update_on(htab, key, value, flags, self.sys_cpu, ALL_CPUS)
        if htab.map.percpu:
            return htab_update(self.native, key, value, flags, ALL_CPUS)
        if htab.is_lru:
            return lru_update(self.native, key, value, flags, self.sys_cpu)
        return htab_update(self.native, key, value, flags, self.sys_cpu)

    cdef int64_t sys_delete(self, const uint8_t *key) noexcept:
        return htab_delete(self.native, key)

    cdef int64_t sys_next_key(self, const uint8_t *key, uint8_t *next_key) noexcept:
        cdef bpf_htab *htab = <bpf_htab *> self.native
        cdef htab_elem *elem = NULL
        cdef uint32_t i = 0, link = 0
        if key != NULL:
            elem = htab_find(self.native, key)
        if elem != NULL:
            link = load32(&elem.next)
            i = (elem.hash & (htab.n_buckets - 1)) + 1
        while not in_chain(link) and i < htab.n_buckets:
            link = load32(&htab.buckets[i].head)
            i += 1
        if not in_chain(link):
            return -ENOENT
        memcpy(next_key, elem_key(htab, elem_at(htab, link)), htab.map.key_size)
        return 0

    cdef int64_t sys_pop(self, const uint8_t *key, uint8_t *value, uint64_t flags) noexcept:
        cdef bpf_htab *htab = <bpf_htab *> self.native
        cdef uint32_t hash = hash_key(htab, key)
        cdef bucket *b = bucket_of(htab, hash)
        cdef htab_elem *elem
        cdef int64_t err = -ENOENT
        spin_lock(&b.lock)
        elem = find_in(htab, b, hash, key)
        if elem != NULL:
            err = self.copy_element(elem, value, flags)
            if not err:
                chain_del(htab, b, elem)
        spin_unlock(&b.lock)
        if not err:
            release(htab, elem)
        return err

    # -- batches go by whole buckets

    def lookup_batch(self, start=None, count=0, elem_flags=0, flags=0):
        """Whole buckets, up to `count` elements. ENOSPC if the first does not fit, ENOENT at the end."""
        self.check_batch("lookup", elem_flags)
        return self.bucket_batch(start, count, elem_flags, flags, False)

    def lookup_and_delete_batch(self, start=None, count=0, elem_flags=0, flags=0):
        """lookup_batch that removes what it returns."""
        self.check_write()
        self.check_batch("lookup_and_delete", elem_flags)
        return self.bucket_batch(start, count, elem_flags, flags, True)

    def bucket_batch(self, start, count, elem_flags, flags, delete):
        """Take buckets from position `start` while they fit; see Batch."""
        cdef bpf_htab *htab = <bpf_htab *> self.native
        cdef uint64_t room = count
        index = 0 if start is None else self.as_position(start)
        require(flags == 0, EINVAL, "batch flags")
        if not count:
            return Batch(0, 0)
        if index >= htab.n_buckets:
            return Batch(ENOENT, 0)
        keys, values, number = [], [], 0
        while not number:
            found = self.take_bucket(index, room, elem_flags, delete)
            if found is None:
                number = 0 if room < <uint64_t> count else ENOSPC
                break
            keys.append(found[0])
            values.append(found[1])
            room -= len(found[0]) // htab.map.key_size
            index = self.next_bucket(index + 1)
            number = ENOENT if index >= htab.n_buckets else 0
        return Batch(number, count - room, b"".join(keys), b"".join(values),
                     int(index).to_bytes(4, "little"))

    def next_bucket(self, uint32_t index):
        """The first bucket from `index` on that is not empty, or else the last one, or the end."""
        cdef bpf_htab *htab = <bpf_htab *> self.native
        while index + 1 < htab.n_buckets and not in_chain(load32(&htab.buckets[index].head)):
            index += 1
        return index

    def as_position(self, start):
        """The bucket number that a batch left off at."""
        require(len(start) == 4, EINVAL, "batch position")
        return int.from_bytes(start, "little")

    def take_bucket(self, uint32_t index, uint64_t room, uint64_t flags, bint delete):
        """(keys, values) of a bucket, removed with `delete`; None if there are more than `room`."""
        cdef bpf_htab *htab = <bpf_htab *> self.native
        cdef bucket *b = &htab.buckets[index]
        cdef uint64_t key_size = htab.map.key_size, value_size = user_size(self.native)
        cdef bytes keys, values
        cdef uint32_t link = 0, n = 0, taken = 0
        cdef int64_t err = 0
        keys = values = b""
        spin_lock(&b.lock)
        while chain_length(htab, b) != n and chain_length(htab, b) <= room:
            n = chain_length(htab, b)
            spin_unlock(&b.lock)
            keys = PyBytes_FromStringAndSize(NULL, n * key_size)
            values = PyBytes_FromStringAndSize(NULL, n * value_size)
            spin_lock(&b.lock)
        if chain_length(htab, b) > room:
            spin_unlock(&b.lock)
            return None
        link = b.head
        while in_chain(link) and not err:
            elem = elem_at(htab, link)
            memcpy(<char *> PyBytes_AS_STRING(keys) + taken * key_size, elem_key(htab, elem), key_size)
            err = self.copy_element(elem, <uint8_t *> PyBytes_AS_STRING(values) + taken * value_size,
                                    flags)
            taken += 1
            link = elem.next
        link = b.head
        if delete and not err:
            store32(&b.head, 0)
        spin_unlock(&b.lock)
        self.check(err)
        while delete and in_chain(link):
            elem = elem_at(htab, link)
            link = elem.next
            release(htab, elem)
        return keys, values


cdef uint32_t chain_length(bpf_htab *htab, bucket *b) noexcept nogil:
    cdef uint32_t link = b.head, n = 0
    while in_chain(link):
        n += 1
        link = elem_at(htab, link).next
    return n
