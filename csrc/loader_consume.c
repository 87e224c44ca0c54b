/* The consumer of a loader's ring announces batches and takes them: PROTOCOL.md has these steps in
 * this order. The wait for the words of one batch is that of ring_consume.c. */
#include <string.h>

#include "shm_echo/fault.h"
#include "shm_echo/loader_ring.h"

static she_announced *announced(const she_consumer *c, uint64_t number) {
    return &c->loader->batches[number % c->ring->num_buffers];
}

static uint64_t runs_of(const she_ring *ring, const she_announced *batch) {
    return (batch->rows + ring->run_rows - 1) / ring->run_rows;
}

/* Skip every slot of a batch that no worker has claimed. */
static void skip_vacant(const she_ring *ring, uint64_t batch) {
    uint64_t lap = she_lap_of(ring, batch), first = batch * ring->batch_size;
    for (uint64_t i = 0; i < ring->batch_size; i++) {
        she_atomic64 *word = she_state_word(ring, first + i);
        uint64_t seen = she_load_seq(word);
        /* SYNC slot-free: as in she_seal. A claim or an abort may change it in between. */
        while ((she_is(seen, lap, SHE_FREE) || she_is(seen, lap, SHE_HOLE)) &&
               !she_cas_seq(word, seen, she_word(lap, 0, SHE_SKIP)))
            seen = she_load_seq(word);
    }
}

/* Note the slots of the next batch that this consumer has skipped, for she_ready: the tail of a
 * short batch, or what is skipped of a cancelled one. Such a batch is sealed, so that a wait skips
 * what is aborted or recovered meanwhile, too. */
static void begin_next(she_consumer *c) {
    const she_ring *ring = c->ring;
    const she_loader *l = c->loader;
    const she_announced *next = announced(c, l->taken);
    uint64_t lap = she_lap_of(ring, next->ring_batch);
    bool cancelled = l->taken < l->cancelled;
    c->next_batch = next->ring_batch;
    c->looked = 0;
    c->sealed = cancelled;
    for (uint64_t i = 0; i < ring->batch_size; i++) {
        /* Relaxed: only this consumer skips. */
        uint64_t word =
            she_load_relaxed(she_state_word(ring, next->ring_batch * ring->batch_size + i));
        c->skips[i] = cancelled ? she_is(word, lap, SHE_SKIP) : i >= runs_of(ring, next);
    }
}

/* The next batch is over: go on to the one after it. */
static void advance(she_consumer *c) {
    c->sealed = false;
    if (++c->loader->taken < c->loader->announced)
        begin_next(c);
}

/* A buffer that is neither announced nor taken; num_buffers if there is none. */
static uint64_t free_buffer(const she_ring *ring) {
    uint64_t buffer = 0;
    /* Acquire: the words are released if the mark is not found (set_out in ring_consume.c). */
    while (buffer < ring->num_buffers && she_load32_acquire(she_out_mark(ring, buffer)))
        buffer++;
    return buffer;
}

/* Write what belongs into each slot, and skip the slots of the tail: no claim finds them before the
 * queue has this batch. */
static void write_order(she_ring *ring, const she_announced *batch, uint32_t epoch,
                        const int64_t *indices) {
    uint64_t k = ring->run_rows, first = batch->ring_batch * ring->batch_size;
    for (uint64_t i = 0; i < ring->batch_size; i++) {
        if (i * k >= batch->rows) {
            /* Plain stores would do: SYNC announce-queue and SYNC gate release them. */
            she_store_release(she_state_word(ring, first + i),
                              she_word(she_lap_of(ring, batch->ring_batch), 0, SHE_SKIP));
            continue;
        }
        uint64_t rest = batch->rows - i * k, count = rest < k ? rest : k;
        she_run *run = she_loader_run(ring, first + i);
        run->first_row = batch->first_row + i * k;
        run->count = (uint32_t)count;
        run->status = 0;
        run->epoch = epoch;
        memcpy(run->index, indices + i * k, count * sizeof *indices);
    }
}

