/* A loader's ring for tests, and the steps that many cases take. Row r of the stream is item
 * 1000 + r, and a worker writes numbers into its row that follow from it. */
#ifndef SHM_ECHO_LOADER_RIG_H
#define SHM_ECHO_LOADER_RIG_H

#include "rig.h"

#include "shm_echo/fault.h"
#include "shm_echo/loader_ring.h"

#define LOADER_ITEM 16 /* bytes of one row of the one leaf */
#define LOADER_INDEX(row) ((int64_t)(1000 + (row)))

typedef struct {
    rig r;
    uint64_t drawn; /* rows announced so far */
    uint64_t seen;  /* rows taken so far */
} loader_rig;

static inline void loader_open(loader_rig *l, uint64_t slots, uint64_t buffers, uint32_t run_rows) {
    she_layout layout;
    uint64_t offsets[RIG_LEAVES];
    rig *r = &l->r;
    memset(l, 0, sizeof *l);
    const uint64_t rows[RIG_LEAVES] = {LOADER_ITEM * run_rows, run_rows, 8 * run_rows};
    rig_config_rows(r, rows, slots, buffers, false);
    r->config.run_rows = run_rows;
    CHECK_EQ(she_layout_compute(&r->config, &layout, offsets), SHE_OK);
    r->bytes = layout.total_bytes;
    r->memory = rig_memory(r->bytes);
    rig_start(r);
}
static inline void loader_close(loader_rig *l) { rig_close(&l->r); }

/* ---- the worker ------------------------------------------------------------------------------ */

static inline uint64_t loader_hash(int64_t index, uint64_t half) {
    uint64_t state = (uint64_t)index << 1 | half;
    return test_random(&state);
}
static inline uint8_t *loader_item(const she_ring *ring, uint64_t position, uint64_t i) {
    return (uint8_t *)she_row(ring, 0, position) + i * LOADER_ITEM;
}
/* Make the rows of a claimed run, half a row at a time. */
static inline void loader_make(she_producer *p, uint64_t position) {
    const she_run *run = she_loader_run(p->ring, position);
    CHECK_BETWEEN(1, run->count, p->ring->run_rows);
    for (uint64_t i = 0; i < run->count; i++) {
        uint64_t half[2] = {loader_hash(run->index[i], 0), loader_hash(run->index[i], 1)};
        CHECK_EQ(run->index[i], LOADER_INDEX(run->first_row + i));
        she_loader_at_row(p, run->first_row + i);
        she_copy(loader_item(p->ring, position, i), &half[0], 8);
        SHE_FAULT(SHE_STEP_COPIED_HALF);
        she_copy(loader_item(p->ring, position, i) + 8, &half[1], 8);
    }
}
static inline uint64_t loader_claim(loader_rig *l, uint32_t owner) {
    uint64_t position = UINT64_MAX;
    CHECK_EQ(she_loader_claim(l->r.producer[owner], &position), SHE_OK);
    return position;
}
static inline void loader_check_full(loader_rig *l, uint32_t owner) {
    uint64_t position;
    CHECK_EQ(she_loader_claim(l->r.producer[owner], &position), SHE_FULL);
}
static inline void loader_finish(loader_rig *l, uint32_t owner, uint64_t position) {
    loader_make(l->r.producer[owner], position);
    commit_one(&l->r, owner, position);
}
/* Make `runs` runs. */
static inline void loader_work(loader_rig *l, uint32_t owner, uint64_t runs) {
    while (runs--)
        loader_finish(l, owner, loader_claim(l, owner));
}

/* ---- the consumer ---------------------------------------------------------------------------- */

static inline int loader_try_announce(loader_rig *l, uint64_t rows, uint64_t *ring_batch) {
    int64_t indices[256];
    CHECK(rows <= 256);
    for (uint64_t i = 0; i < rows; i++)
        indices[i] = LOADER_INDEX(l->drawn + i);
    int rc = she_loader_announce(l->r.consumer, l->drawn, 7, indices, rows, ring_batch);
    l->drawn += rc == SHE_OK ? rows : 0;
    return rc;
}
static inline uint64_t loader_announce(loader_rig *l, uint64_t rows) {
    uint64_t batch = UINT64_MAX;
    CHECK_EQ(loader_try_announce(l, rows, &batch), SHE_OK);
    return batch;
}
/* Check that a batch that was taken holds `rows` rows from the one that is due on, untorn. */
static inline void loader_check_rows(const loader_rig *l, uint64_t batch, uint64_t first,
                                     uint64_t rows) {
    const she_ring *ring = l->r.ring;
    for (uint64_t i = 0; i < rows; i++) {
        uint64_t half[2];
        memcpy(half, loader_item(ring, batch * ring->batch_size, i), sizeof half);
        CHECK_EQ(half[0], loader_hash(LOADER_INDEX(first + i), 0));
        CHECK_EQ(half[1], loader_hash(LOADER_INDEX(first + i), 1));
    }
}
/* Take the next batch, which must be complete and have so many rows; returns its ring batch. */
static inline uint64_t loader_take(loader_rig *l, uint64_t want_rows) {
    uint64_t batch, rows, first;
    uint32_t errors;
    CHECK_EQ(she_loader_ready(l->r.consumer), SHE_OK);
    CHECK_EQ(she_loader_take(l->r.consumer, &batch, &rows, &first, &errors), SHE_OK);
    CHECK_EQ(rows, want_rows);
    CHECK_EQ(first, l->seen);
    CHECK_EQ(errors, 0);
    loader_check_rows(l, batch, first, rows);
    l->seen += rows;
    return batch;
}
static inline void loader_take_and_release(loader_rig *l, uint64_t want_rows) {
    she_release(l->r.ring, loader_take(l, want_rows));
}

#endif
