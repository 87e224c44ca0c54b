/* Stray writes that hit the slot of a claim of the ingress. The core is built with SHE_FAULTS. */
#include "net.h"

#include "shm_echo/fault.h"

static she_ring *hit_ring;
static she_atomic32 hits_left;

/* Overwrite the words of the ingress' claims, as another process might, just before a commit. */
static void hit(int step) {
    /* Relaxed: the hook is for one thread at a time. */
    if (step != SHE_STEP_COMMIT_START || !she_load32_relaxed(&hits_left))
        return;
    for (uint64_t slot = 0; slot < hit_ring->capacity; slot++) {
        she_atomic64 *word = &hit_ring->words[she_word_index(hit_ring, slot)];
        uint64_t seen = she_load_relaxed(word); /* relaxed: this thread has claimed it */
        if (she_word_state(seen) == SHE_CLAIMED && she_load32_relaxed(&hits_left)) {
            she_store32_relaxed(&hits_left, she_load32_relaxed(&hits_left) - 1);
            she_store_relaxed(word, 0xdeadbeef); /* a stray write has no order */
        }
    }
}

static void hit_next(net *n, uint32_t hits) {
    hit_ring = n->r.ring;
    she_store32_relaxed(&hits_left, hits); /* relaxed: the samples are sent after it */
    she_fault_hook = hit;
}

/* Take n samples, in any order, and mend overwritten words in between. */
static void take_and_mend(net *n, uint64_t samples) {
    bool seen[64] = {false};
    while (samples > 0) {
        uint64_t batch, got;
        she_damage damage;
        while (she_ready(n->r.consumer) != SHE_OK)
            if (she_ready_wait(n->r.consumer, 1000000) == SHE_TIMEOUT)
                (void)she_check(n->r.consumer, &damage);
        she_take(n->r.consumer, &batch, &got);
        for (uint64_t i = 0; i < got; i++) {
            uint64_t stream, number;
            sample_read(n->r.ring, batch * n->r.ring->batch_size + i, &stream, &number);
            CHECK(number < 64 && !seen[number]);
            seen[number] = true;
        }
        samples -= got;
        she_release(n->r.ring, batch);
    }
}

CASE(a_sample_whose_slot_was_overwritten_gets_another_one) {
    net n;
    net_open(&n, 2, 2);
    hit_next(&n, 1);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 4);
    client_acks(fd, 4);
    take_and_mend(&n, 4);
    she_fault_hook = NULL;
    client_leave(&n, fd, 4);
    CHECK_EQ(net_close(&n), 0);
}

CASE(so_does_one_that_a_drainer_inserts) {
    net n;
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 8);
    client_acks(fd, 8);
    hit_next(&n, 1);
    take_and_mend(&n, 8);
    she_fault_hook = NULL;
    client_leave(&n, fd, 8);
    CHECK_EQ(net_close(&n), 0);
}

/* Its bytes were only there: it is lost, and its sender learns of it. */
CASE(a_large_sample_whose_row_is_gone_ends_its_connection) {
    static const uint64_t rows[RIG_LEAVES] = {48, 90000, 16};
    static uint8_t bytes[48 + 90000 + 16];
    net n;
    net_open_rows(&n, rows, 2, 2, false);
    hit_next(&n, 1);
    int fd = client_open(&n);
    client_write(fd, bytes, sizeof bytes);
    uint8_t byte;
    CHECK(!client_read(fd, &byte, 1)); /* no acknowledgement */
    she_ingress_event end = next_end(&n);
    she_fault_hook = NULL;
    CHECK_EQ(end.kind, SHE_INGRESS_LOST);
    CHECK_EQ(end.error, EIO);
    CHECK_EQ(end.queued, 0);
    close(fd);
    CHECK_EQ(net_close(&n), 0);
}

/* Every slot is hit again and again: the ingress gives up instead of trying for ever. */
CASE(without_end_nothing_is_tried_without_end) {
    net n;
    net_open(&n, 2, 2);
    hit_next(&n, UINT32_MAX);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 1);
    /* All slots are overwritten: the ring is full, and the sample waits in the queue. */
    client_acks(fd, 1);
    she_fault_hook = NULL;
    close(fd);
    CHECK_EQ(net_close(&n), 1);
}
