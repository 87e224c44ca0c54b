/* The ingress' way from a stream of bytes to rows of the ring, fed with what an input says: the
 * leaves, their order, the size of the scratch buffer, and the size of each read. */
#ifndef SHM_ECHO_FUZZ_INGRESS_H
#define SHM_ECHO_FUZZ_INGRESS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../ingress/ingress_parts.h"

#define FUZZ_LEAVES 5
#define FUZZ_SCRATCH 97
#define FUZZ_BATCH 3
#define FUZZ_BATCHES 2

#define FUZZ_CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            abort(); \
        } \
    } while (0)

typedef struct {
    const uint8_t *next, *end;
} fuzz_input;

static inline uint8_t fuzz_byte(fuzz_input *in) { return in->next < in->end ? *in->next++ : 0; }

/* The byte at a place in the stream. */
static inline uint8_t fuzz_stream(uint64_t at) { return (uint8_t)(at * 151 + (at >> 8) * 17 + 3); }

typedef struct {
    she_ingress g;
    she_consumer *consumer;
    she_producer *producer;
    connection c;
    uint8_t *fragment;
    uint64_t came, taken; /* samples */
} fuzz_rig;

/* Take the ring's batches and compare them with the stream. */
static inline void fuzz_take(fuzz_rig *f) {
    she_ring *ring = f->g.ring;
    while (she_ready(f->consumer) == SHE_OK) {
        uint64_t batch, samples;
        she_take(f->consumer, &batch, &samples);
        for (uint64_t i = 0; i < samples; i++) {
            uint64_t at = f->taken++ * f->g.payload;
            for (uint32_t place = 0; place < ring->num_leaves; place++) {
                const uint8_t *row = leaf_row(&f->g, place, batch * ring->batch_size + i);
                for (uint64_t byte = 0; byte < leaf_bytes(&f->g, place); byte++)
                    FUZZ_CHECK(row[byte] == fuzz_stream(at++));
            }
        }
        she_release(ring, batch);
    }
}

static inline void fuzz_insert(fuzz_rig *f, const uint8_t *samples, uint64_t n) {
    while (n > 0) {
        uint32_t ticket;
        int result;
        uint64_t done = insert_samples(&f->g, f->producer, &f->c, samples, f->g.payload, n, 0,
                                       &ticket, &result);
        FUZZ_CHECK(done == n ? result == SHE_OK : result == SHE_FULL);
        samples += done * f->g.payload;
        n -= done;
        f->came += done;
        fuzz_take(f);
    }
}

/* A reader's turn, with a socket that gives at most `bytes`. Returns how many it gave. */
static inline uint64_t fuzz_read(fuzz_rig *f, uint64_t at, uint64_t bytes, uint64_t scratch_bytes) {
    /* Exactly as long as it may be: a byte beyond it is found by the sanitizer. */
    uint8_t *scratch = malloc(scratch_bytes);
    struct iovec targets[2];
    uint64_t got = 0;
    arrival a;
    FUZZ_CHECK(scratch);
    int n = stream_targets(&f->c.in, scratch, scratch_bytes, bytes, targets);
    for (int i = 0; i < n; i++)
        for (uint64_t byte = 0; byte < targets[i].iov_len; byte++)
            ((uint8_t *)targets[i].iov_base)[byte] = fuzz_stream(at + got++);
    FUZZ_CHECK(got <= bytes);
    stream_arrived(&f->c.in, scratch, got, &a);
    if (a.first)
        fuzz_insert(f, a.first, 1);
    fuzz_insert(f, a.whole, a.num_whole);
    if (a.tail_bytes) {
        if (!f->c.in.fragment)
            FUZZ_CHECK(f->c.in.fragment = malloc(f->g.payload));
        memcpy(f->c.in.fragment, a.tail, a.tail_bytes);
        f->c.in.have = a.tail_bytes;
    } else if (a.first) {
        free(f->c.in.fragment);
        f->c.in.fragment = NULL;
    }
    free(scratch);
    return got;
}

static inline void fuzz_one(const uint8_t *bytes, size_t size) {
    fuzz_input in = {bytes, bytes + size};
    uint64_t rows[FUZZ_LEAVES], offsets[FUZZ_LEAVES], payload = 0, at = 0;
    uint32_t order[FUZZ_LEAVES], leaves = 1 + fuzz_byte(&in) % FUZZ_LEAVES;
    static const uint8_t digest[32];
    fuzz_rig f = {0};
    for (uint32_t i = 0; i < leaves; i++) {
        rows[i] = fuzz_byte(&in) % 80;
        payload += rows[i];
        order[i] = i;
    }
    for (uint32_t i = leaves - 1; i > 0; i--) {
        uint32_t other = fuzz_byte(&in) % (i + 1), kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
    uint64_t scratch = 1 + fuzz_byte(&in) % FUZZ_SCRATCH;
    if (payload == 0)
        return; /* she_ingress_open refuses it */
    she_config config = {.batch_size = FUZZ_BATCH,
                         .num_buffers = FUZZ_BATCHES,
                         .num_leaves = leaves,
                         .max_producers = 1,
                         .row_bytes = rows,
                         .digest = digest};
    she_layout layout;
    FUZZ_CHECK(she_layout_compute(&config, &layout, offsets) == SHE_OK);
    void *memory = aligned_alloc(4096, layout.total_bytes);
    FUZZ_CHECK(memory);
    memset(memory, 0, layout.total_bytes);
    FUZZ_CHECK(she_ring_create(memory, layout.total_bytes, &config, 1, &f.g.ring) == SHE_OK);
    FUZZ_CHECK(she_consumer_open(f.g.ring, &f.consumer) == SHE_OK);
    f.consumer->last_owner = 1;
    she_reinstate(f.g.ring, 1);
    FUZZ_CHECK(she_producer_open(f.g.ring, 1, &f.producer) == SHE_OK);
    f.g.payload = f.c.in.payload = payload;
    f.g.leaf_order = order;
    while (in.next < in.end) {
        at += fuzz_read(&f, at, 1 + fuzz_byte(&in), scratch);
        FUZZ_CHECK(f.came == at / payload && f.c.in.have == at % payload);
        FUZZ_CHECK(she_load_relaxed(&f.c.inserted) == f.came);
    }
    FUZZ_CHECK(f.came - f.taken < FUZZ_BATCH);
    free(f.c.in.fragment);
    she_producer_free(f.producer);
    she_consumer_free(f.consumer);
    she_ring_free(f.g.ring);
    free(memory);
}

#endif
