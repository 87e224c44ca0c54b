/* Formats zeroed memory as a ring, and opens a ring that another process made. */
#include <stdlib.h>
#include <string.h>

#include "shm_echo/ring.h"

static bool add(uint64_t *sum, uint64_t n) { return !__builtin_add_overflow(*sum, n, sum); }

static bool align(uint64_t *offset, uint64_t to) {
    return add(offset, to - 1) && ((*offset &= ~(to - 1)), true);
}

/* Reserve `count * size` bytes at the next multiple of `to`. False on overflow. */
static bool place(uint64_t *end, uint64_t count, uint64_t size, uint64_t to, uint64_t *at) {
    uint64_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || !align(end, to))
        return false;
    *at = *end;
    return add(end, bytes);
}

int she_layout_compute(const she_config *c, she_layout *layout, uint64_t *leaf_offsets) {
    uint64_t capacity, end = sizeof(she_header);
    if (c->batch_size == 0 || c->num_buffers == 0 || c->num_leaves == 0 || c->max_producers == 0 ||
        c->max_producers > SHE_MAX_PRODUCERS ||
        __builtin_mul_overflow(c->batch_size, c->num_buffers, &capacity) ||
        capacity > SHE_MAX_CAPACITY)
        return SHE_E_CONFIG;
    *layout = (she_layout){0};
    layout->word_lines = (c->batch_size + SHE_WORDS_PER_CACHE_LINE - 1) / SHE_WORDS_PER_CACHE_LINE;
    uint64_t words = c->num_buffers * layout->word_lines * SHE_WORDS_PER_CACHE_LINE;
    /* Owner ids are 0 (the server itself) to max_producers. */
    bool ok = place(&end, c->max_producers + 1u, sizeof(she_record), SHE_LINE, &layout->records) &&
              place(&end, words, sizeof(she_atomic64), SHE_LINE, &layout->words);
    if (ok && c->detailed)
        ok = place(&end, capacity, sizeof(she_atomic64), SHE_LINE, &layout->stamps) &&
             place(&end, SHE_HIST_SHARDS, sizeof(she_histogram), SHE_LINE, &layout->histograms);
    if (ok && c->run_rows) {
        layout->run_bytes = (sizeof(she_run) + c->run_rows * UINT64_C(8) + 63) & ~UINT64_C(63);
        ok = place(&end, 1, sizeof(she_atomic64), SHE_LINE, &layout->gate) &&
             place(&end, c->num_buffers, sizeof(she_atomic64), SHE_LINE, &layout->queue) &&
             place(&end, capacity, layout->run_bytes, SHE_LINE, &layout->runs);
    }
    for (uint32_t i = 0; ok && i < c->num_leaves; i++)
        ok = place(&end, capacity, c->row_bytes[i], c->row_bytes[i] >= 4096 ? 4096 : 64,
                   &leaf_offsets[i]);
    if (!ok || !align(&end, 4096) || end > (uint64_t)INT64_MAX)
        return SHE_E_CONFIG;
    layout->total_bytes = end;
    return SHE_OK;
}

