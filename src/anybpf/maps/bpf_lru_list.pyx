"""Which element an LRU map forgets: active, inactive and free lists (kernel/bpf/bpf_lru_list.c).

A new node starts on the inactive list (through a CPU's pending list in a common LRU). A lookup only
sets the node's `ref`. When free nodes run out, the lists are rotated: referenced nodes move to the
active list, unreferenced active ones back to the inactive list, and unreferenced nodes are taken off
the inactive list's tail. Which nodes go is the kernel's choice, step for step: programs can see it.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free

from anybpf.maps.sync cimport spin_lock, spin_unlock

cdef enum:
    LOCAL_FREE_TARGET = 128     # free nodes a CPU fetches at a time, and nodes looked at for it
    PERCPU_FREE_TARGET = 4      # the same for per-CPU lists


# -- doubly linked lists with a head

cdef inline void list_init(list_head *head) noexcept nogil:
    head.next = head
    head.prev = head


cdef inline bint list_empty(list_head *head) noexcept nogil:
    return head.next == head


cdef inline void list_del(list_head *entry) noexcept nogil:
    entry.next.prev = entry.prev
    entry.prev.next = entry.next


cdef inline void list_add(list_head *entry, list_head *head) noexcept nogil:
    entry.next = head.next
    entry.prev = head
    head.next.prev = entry
    head.next = entry


cdef inline void list_move(list_head *entry, list_head *head) noexcept nogil:
    list_del(entry)
    list_add(entry, head)


cdef inline bpf_lru_node *node_of(list_head *entry) noexcept nogil:
    return <bpf_lru_node *> entry       # `list` is its first member


# -- moving a node between the lists of one set

cdef inline void count(bpf_lru_list *l, uint8_t type, int by) noexcept nogil:
    if type < LRU_FREE:
        l.counts[type] += by


cdef inline void leave_rotation(bpf_lru_list *l, bpf_lru_node *node) noexcept nogil:
    """The next rotation of the inactive list must not start at a node that leaves it."""
    if &node.list == l.next_inactive_rotation:
        l.next_inactive_rotation = l.next_inactive_rotation.prev


cdef inline void move_to_free(bpf_lru_list *l, bpf_lru_node *node, list_head *target,
                              uint8_t type) noexcept nogil:
    leave_rotation(l, node)
    count(l, node.type, -1)
    node.type = type
    list_move(&node.list, target)


cdef inline void move_in(bpf_lru_list *l, bpf_lru_node *node, uint8_t type) noexcept nogil:
    """From a CPU's pending list."""
    count(l, type, 1)
    node.type = type
    node.ref = 0
    list_move(&node.list, &l.lists[type])


cdef inline void move(bpf_lru_list *l, bpf_lru_node *node, uint8_t type) noexcept nogil:
    if node.type != type:
        count(l, node.type, -1)
        count(l, type, 1)
        node.type = type
    node.ref = 0
    leave_rotation(l, node)
    list_move(&node.list, &l.lists[type])


# -- rotating and shrinking

cdef void rotate_active(bpf_lru *lru, bpf_lru_list *l) noexcept nogil:
    """From the tail: referenced nodes to the head, the others to the inactive list."""
    cdef list_head *head = &l.lists[LRU_ACTIVE]
    cdef list_head *first = head.next
    cdef list_head *entry = head.prev
    cdef list_head *before
    cdef uint32_t scanned = 0
    while entry != head:
        before = entry.prev
        move(l, node_of(entry), LRU_ACTIVE if node_of(entry).ref else LRU_INACTIVE)
        scanned += 1
        if scanned == lru.nr_scans or entry == first:
            break
        entry = before


cdef void rotate_inactive(bpf_lru *lru, bpf_lru_list *l) noexcept nogil:
    """Referenced nodes become active; the walk goes on where the last one stopped."""
    cdef list_head *head = &l.lists[LRU_INACTIVE]
    cdef list_head *last
    cdef list_head *entry
    cdef list_head *following = head
    cdef uint32_t scanned = 0
    if list_empty(head):
        return
    last = l.next_inactive_rotation.next
    if last == head:
        last = last.next
    entry = l.next_inactive_rotation
    while scanned < lru.nr_scans:
        if entry == head:
            entry = entry.prev
            continue
        following = entry.prev
        if node_of(entry).ref:
            move(l, node_of(entry), LRU_ACTIVE)
        if entry == last:
            break
        entry = following
        scanned += 1
    l.next_inactive_rotation = following


cdef void rotate(bpf_lru *lru, bpf_lru_list *l) noexcept nogil:
    if l.counts[LRU_INACTIVE] < l.counts[LRU_ACTIVE]:
        rotate_active(lru, l)
    rotate_inactive(lru, l)


