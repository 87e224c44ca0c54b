/* The broadcast: the newest value of one writer, which any number of readers copy whole.
 *
 *     +------------------------------------------+
 *     | she_bcast_header                         |
 *     +------------------------------------------+
 *     | buffer 0 | buffer 1 | buffer 2           |  payload_bytes each, 64-byte aligned
 *     +------------------------------------------+
 *
 * Version v lies in buffer v mod 3, guarded by a sequence word: 2v-1 while it is written, 2v when
 * it is whole. A reader copies the buffer and then checks that the sequence word is unchanged. It
 * has to start again only if the writer began version v+3, in the same buffer, during the copy.
 * Readers write nothing but the sleeper bit of the event count, so neither their speed nor their
 * death affects the writer. The payload moves in relaxed 64-bit atomics, which makes concurrent
 * copies well-defined in C11 and for ThreadSanitizer.
 */
#ifndef SHM_ECHO_BROADCAST_H
#define SHM_ECHO_BROADCAST_H

#include "shm_echo/layout.h"

#define SHE_BCAST_MAGIC UINT64_C(0x00545341434d4853) /* "SHMCAST" */

typedef struct {
    _Alignas(SHE_LINE) she_atomic64 magic;
    uint64_t payload_bytes;
    uint8_t digest[32];
    _Alignas(SHE_LINE) she_atomic64 latest; /* newest whole version; 0 before the first */
    she_event_count published;
    she_atomic32 closed;
    _Alignas(SHE_LINE) she_atomic64 sequence[3];
} she_bcast_header;

typedef struct she_bcast {
    she_bcast_header *header;
    she_atomic64 *buffer[3];
    uint64_t words; /* of one buffer */
} she_bcast;

/* Bytes of a segment for this payload, which is rounded up to whole words; 0 if it is too large. */
uint64_t she_bcast_bytes(uint64_t payload_bytes);
int she_bcast_create(void *memory, uint64_t bytes, uint64_t payload_bytes, const uint8_t *digest,
                     she_bcast **out);
int she_bcast_attach(void *memory, uint64_t bytes, uint64_t payload_bytes, const uint8_t *digest,
                     she_bcast **out);
void she_bcast_free(she_bcast *bcast);

/* Publish one version: begin (returns its number), write each piece at an 8-byte aligned offset,
 * end. Only one thread of one process writes at a time. */
uint64_t she_bcast_begin(she_bcast *bcast);
void she_bcast_write(she_bcast *bcast, uint64_t version, uint64_t offset, const void *from,
                     uint64_t bytes);
void she_bcast_end(she_bcast *bcast, uint64_t version);
void she_bcast_close(she_bcast *bcast);

static inline uint64_t she_bcast_latest(const she_bcast *bcast) {
    /* SYNC bcast-latest: pairs with the store of `latest` in she_bcast_end; acquires the
     * payload. */
    return she_load_acquire(&bcast->header->latest);
}
/* Try once to copy the newest version into `to` (payload_bytes). Returns its number, or 0 if there
 * is no version yet or if the writer overtook the copy; the latter sets `*overtaken`: try again. */
uint64_t she_bcast_read(const she_bcast *bcast, void *to, uint64_t payload_bytes, int *overtaken);
/* Wait until the newest version is at least `version`. Returns SHE_OK, SHE_CLOSED, SHE_TIMEOUT,
 * SHE_INTERRUPTED, or SHE_WOKEN: something changed, look again. */
int she_bcast_wait(she_bcast *bcast, uint64_t version, int64_t timeout_ns);

#endif
