/* Samples that give themselves away: every byte follows from who sent it and as which number, so a
 * torn, stale, duplicated or foreign one is caught. And the ledger of what was sent and what
 * came. */
#ifndef SHM_ECHO_SAMPLE_H
#define SHM_ECHO_SAMPLE_H

#include "rig.h"
#include "shm_echo/fault.h"

/* Byte `i` of leaf `leaf`; leaf 0 begins with the stream and the number themselves. */
static inline void sample_fill(uint8_t *row, uint64_t bytes, uint32_t leaf, uint64_t stream,
                               uint64_t number) {
    uint64_t state = (stream << 40) ^ (number << 8) ^ leaf, i = 0;
    if (leaf == 0) {
        memcpy(row, &stream, 8);
        memcpy(row + 8, &number, 8);
        i = 16;
    }
    for (; i < bytes; i += 8) {
        uint64_t word = test_random(&state);
        memcpy(row + i, &word, bytes - i < 8 ? bytes - i : 8);
    }
}

/* Write one sample into its slot, half of each leaf at a time. */
static inline void sample_write(const she_ring *ring, uint64_t position, uint64_t stream,
                                uint64_t number) {
    uint8_t rows[RIG_LEAVES][2048];
    for (uint32_t leaf = 0; leaf < ring->num_leaves; leaf++) {
        uint64_t bytes = ring->leaves[leaf].row_bytes;
        sample_fill(rows[leaf], bytes, leaf, stream, number);
        she_copy(she_row(ring, leaf, position), rows[leaf], bytes / 2);
    }
    SHE_FAULT(SHE_STEP_COPIED_HALF);
    for (uint32_t leaf = 0; leaf < ring->num_leaves; leaf++) {
        uint64_t bytes = ring->leaves[leaf].row_bytes;
        she_copy((uint8_t *)she_row(ring, leaf, position) + bytes / 2, rows[leaf] + bytes / 2,
                 bytes - bytes / 2);
    }
}

/* Read the sample in a row that was handed out; fails when it is not whole. */
static inline void sample_read(const she_ring *ring, uint64_t position, uint64_t *stream,
                               uint64_t *number) {
    uint8_t want[2048];
    memcpy(stream, she_row(ring, 0, position), 8);
    memcpy(number, (uint8_t *)she_row(ring, 0, position) + 8, 8);
    for (uint32_t leaf = 0; leaf < ring->num_leaves; leaf++) {
        uint64_t bytes = ring->leaves[leaf].row_bytes;
        sample_fill(want, bytes, leaf, *stream, *number);
        if (memcmp(she_row(ring, leaf, position), want, bytes) != 0)
            FAIL("torn: leaf %" PRIu32 " of position %" PRIu64 " is not sample %" PRIu64
                 " of stream %" PRIu64,
                 leaf, position, *number, *stream);
    }
}

/* One stream's account. The sender writes `tried` before a commit and `sent` after it, the receiver
 * writes `got`: one writer each, read by others only when the writers have ended. Bytes, because a
 * sender may be killed between any two instructions, and what it wrote stays. */
#define LEDGER_SAMPLES 8192
typedef struct {
    uint8_t tried[LEDGER_SAMPLES], sent[LEDGER_SAMPLES], got[LEDGER_SAMPLES];
} ledger;

/* Read the rows of a batch into the ledgers. */
static inline void ledger_enter(ledger *ledgers, uint64_t streams, const she_ring *ring,
                                uint64_t batch, uint64_t samples) {
    for (uint64_t i = 0; i < samples; i++) {
        uint64_t stream, number;
        sample_read(ring, batch * ring->batch_size + i, &stream, &number);
        CHECK(stream < streams && number < LEDGER_SAMPLES);
        if (ledgers[stream].got[number]++)
            FAIL("duplicated: sample %" PRIu64 " of stream %" PRIu64, number, stream);
    }
}

/* What was sent came, once; what came had been tried. Returns how many samples came. */
static inline uint64_t ledger_check(const ledger *one, uint64_t stream) {
    uint64_t came = 0;
    for (uint64_t n = 0; n < LEDGER_SAMPLES; n++) {
        if (one->sent[n] && !one->got[n])
            FAIL("lost: sample %" PRIu64 " of stream %" PRIu64, n, stream);
        if (one->got[n] && !one->tried[n])
            FAIL("never sent: sample %" PRIu64 " of stream %" PRIu64, n, stream);
        came += one->got[n];
    }
    return came;
}

#endif