cdef uint32_t shrink_inactive(bpf_lru *lru, bpf_lru_list *l, uint32_t wanted, list_head *target,
                              uint8_t type) noexcept nogil:
    """Free unreferenced nodes from the tail of the inactive list; how many were freed."""
    cdef list_head *head = &l.lists[LRU_INACTIVE]
    cdef list_head *entry = head.prev
    cdef list_head *before
    cdef bpf_lru_node *node
    cdef uint32_t freed = 0, scanned = 0
    while entry != head:
        before = entry.prev
        node = node_of(entry)
        if node.ref:
            move(l, node, LRU_ACTIVE)
        elif lru.del_from_htab(lru.del_arg, node):
            move_to_free(l, node, target, type)
            freed += 1
            if freed == wanted:
                break
        scanned += 1
        if scanned == lru.nr_scans:
            break
        entry = before
    return freed


cdef void force_shrink(bpf_lru *lru, bpf_lru_list *l, list_head *target,
                       uint8_t type) noexcept nogil:
    """Free one node, referenced or not."""
    cdef uint8_t source = LRU_ACTIVE if list_empty(&l.lists[LRU_INACTIVE]) else LRU_INACTIVE
    cdef list_head *head = &l.lists[source]
    cdef list_head *entry = head.prev
    cdef list_head *before
    while entry != head:
        before = entry.prev
        if lru.del_from_htab(lru.del_arg, node_of(entry)):
            move_to_free(l, node_of(entry), target, type)
            return
        entry = before


cdef void shrink(bpf_lru *lru, bpf_lru_list *l, uint32_t wanted, list_head *target,
                 uint8_t type) noexcept nogil:
    if not shrink_inactive(lru, l, wanted, target, type):
        force_shrink(lru, l, target, type)


cdef bpf_lru_node *first_free(bpf_lru *lru, bpf_lru_list *l) noexcept nogil:
    """A free node, on the free list, or NULL. Untouched memory is only used once all else is."""
    cdef bpf_lru_node *node
    if not list_empty(&l.lists[LRU_FREE]):
        return node_of(l.lists[LRU_FREE].next)
    if not l.fresh:
        return NULL
    node = <bpf_lru_node *> l.next_fresh
    l.fresh -= 1
    l.next_fresh += lru.node_stride
    node.cpu = <uint16_t> (l - lru.lists)
    node.type = LRU_FREE
    list_add(&node.list, &l.lists[LRU_FREE])
    return node


# -- common LRU

cdef void flush_pending(bpf_lru_list *l, bpf_lru_locallist *local) noexcept nogil:
    cdef list_head *entry = local.pending.prev
    cdef list_head *before
    while entry != &local.pending:
        before = entry.prev
        move_in(l, node_of(entry), LRU_ACTIVE if node_of(entry).ref else LRU_INACTIVE)
        entry = before


cdef void refill_local(bpf_lru *lru, bpf_lru_locallist *local) noexcept nogil:
    """Fetch `target_free` free nodes for a CPU, evicting elements where too few are free."""
    cdef bpf_lru_list *l = lru.lists
    cdef bpf_lru_node *node
    cdef uint32_t found = 0
    spin_lock(&l.lock)
    flush_pending(l, local)
    rotate(lru, l)
    while found < lru.target_free:
        node = first_free(lru, l)
        if node == NULL:
            break
        move_to_free(l, node, &local.free, LRU_LOCAL_FREE)
        found += 1
    if found < lru.target_free:
        shrink(lru, l, lru.target_free - found, &local.free, LRU_LOCAL_FREE)
    spin_unlock(&l.lock)


cdef void add_pending(bpf_lru *lru, bpf_lru_locallist *local, uint32_t cpu, bpf_lru_node *node,
                      uint32_t hash) noexcept nogil:
    (<uint32_t *> (<uint8_t *> node + lru.hash_offset))[0] = hash
    node.cpu = <uint16_t> cpu
    node.type = LRU_LOCAL_PENDING
    node.ref = 0
    list_add(&node.list, &local.pending)


cdef bpf_lru_node *pop_local_free(bpf_lru_locallist *local) noexcept nogil:
    cdef bpf_lru_node *node
    if list_empty(&local.free):
        return NULL
    node = node_of(local.free.next)
    list_del(&node.list)
    return node


cdef bpf_lru_node *pop_pending(bpf_lru *lru, bpf_lru_locallist *local, bint force) noexcept nogil:
    """Evict the oldest pending node that is unreferenced (any, with `force`)."""
    cdef list_head *entry = local.pending.prev
    cdef bpf_lru_node *node
    while entry != &local.pending:
        node = node_of(entry)
        if (force or not node.ref) and lru.del_from_htab(lru.del_arg, node):
            list_del(entry)
            return node
        entry = entry.prev
    return NULL


cdef bpf_lru_node *steal(bpf_lru *lru, bpf_lru_locallist *local) noexcept nogil:
    """A node from another CPU's stock or pending list, round robin."""
    cdef uint32_t first = local.next_steal, cpu = local.next_steal
    cdef bpf_lru_locallist *other
    cdef bpf_lru_node *node
    while True:
        other = &lru.local[cpu]
        spin_lock(&other.lock)
        node = pop_local_free(other)
        if node == NULL:
            node = pop_pending(lru, other, False)
        if node == NULL:
            node = pop_pending(lru, other, True)
        spin_unlock(&other.lock)
        cpu = (cpu + 1) % lru.ncpus
        if node != NULL or cpu == first:
            break
    local.next_steal = cpu
    return node


