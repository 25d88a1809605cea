# Spin locks and atomics for memory shared by program threads (include/linux/spinlock.h).
#
# A lock is one uint32_t, 0 when free, so freshly mapped memory is unlocked. A waiter yields the CPU
# after a while: on a machine with few cores the holder may be waiting to be scheduled.
from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    #include <sched.h>
    #include <stdint.h>
    #if defined(__x86_64__) || defined(__i386__)
    #define anybpf_pause() __builtin_ia32_pause()
    #else
    #define anybpf_pause() __atomic_signal_fence(__ATOMIC_SEQ_CST)
    #endif
    static inline int anybpf_try_lock(uint32_t *l) {
        return !__atomic_load_n(l, __ATOMIC_RELAXED) && !__atomic_exchange_n(l, 1, __ATOMIC_ACQUIRE);
    }
    static inline void anybpf_lock(uint32_t *l) {
        unsigned spins = 0;
        while (!anybpf_try_lock(l)) {
            if ((++spins & 255) == 0) sched_yield(); else anybpf_pause();
        }
    }
    /* 0, or -1 when the holder did not let go within about `tries` yields */
    static inline int anybpf_lock_timeout(uint32_t *l, unsigned tries) {
        unsigned spins = 0;
        while (!anybpf_try_lock(l)) {
            if ((++spins & 255) == 0) { sched_yield(); if (!tries--) return -1; }
            else anybpf_pause();
        }
        return 0;
    }
    static inline void anybpf_unlock(uint32_t *l) { __atomic_store_n(l, 0, __ATOMIC_RELEASE); }
    static inline uint32_t anybpf_load32(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void anybpf_store32(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline uint32_t anybpf_add32(uint32_t *p, uint32_t v) {
        return __atomic_fetch_add(p, v, __ATOMIC_ACQ_REL);
    }
    static inline uint32_t anybpf_swap32(uint32_t *p, uint32_t v) {
        return __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL);
    }
    static inline uint32_t anybpf_or32(uint32_t *p, uint32_t v) {
        return __atomic_fetch_or(p, v, __ATOMIC_ACQ_REL);
    }
    static inline uint64_t anybpf_load64(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void anybpf_store64(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline uint64_t anybpf_add64(uint64_t *p, uint64_t v) {
        return __atomic_fetch_add(p, v, __ATOMIC_ACQ_REL);
    }
    static inline uint64_t anybpf_swap64(uint64_t *p, uint64_t v) {
        return __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL);
    }
    static inline int anybpf_cas64(uint64_t *p, uint64_t old, uint64_t new_) {
        return __atomic_compare_exchange_n(p, &old, new_, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    """
    void spin_lock "anybpf_lock"(uint32_t *lock) noexcept nogil
    void spin_unlock "anybpf_unlock"(uint32_t *lock) noexcept nogil
    int spin_lock_timeout "anybpf_lock_timeout"(uint32_t *lock, unsigned int tries) noexcept nogil
    uint32_t load32 "anybpf_load32"(const uint32_t *p) noexcept nogil
    void store32 "anybpf_store32"(uint32_t *p, uint32_t v) noexcept nogil
    uint32_t fetch_add32 "anybpf_add32"(uint32_t *p, uint32_t v) noexcept nogil
    uint32_t swap32 "anybpf_swap32"(uint32_t *p, uint32_t v) noexcept nogil
    uint32_t fetch_or32 "anybpf_or32"(uint32_t *p, uint32_t v) noexcept nogil
    uint64_t load64 "anybpf_load64"(const uint64_t *p) noexcept nogil
    void store64 "anybpf_store64"(uint64_t *p, uint64_t v) noexcept nogil
    uint64_t fetch_add64 "anybpf_add64"(uint64_t *p, uint64_t v) noexcept nogil
    uint64_t swap64 "anybpf_swap64"(uint64_t *p, uint64_t v) noexcept nogil
    bint cas64 "anybpf_cas64"(uint64_t *p, uint64_t old, uint64_t new) noexcept nogil
