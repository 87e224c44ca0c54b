/* The broadcast of one writer's newest value: see broadcast.h. */
#include "shm_echo/broadcast.h"

#include <stdlib.h>
#include <string.h>

#include "shm_echo/ring.h"

static uint64_t padded(uint64_t bytes) { return (bytes + 63) & ~UINT64_C(63); }

uint64_t she_bcast_bytes(uint64_t payload_bytes) {
    if (payload_bytes > (uint64_t)INT64_MAX / 4)
        return 0;
    return (sizeof(she_bcast_header) + 3 * padded(payload_bytes) + 4095) & ~UINT64_C(4095);
}

static int open_bcast(void *memory, uint64_t bytes, uint64_t payload_bytes, she_bcast **out) {
    uint64_t need = she_bcast_bytes(payload_bytes);
    if (need == 0 || bytes < need)
        return SHE_E_SIZE;
    she_bcast *b = calloc(1, sizeof *b);
    if (!b)
        return SHE_E_MEMORY;
    b->header = memory;
    b->words = padded(payload_bytes) / 8;
    for (int i = 0; i < 3; i++)
        b->buffer[i] = (she_atomic64 *)(void *)((uint8_t *)memory + sizeof(she_bcast_header)) +
                       (uint64_t)i * b->words;
    *out = b;
    return SHE_OK;
}

int she_bcast_create(void *memory, uint64_t bytes, uint64_t payload_bytes, const uint8_t *digest,
                     she_bcast **out) {
    int rc = open_bcast(memory, bytes, payload_bytes, out);
    if (rc != SHE_OK)
        return rc;
    she_bcast_header *h = (*out)->header;
    h->payload_bytes = payload_bytes;
    memcpy(h->digest, digest, sizeof h->digest);
    /* SYNC ring-magic: pairs with the load in she_bcast_attach; releases the identity. */
    she_store_release(&h->magic, SHE_BCAST_MAGIC);
    return SHE_OK;
}

int she_bcast_attach(void *memory, uint64_t bytes, uint64_t payload_bytes, const uint8_t *digest,
                     she_bcast **out) {
    const she_bcast_header *h = memory;
    if (bytes < sizeof *h)
        return SHE_E_SIZE;
    /* SYNC ring-magic: pairs with the store in she_bcast_create; acquires the identity. */
    if (she_load_acquire(&h->magic) != SHE_BCAST_MAGIC)
        return SHE_E_MAGIC;
    if (h->payload_bytes != payload_bytes || memcmp(h->digest, digest, sizeof h->digest) != 0)
        return SHE_E_MISMATCH;
    return open_bcast(memory, bytes, payload_bytes, out);
}

void she_bcast_free(she_bcast *b) { free(b); }

uint64_t she_bcast_begin(she_bcast *b) {
    /* Relaxed: only this writer stores `latest`. */
    uint64_t version = she_load_relaxed(&b->header->latest) + 1;
    /* Relaxed: the fence below orders it. */
    she_store_relaxed(&b->header->sequence[version % 3], 2 * version - 1);
    /* SYNC bcast-torn: pairs with the acquire fence in she_bcast_read. A reader that has seen any
     * word of this version and then passes its fence sees the odd sequence number too, and discards
     * its copy. */
    she_fence_release();
    return version;
}

void she_bcast_write(she_bcast *b, uint64_t version, uint64_t offset, const void *from,
                     uint64_t bytes) {
    const uint8_t *source = from;
    if (offset % 8 != 0 || bytes > b->words * 8 || offset / 8 > b->words - (bytes + 7) / 8)
        return; /* offsets come from the caller's own table: a wrong one must not write elsewhere */
    she_atomic64 *to = b->buffer[version % 3] + offset / 8;
    /* Relaxed: the fence of she_bcast_begin and the release of she_bcast_end order the payload. */
    for (; bytes >= 8; bytes -= 8, source += 8, to++) {
        uint64_t word;
        memcpy(&word, source, 8);
        she_store_relaxed(to, word);
    }
    if (bytes) {
        uint64_t word = 0;
        memcpy(&word, source, bytes);
        she_store_relaxed(to, word);
    }
}

void she_bcast_end(she_bcast *b, uint64_t version) {
    she_bcast_header *h = b->header;
    /* SYNC bcast-whole: pairs with the load of the sequence number in she_bcast_read. */
    she_store_release(&h->sequence[version % 3], 2 * version);
    /* SYNC bcast-latest: pairs with the load in she_bcast_latest. */
    she_store_release(&h->latest, version);
    she_ec_signal(&h->published);
}

void she_bcast_close(she_bcast *b) {
    /* SYNC closed: pairs with the load in she_bcast_wait; stored before the signal. */
    she_store32_release(&b->header->closed, 1);
    she_ec_signal(&b->header->published);
}

uint64_t she_bcast_read(const she_bcast *b, void *to, uint64_t payload_bytes, int *overtaken) {
    uint8_t *target = to;
    *overtaken = 0;
    uint64_t version = she_bcast_latest(b);
    if (version == 0 || payload_bytes > b->words * 8)
        return 0;
    const she_atomic64 *sequence = &b->header->sequence[version % 3];
    const she_atomic64 *from = b->buffer[version % 3];
    *overtaken = 1;
    /* SYNC bcast-whole: pairs with the even store in she_bcast_end; acquires the payload. */
    if (she_load_acquire(sequence) != 2 * version)
        return 0;
    uint64_t left = payload_bytes;
    /* Relaxed: the fence below orders these loads before the second look at the sequence number. */
    for (; left >= 8; left -= 8, target += 8, from++) {
        uint64_t word = she_load_relaxed(from);
        memcpy(target, &word, 8);
    }
    if (left) {
        uint64_t word = she_load_relaxed(from);
        memcpy(target, &word, left);
    }
    /* SYNC bcast-torn: pairs with the release fence in she_bcast_begin. */
    she_fence_acquire();
    /* Relaxed: the fence orders it after the loads of the payload. */
    if (she_load_relaxed(sequence) != 2 * version)
        return 0;
    *overtaken = 0;
    return version;
}

int she_bcast_wait(she_bcast *b, uint64_t version, int64_t timeout_ns) {
    she_bcast_header *h = b->header;
    uint32_t ticket = she_ec_ticket(&h->published);
    if (she_bcast_latest(b) >= version)
        return SHE_OK;
    /* SYNC closed: pairs with the store in she_bcast_close. */
    if (she_load32_acquire(&h->closed))
        return SHE_CLOSED;
    switch (she_ec_wait(&h->published, ticket, timeout_ns)) {
    case SHE_WAIT_TIMEOUT:
        return SHE_TIMEOUT;
    case SHE_WAIT_INTERRUPTED:
        return SHE_INTERRUPTED;
    default:
        return SHE_WOKEN;
    }
}