cdef bpf_lru_node *common_pop_free(bpf_lru *lru, uint32_t hash, uint32_t cpu) noexcept nogil:
    cdef bpf_lru_locallist *local = &lru.local[cpu]
    cdef bpf_lru_node *node
    spin_lock(&local.lock)
    node = pop_local_free(local)
    if node == NULL:
        refill_local(lru, local)
        node = pop_local_free(local)
    if node != NULL:
        add_pending(lru, local, cpu, node, hash)
    spin_unlock(&local.lock)
    if node != NULL:
        return node
    node = steal(lru, local)
    if node != NULL:
        spin_lock(&local.lock)
        add_pending(lru, local, cpu, node, hash)
        spin_unlock(&local.lock)
    return node


cdef bint return_pending(bpf_lru *lru, bpf_lru_node *node) noexcept nogil:
    """Put a pending node back into its CPU's stock; false if it is not pending any more."""
    cdef bpf_lru_locallist *local = &lru.local[node.cpu]
    cdef bint pending
    spin_lock(&local.lock)
    pending = node.type == LRU_LOCAL_PENDING
    if pending:
        node.type = LRU_LOCAL_FREE
        node.ref = 0
        list_move(&node.list, &local.free)
    spin_unlock(&local.lock)
    return pending


# -- per-CPU LRU

cdef bpf_lru_node *percpu_pop_free(bpf_lru *lru, uint32_t hash, uint32_t cpu) noexcept nogil:
    cdef bpf_lru_list *l = &lru.lists[cpu]
    cdef bpf_lru_node *node
    spin_lock(&l.lock)
    rotate(lru, l)
    node = first_free(lru, l)
    if node == NULL:
        shrink(lru, l, PERCPU_FREE_TARGET, &l.lists[LRU_FREE], LRU_FREE)
        node = first_free(lru, l)
    if node != NULL:
        (<uint32_t *> (<uint8_t *> node + lru.hash_offset))[0] = hash
        move(l, node, LRU_INACTIVE)
    spin_unlock(&l.lock)
    return node


# -- what hash tables call

cdef bpf_lru_node *lru_pop_free(bpf_lru *lru, uint32_t hash, uint32_t cpu) noexcept nogil:
    return percpu_pop_free(lru, hash, cpu) if lru.percpu else common_pop_free(lru, hash, cpu)


cdef void lru_push_free(bpf_lru *lru, bpf_lru_node *node) noexcept nogil:
    cdef bpf_lru_list *l = &lru.lists[node.cpu] if lru.percpu else lru.lists
    if not lru.percpu and node.type == LRU_LOCAL_PENDING and return_pending(lru, node):
        return
    spin_lock(&l.lock)
    move(l, node, LRU_FREE)
    spin_unlock(&l.lock)


cdef void init_list(bpf_lru_list *l) noexcept nogil:
    cdef uint32_t i
    for i in range(3):
        list_init(&l.lists[i])
    l.next_inactive_rotation = &l.lists[LRU_INACTIVE]


cdef int lru_init(bpf_lru *lru, bint percpu, uint32_t ncpus, int32_t hash_offset,
                  del_from_htab_t del_from_htab, void *del_arg) noexcept nogil:
    """0, or -1 without memory. The struct must be zeroed; lru_destroy is right after either."""
    cdef uint32_t i, n_lists = ncpus if percpu else 1
    lru.percpu = percpu
    lru.ncpus = ncpus
    lru.hash_offset = hash_offset
    lru.del_from_htab = del_from_htab
    lru.del_arg = del_arg
    lru.nr_scans = PERCPU_FREE_TARGET if percpu else LOCAL_FREE_TARGET
    lru.lists = <bpf_lru_list *> calloc(n_lists, sizeof(bpf_lru_list))
    lru.local = <bpf_lru_locallist *> calloc(ncpus, sizeof(bpf_lru_locallist))
    if lru.lists == NULL or lru.local == NULL:
        return -1
    for i in range(n_lists):
        init_list(&lru.lists[i])
    for i in range(ncpus):
        list_init(&lru.local[i].free)
        list_init(&lru.local[i].pending)
        lru.local[i].next_steal = i
    return 0


cdef void lru_populate(bpf_lru *lru, void *first, uint32_t stride, uint32_t count) noexcept nogil:
    """Give the lists `count` nodes, `stride` bytes apart, each CPU its share in a per-CPU LRU."""
    cdef uint32_t i, n_lists = lru.ncpus if lru.percpu else 1
    cdef uint32_t share = count // n_lists
    cdef uint32_t target = (count // lru.ncpus) // 2
    lru.node_stride = stride
    lru.target_free = min(max(target, <uint32_t> 1), <uint32_t> LOCAL_FREE_TARGET)
    for i in range(n_lists):
        lru.lists[i].fresh = share
        lru.lists[i].next_fresh = <uint8_t *> first + <size_t> i * share * stride


cdef void lru_destroy(bpf_lru *lru) noexcept nogil:
    free(lru.lists)
    free(lru.local)