int she_loader_announce(she_consumer *c, uint64_t first_row, uint32_t epoch, const int64_t *indices,
                        uint64_t rows, uint64_t *ring_batch) {
    she_ring *ring = c->ring;
    she_loader *l = c->loader;
    if (rows == 0 || rows > ring->batch_size * ring->run_rows)
        return SHE_E_CONFIG;
    uint64_t buffer = free_buffer(ring);
    if (buffer == ring->num_buffers)
        return SHE_FULL;
    she_announced *batch = announced(c, l->announced);
    *batch = (she_announced){.ring_batch = l->uses[buffer]++ * ring->num_buffers + buffer,
                             .rows = rows,
                             .first_row = first_row};
    she_store32_relaxed(she_out_mark(ring, buffer), 1); /* relaxed: only she_release clears it */
    write_order(ring, batch, epoch, indices);
    SHE_FAULT(SHE_STEP_LOADER_ORDER);
    /* SYNC announce-queue: pairs with the load in she_loader_claim; releases the order, because a
     * claim with an old cursor may find this entry before the gate is moved. */
    she_store_release(&ring->queue[l->announced % ring->num_buffers], batch->ring_batch);
    SHE_FAULT(SHE_STEP_LOADER_QUEUED);
    /* SYNC gate: pairs with the load in she_loader_claim; releases the order and the entry. */
    she_store_release(ring->gate, (l->announced + 1) * ring->batch_size);
    SHE_FAULT(SHE_STEP_LOADER_OPENED);
    she_ec_signal(&ring->header->space);
    *ring_batch = batch->ring_batch;
    if (l->announced++ == l->taken)
        begin_next(c);
    return SHE_OK;
}

/* Give the buffer of a cancelled batch back once its claims have ended; then look at the next one.
 * True if a buffer became free. */
static bool discard_cancelled(she_consumer *c) {
    const she_loader *l = c->loader;
    bool any = false;
    while (l->taken < l->cancelled) {
        (void)she_seal(c); /* a claim may have been aborted or recovered since the last look */
        if (she_ready(c) != SHE_OK)
            break;
        she_release(c->ring, c->next_batch);
        advance(c);
        any = true;
    }
    return any;
}

int she_loader_ready(she_consumer *c) {
    (void)discard_cancelled(c);
    const she_loader *l = c->loader;
    return l->taken == l->announced || l->taken < l->cancelled ? SHE_FULL : she_ready(c);
}

/* Every buffer is held by the loop, or nothing is left to announce: only a release, a nudge or the
 * end can change that. */
static int wait_for_wake(she_consumer *c, int64_t timeout_ns) {
    she_event_count *data = &c->ring->header->data;
    uint32_t ticket = she_ec_ticket(data);
    /* SYNC wake-request: pairs with the exchange in she_wake_consumer; after the ticket. */
    if (she_exchange32_seq(&c->wake_requested, 0))
        return SHE_WOKEN;
    if (she_ring_closed(c->ring))
        return SHE_CLOSED;
    switch (she_ec_wait(data, ticket, timeout_ns)) {
    case SHE_WAIT_TIMEOUT:
        return SHE_TIMEOUT;
    case SHE_WAIT_INTERRUPTED:
        return SHE_INTERRUPTED;
    default:
        return SHE_WOKEN;
    }
}

int she_loader_ready_wait(she_consumer *c, int64_t timeout_ns) {
    const she_loader *l = c->loader;
    if (discard_cancelled(c))
        return SHE_WOKEN;
    if (l->taken == l->announced)
        return wait_for_wake(c, timeout_ns);
    bool cancelled = l->taken < l->cancelled;
    int rc = she_ready_wait(c, timeout_ns);
    if (rc != SHE_OK || !cancelled)
        return rc;
    (void)discard_cancelled(c);
    return SHE_WOKEN;
}

