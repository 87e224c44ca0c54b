/* The way back: one writer's newest value, read whole by any number of readers.
 *
 *     +------------------------------------------+
 *     | she_bcast_header                         |
 *     +------------------------------------------+
 *     | buffer 0 | buffer 1 | buffer 2           |  payload_bytes each, 64-byte aligned
 *     +------------------------------------------+
 *
 * Version v lies in buffer v mod 3, guarded by a sequence word: 2v-1 while it is written, 2v when it
 * is whole. A reader copies and then looks whether the sequence word is still the same; it is thrown
 * back only by a writer that publishes twice more while it copies. Readers write nothing but the
 * sleeper bit of the event count, so neither their speed nor their death matters to the writer.
 * The payload moves in relaxed 64-bit atomics: no data race in C11's or the sanitizers' eyes.
 */
#ifndef SHM_ECHO_BROADCAST_H
#define SHM_ECHO_BROADCAST_H

#include "shm_echo/layout.h"

#define SHE_BCAST_MAGIC UINT64_C(0x00545341434d4853) /* "SHMCAST" */

typedef struct {
    _Alignas(SHE_LINE) she_atomic64 magic;
    uint64_t payload_bytes;
    uint8_t digest[32];
    _Alignas(SHE_LINE) she_atomic64 latest; /* newest whole version; 0: none yet */
    she_event_count published;
    she_atomic32 closed;
    _Alignas(SHE_LINE) she_atomic64 sequence[3];
} she_bcast_header;

typedef struct she_bcast {
    she_bcast_header *header;
    she_atomic64 *buffer[3];
    uint64_t words; /* of one buffer */
} she_bcast;

/* Payload sizes are rounded up to whole words; 0 when too large. */
uint64_t she_bcast_bytes(uint64_t payload_bytes);
int she_bcast_create(void *memory, uint64_t bytes, uint64_t payload_bytes, const uint8_t *digest,
                     she_bcast **out);
int she_bcast_attach(void *memory, uint64_t bytes, uint64_t payload_bytes, const uint8_t *digest,
                     she_bcast **out);
void she_bcast_free(she_bcast *bcast);

/* One writer: begin, write each piece (at 8-byte aligned offsets), end. Returns the version. */
uint64_t she_bcast_begin(she_bcast *bcast);
void she_bcast_write(she_bcast *bcast, uint64_t version, uint64_t offset, const void *from,
                     uint64_t bytes);
void she_bcast_end(she_bcast *bcast, uint64_t version);
void she_bcast_close(she_bcast *bcast);

static inline uint64_t she_bcast_latest(const she_bcast *bcast) {
    /* SYNC bcast-latest: acquires the whole version that she_bcast_end released. */
    return she_load_acquire(&bcast->header->latest);
}
/* Try once to copy the newest version into `to` (payload_bytes): its number, or 0 when there is none
 * or when the writer overtook the copy (then `*overtaken` is set: try again). */
uint64_t she_bcast_read(const she_bcast *bcast, void *to, uint64_t payload_bytes, int *overtaken);
/* Wait until the newest version is at least `version`: SHE_OK, CLOSED, TIMEOUT, WOKEN, INTERRUPTED. */
int she_bcast_wait(she_bcast *bcast, uint64_t version, int64_t timeout_ns);

#endif
