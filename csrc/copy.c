/* Copies into the ring.
 *
 * An ordinary copy of a block that is larger than the cache first reads the lines that it is about
 * to overwrite. Non-temporal stores do not: they gain up to half of the memory bandwidth and leave
 * the cache to other data, but a reader then finds nothing in the cache. Later atomic stores do not
 * order them, so the copy ends in a store fence (SYNC copy-fence), before the caller commits.
 */
#include <string.h>

#include "shm_echo/ring.h"

#if defined(__SSE2__)
#include <emmintrin.h>

#ifndef SHE_STREAM_BYTES
#define SHE_STREAM_BYTES (1u << 20) /* measured by benchmarks/copy_threshold.py */
#endif

static void stream(uint8_t *to, const uint8_t *from, uint64_t bytes) {
    uint64_t head = (64 - ((uintptr_t)to & 63)) & 63; /* up to the next cache line */
    memcpy(to, from, head);
    to += head;
    from += head;
    bytes -= head;
    for (; bytes >= 64; bytes -= 64, to += 64, from += 64) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(from + 0));
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(from + 16));
        __m128i c = _mm_loadu_si128((const __m128i *)(const void *)(from + 32));
        __m128i d = _mm_loadu_si128((const __m128i *)(const void *)(from + 48));
        _mm_stream_si128((__m128i *)(void *)(to + 0), a);
        _mm_stream_si128((__m128i *)(void *)(to + 16), b);
        _mm_stream_si128((__m128i *)(void *)(to + 32), c);
        _mm_stream_si128((__m128i *)(void *)(to + 48), d);
    }
    memcpy(to, from, bytes);
    _mm_sfence(); /* SYNC copy-fence: pairs with the CAS of slot-commit, which comes after it */
}

void she_copy(void *restrict to, const void *restrict from, uint64_t bytes) {
    if (bytes >= SHE_STREAM_BYTES)
        stream(to, from, bytes);
    else
        memcpy(to, from, bytes);
}

#else

void she_copy(void *restrict to, const void *restrict from, uint64_t bytes) {
    memcpy(to, from, bytes);
}

#endif