int she_loader_take(she_consumer *c, uint64_t *ring_batch, uint64_t *rows, uint64_t *first_row,
                    uint32_t *errors) {
    she_ring *ring = c->ring;
    if (she_loader_ready(c) != SHE_OK)
        return SHE_FULL;
    const she_announced batch = *announced(c, c->loader->taken);
    uint64_t first = batch.ring_batch * ring->batch_size, k = ring->run_rows;
    uint64_t now = ring->stamps ? she_now_ns() : 0;
    *errors = 0;
    for (uint64_t i = 0; i * k < batch.rows; i++) {
        /* Relaxed: she_ready acquired this word. */
        uint64_t word = she_load_relaxed(she_state_word(ring, first + i));
        uint64_t rest = batch.rows - i * k;
        *errors += she_loader_run(ring, first + i)->status != 0; /* SYNC slot-commit carries it */
        /* Shared memory: never trusted as an index. */
        if (she_word_owner(word) <= ring->max_producers)
            c->taken_by[she_word_owner(word)] += rest < k ? rest : k;
        if (c->times) {
            /* Relaxed: as in she_take. */
            uint64_t then = she_load_relaxed(&ring->stamps[(first + i) % ring->capacity]);
            she_hist_record(&c->times->dwell, now > then ? now - then : 0);
        }
    }
    c->taken_total += batch.rows;
    c->full_batches += runs_of(ring, &batch) == ring->batch_size;
    *ring_batch = batch.ring_batch;
    *rows = batch.rows;
    *first_row = batch.first_row;
    advance(c);
    return SHE_OK;
}

void she_loader_cancel(she_consumer *c) {
    she_loader *l = c->loader;
    for (uint64_t number = l->taken; number < l->announced; number++)
        skip_vacant(c->ring, announced(c, number)->ring_batch);
    l->cancelled = l->announced;
    if (l->taken < l->announced)
        begin_next(c);
}

/* ---- observing ------------------------------------------------------------------------------- */

bool she_loader_row_of(const she_ring *ring, uint32_t owner, uint64_t *row) {
    uint64_t at = she_load_relaxed(&ring->records[owner].at_row); /* relaxed: she_loader_at_row */
    *row = at - 1;
    return at != 0;
}

bool she_loader_straggler(const she_consumer *c, she_late_row *out) {
    const she_ring *ring = c->ring;
    const she_loader *l = c->loader;
    if (l->taken == l->announced || l->taken < l->cancelled)
        return false;
    const she_announced *batch = announced(c, l->taken);
    uint64_t lap = she_lap_of(ring, batch->ring_batch), k = ring->run_rows;
    for (uint64_t i = c->looked; i * k < batch->rows; i++) {
        uint64_t position = batch->ring_batch * ring->batch_size + i;
        uint64_t word = she_load_relaxed(she_state_word(ring, position)); /* relaxed: a message */
        if (she_is(word, lap, SHE_COMMITTED))
            continue;
        bool claimed =
            she_is(word, lap, SHE_CLAIMED) && she_word_owner(word) <= ring->max_producers;
        uint64_t rest = batch->rows - i * k, at = 0;
        *out = (she_late_row){.slot = position % ring->capacity,
                              .word = word,
                              .row = batch->first_row + i * k,
                              .owner = claimed ? she_word_owner(word) : SHE_NOBODY};
        if (claimed && she_loader_row_of(ring, out->owner, &at) && at >= out->row &&
            at - out->row < (rest < k ? rest : k))
            out->row = at;
        (void)she_loader_index(c, out->row, &out->index);
        return true;
    }
    return false;
}

bool she_loader_index(const she_consumer *c, uint64_t row, int64_t *index) {
    const she_ring *ring = c->ring;
    const she_loader *l = c->loader;
    for (uint64_t number = l->taken; number < l->announced; number++) {
        const she_announced *batch = announced(c, number);
        uint64_t i = row - batch->first_row;
        if (row < batch->first_row || i >= batch->rows)
            continue;
        uint64_t position = batch->ring_batch * ring->batch_size + i / ring->run_rows;
        *index = she_loader_run(ring, position)->index[i % ring->run_rows];
        return true;
    }
    return false;
}

void she_loader_stats(const she_consumer *c, she_loader_view *out) {
    const she_ring *ring = c->ring;
    const she_loader *l = c->loader;
    *out = (she_loader_view){.announced = l->announced, .taken = l->taken};
    for (uint64_t number = l->taken; number < l->announced; number++) {
        uint64_t batch = announced(c, number)->ring_batch, i = 0, lap = she_lap_of(ring, batch);
        /* Relaxed: for metrics. */
        while (
            i < ring->batch_size &&
            she_finished(she_load_relaxed(she_state_word(ring, batch * ring->batch_size + i)), lap))
            i++;
        out->ready += number >= l->cancelled && i == ring->batch_size;
    }
    for (uint64_t buffer = 0; buffer < ring->num_buffers; buffer++)
        out->free_buffers +=
            !she_load32_relaxed(she_out_mark(ring, buffer)); /* relaxed: likewise */
}
