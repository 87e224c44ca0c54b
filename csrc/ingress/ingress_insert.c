/* Samples into the ring. A thread of the ingress waits for nothing between a claim and its commit
 * but for its own copy, so neither a slow peer nor a full ring ever holds a slot. */
#include <string.h>

#include "ingress_parts.h"

/* How often in a row a commit may fail before the samples are given up. A commit fails when a stray
 * write of another process hits its state word: once in a while, or the ring is beyond help. */
#define MAX_STRAY 1000u

static void copy_in(const she_ingress *g, uint64_t position, const uint8_t *from) {
    for (uint32_t place = 0; place < g->ring->num_leaves; place++) {
        uint64_t bytes = leaf_bytes(g, place);
        she_copy(leaf_row(g, place, position), from, bytes);
        from += bytes;
    }
}

/* A sample that comes from a queue has the time at which it was complete in front of it. */
static void note_dwell(const she_ingress *g, uint64_t now, uint64_t complete_ns,
                       const uint8_t *sample) {
    if (complete_ns == STAMPED)
        memcpy(&complete_ns, sample - sizeof complete_ns, sizeof complete_ns);
    she_hist_record(g->dwell, now > complete_ns ? now - complete_ns : 0);
}

void note_inserted(connection *c, uint64_t n, uint64_t last) {
    /* Relaxed: only the thread that may insert writes it, and `inserted` releases it. */
    if (last > she_load_relaxed(&c->last_position))
        she_store_relaxed(&c->last_position, last);
    /* SYNC ingress-inserted: pairs with the loads in pay and she_ingress_taken; releases
     * last_position. One thread at a time inserts for a connection (SYNC ingress-queue). */
    she_store_release(&c->inserted, she_load_relaxed(&c->inserted) + n);
}

uint64_t insert_samples(she_ingress *g, she_producer *p, connection *c, const uint8_t *first,
                        uint64_t stride, uint64_t n, uint64_t complete_ns, uint32_t *ticket,
                        int *result) {
    uint64_t done = 0, last = 0;
    unsigned stray = 0;
    *result = SHE_OK;
    while (done < n && *result == SHE_OK) {
        uint64_t positions[BURST], claimed = 0, committed = 0, copied_ns = 0;
        *ticket = she_claim_ticket(p);
        while (claimed < BURST && done + claimed < n) {
            *result = she_claim(p, &positions[claimed]);
            if (*result != SHE_OK)
                break;
            claimed++;
        }
        if (claimed == 0)
            break;
        if (g->config.detailed)
            copied_ns = she_now_ns();
        for (uint64_t i = 0; i < claimed; i++)
            copy_in(g, positions[i], first + (done + i) * stride);
        if (g->config.detailed) {
            she_copied(p, (she_now_ns() - copied_ns) / claimed);
            for (uint64_t i = 0; i < claimed; i++)
                note_dwell(g, copied_ns, complete_ns, first + (done + i) * stride);
        }
        int rc = she_commit_many(p, positions, claimed, &committed);
        if (ring_broken(g)) { /* what was committed lies in private zeros */
            *result = SHE_CLOSED;
            break;
        }
        for (uint64_t i = 0; i < committed; i++)
            if (positions[i] >= last)
                last = positions[i] + 1;
        done += committed;
        /* The sample was not sent and is still here: it gets another slot. */
        if (rc == SHE_CORRUPTED && ++stray < MAX_STRAY)
            *result = SHE_OK;
        else if (rc != SHE_OK)
            *result = SHE_CLOSED;
    }
    if (*result != SHE_OK && *result != SHE_FULL)
        *result = SHE_CLOSED;
    if (done)
        note_inserted(c, done, last);
    return done;
}