static int open_ring(void *memory, uint64_t bytes, const she_config *c, she_ring **out) {
    if (c->num_leaves == 0)
        return SHE_E_CONFIG;
    she_ring *ring = calloc(1, sizeof *ring + c->num_leaves * sizeof(she_leaf));
    uint64_t *offsets = calloc(c->num_leaves, sizeof *offsets);
    she_layout layout;
    int rc = !ring || !offsets ? SHE_E_MEMORY : she_layout_compute(c, &layout, offsets);
    if (rc == SHE_OK && bytes < layout.total_bytes)
        rc = SHE_E_SIZE;
    if (rc != SHE_OK) {
        free(ring);
        free(offsets);
        return rc;
    }
    ring->base = memory;
    ring->header = memory;
    ring->records = (she_record *)(void *)(ring->base + layout.records);
    ring->words = (she_atomic64 *)(void *)(ring->base + layout.words);
    if (c->detailed) {
        ring->stamps = (she_atomic64 *)(void *)(ring->base + layout.stamps);
        ring->histograms = (she_histogram *)(void *)(ring->base + layout.histograms);
    }
    if (c->run_rows) {
        ring->gate = (she_atomic64 *)(void *)(ring->base + layout.gate);
        ring->queue = (she_atomic64 *)(void *)(ring->base + layout.queue);
        ring->runs = ring->base + layout.runs;
        ring->run_bytes = layout.run_bytes;
        ring->run_rows = c->run_rows;
    }
    ring->batch_size = c->batch_size;
    ring->num_buffers = c->num_buffers;
    ring->capacity = c->batch_size * c->num_buffers;
    ring->word_lines = (uint32_t)layout.word_lines;
    ring->max_producers = c->max_producers;
    ring->num_leaves = c->num_leaves;
    for (uint32_t i = 0; i < c->num_leaves; i++)
        ring->leaves[i] = (she_leaf){.offset = offsets[i], .row_bytes = c->row_bytes[i]};
    free(offsets);
    *out = ring;
    return SHE_OK;
}

int she_ring_create(void *memory, uint64_t bytes, const she_config *c, uint64_t creator_pid,
                    she_ring **out) {
    int rc = open_ring(memory, bytes, c, out);
    if (rc != SHE_OK)
        return rc;
    she_ring *ring = *out;
    ring->own = calloc(1, she_own_bytes(ring));
    ring->identity = malloc(SHE_LINE);
    if (!ring->own || !ring->identity) {
        she_ring_free(ring);
        return SHE_E_MEMORY;
    }
    she_store32_relaxed(she_standing_of(ring, 0), SHE_ATTACHED); /* relaxed: private so far */
    she_header *h = ring->header;
    h->layout_version = SHE_LAYOUT_VERSION;
    h->num_leaves = c->num_leaves;
    h->total_bytes = bytes;
    h->batch_size = c->batch_size;
    h->num_buffers = c->num_buffers;
    h->max_producers = c->max_producers;
    h->detailed = c->detailed;
    h->creator_pid = creator_pid;
    memcpy(h->digest, c->digest, sizeof h->digest);
    h->run_rows = c->run_rows;
    /* SYNC ring-magic: pairs with the load in she_ring_attach; releases the identity. */
    she_store_release(&h->magic, SHE_MAGIC);
    memcpy(ring->identity, h, SHE_LINE);
    return SHE_OK;
}

int she_ring_attach(void *memory, uint64_t bytes, const she_config *c, she_ring **out) {
    const she_header *h = memory;
    if (bytes < sizeof *h)
        return SHE_E_SIZE;
    /* SYNC ring-magic: pairs with the store in she_ring_create; acquires the identity. */
    if (she_load_acquire(&h->magic) != SHE_MAGIC)
        return SHE_E_MAGIC;
    if (h->layout_version != SHE_LAYOUT_VERSION)
        return SHE_E_VERSION;
    if (h->num_leaves != c->num_leaves || h->batch_size != c->batch_size ||
        h->num_buffers != c->num_buffers || h->max_producers != c->max_producers ||
        h->detailed != c->detailed || h->run_rows != c->run_rows ||
        memcmp(h->digest, c->digest, sizeof h->digest) != 0)
        return SHE_E_MISMATCH;
    return open_ring(memory, bytes, c, out);
}

void she_ring_free(she_ring *ring) {
    if (!ring)
        return;
    free(ring->own);
    free(ring->identity);
    free(ring);
}

void she_ring_close(she_ring *ring) {
    /* SYNC closed: pairs with the loads in she_ring_closed. Stored before the signals, so that a
     * waiter that a signal wakes sees it; the private word first, for she_mend. */
    if (ring->own)
        she_store32_release(&ring->own->closed, 1);
    she_store32_release(&ring->header->closed, 1);
    she_ec_signal(&ring->header->space);
    she_ec_signal(&ring->header->data);
    she_ec_signal(&ring->header->taken);
}
