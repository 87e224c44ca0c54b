/* The only atomics of the ring: C11 operations under names that say their order.
 *
 * Every use elsewhere carries a SYNC tag and names the operation that it pairs with, or says why it
 * is relaxed; docs/explanation/memory-model.md has a section for each tag. `_seq` operations take
 * part in one total order. They are used where two sides each write one word and then read the
 * other's, a store-load pattern that acquire and release cannot order.
 */
#ifndef SHM_ECHO_ATOMICS_H
#define SHM_ECHO_ATOMICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint64_t she_atomic64;
typedef _Atomic uint32_t she_atomic32;

/* Processes share the words, so a lock hidden in the C library of one of them protects nothing. */
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics must be lock-free");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "32-bit atomics must be lock-free");
_Static_assert(sizeof(she_atomic64) == 8 && sizeof(she_atomic32) == 4, "plain words");

static inline uint64_t she_load_relaxed(const she_atomic64 *word) {
    return atomic_load_explicit(word, memory_order_relaxed);
}
static inline uint64_t she_load_acquire(const she_atomic64 *word) {
    return atomic_load_explicit(word, memory_order_acquire);
}
static inline uint64_t she_load_seq(const she_atomic64 *word) {
    return atomic_load_explicit(word, memory_order_seq_cst);
}
static inline void she_store_relaxed(she_atomic64 *word, uint64_t value) {
    atomic_store_explicit(word, value, memory_order_relaxed);
}
static inline void she_store_release(she_atomic64 *word, uint64_t value) {
    atomic_store_explicit(word, value, memory_order_release);
}
static inline void she_store_seq(she_atomic64 *word, uint64_t value) {
    atomic_store_explicit(word, value, memory_order_seq_cst);
}
static inline uint64_t she_add_relaxed(she_atomic64 *word, uint64_t by) {
    return atomic_fetch_add_explicit(word, by, memory_order_relaxed);
}
static inline uint64_t she_add_seq(she_atomic64 *word, uint64_t by) {
    return atomic_fetch_add_explicit(word, by, memory_order_seq_cst);
}
static inline bool she_cas_seq(she_atomic64 *word, uint64_t expected, uint64_t desired) {
    return atomic_compare_exchange_strong_explicit(word, &expected, desired, memory_order_seq_cst,
                                                   memory_order_seq_cst);
}
static inline void she_or_relaxed(she_atomic64 *word, uint64_t bits) {
    (void)atomic_fetch_or_explicit(word, bits, memory_order_relaxed);
}
/* Raise the word to at least `value`: a maximum that several threads update. */
static inline void she_max_relaxed(she_atomic64 *word, uint64_t value) {
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
    while (seen < value && !atomic_compare_exchange_weak_explicit(
                               word, &seen, value, memory_order_relaxed, memory_order_relaxed)) {
    }
}

static inline uint32_t she_load32_relaxed(const she_atomic32 *word) {
    return atomic_load_explicit(word, memory_order_relaxed);
}
static inline uint32_t she_load32_acquire(const she_atomic32 *word) {
    return atomic_load_explicit(word, memory_order_acquire);
}
static inline uint32_t she_load32_seq(const she_atomic32 *word) {
    return atomic_load_explicit(word, memory_order_seq_cst);
}
static inline void she_store32_relaxed(she_atomic32 *word, uint32_t value) {
    atomic_store_explicit(word, value, memory_order_relaxed);
}
static inline void she_store32_release(she_atomic32 *word, uint32_t value) {
    atomic_store_explicit(word, value, memory_order_release);
}
static inline void she_store32_seq(she_atomic32 *word, uint32_t value) {
    atomic_store_explicit(word, value, memory_order_seq_cst);
}
static inline uint32_t she_exchange32_seq(she_atomic32 *word, uint32_t value) {
    return atomic_exchange_explicit(word, value, memory_order_seq_cst);
}
static inline bool she_cas32_seq(she_atomic32 *word, uint32_t *expected, uint32_t desired) {
    return atomic_compare_exchange_strong_explicit(word, expected, desired, memory_order_seq_cst,
                                                   memory_order_seq_cst);
}

static inline void she_fence_acquire(void) { atomic_thread_fence(memory_order_acquire); }
static inline void she_fence_release(void) { atomic_thread_fence(memory_order_release); }

/* Hint to the processor that this is a spin loop. The thread keeps the processor. */
static inline void she_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory");
#endif
}

#endif
