/* Samples that identify themselves: every byte follows from the stream that sent it and its number
 * in that stream, so that a torn, stale, duplicated or foreign sample is caught. And the ledger of
 * the samples that were sent and received. */
#ifndef SHM_ECHO_SAMPLE_H
#define SHM_ECHO_SAMPLE_H

#include "rig.h"
#include "shm_echo/fault.h"

/* Fill one leaf of a sample. Leaf 0 begins with the stream and the number themselves. */
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

/* True if a leaf's row is that of this sample: see sample_fill. */
static inline bool sample_is(const uint8_t *row, uint64_t bytes, uint32_t leaf, uint64_t stream,
                             uint64_t number) {
    uint64_t state = (stream << 40) ^ (number << 8) ^ leaf, i = 0;
    if (leaf == 0) {
        if (memcmp(row, &stream, 8) != 0 || memcmp(row + 8, &number, 8) != 0)
            return false;
        i = 16;
    }
    for (; i < bytes; i += 8) {
        uint64_t word = test_random(&state);
        if (memcmp(row + i, &word, bytes - i < 8 ? bytes - i : 8) != 0)
            return false;
    }
    return true;
}

/* Read the sample in a row that was handed out; fail if it is not whole. */
static inline void sample_read(const she_ring *ring, uint64_t position, uint64_t *stream,
                               uint64_t *number) {
    memcpy(stream, she_row(ring, 0, position), 8);
    memcpy(number, (uint8_t *)she_row(ring, 0, position) + 8, 8);
    for (uint32_t leaf = 0; leaf < ring->num_leaves; leaf++)
        if (!sample_is(she_row(ring, leaf, position), ring->leaves[leaf].row_bytes, leaf, *stream,
                       *number))
            FAIL("torn: leaf %" PRIu32 " of position %" PRIu64 " is not sample %" PRIu64
                 " of stream %" PRIu64,
                 leaf, position, *number, *stream);
}

/* One stream's account. The sender writes `tried` before a commit and `sent` after it, the receiver
 * writes `got`: each has one writer, and others read it only after the writers have ended. Bytes in
 * shared memory, because a sender may be killed between any two instructions. */
#define LEDGER_SAMPLES 8192
typedef struct {
    uint8_t tried[LEDGER_SAMPLES], sent[LEDGER_SAMPLES], got[LEDGER_SAMPLES];
} ledger;

/* Enter the samples of a batch in the ledgers. */
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

/* Check that every sample that was sent was received once, and that every sample received was
 * tried. Returns the number of samples received. */
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
