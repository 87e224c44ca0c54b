/* Drainers wait for room in the ring and empty the queues, one connection after the other. */
#include "ingress_parts.h"

/* A wait for room ends now and then, to look whether the ring's memory is still whole. */
#define SLICE_NS INT64_C(1000000000)
/* A full queue of at least so many bytes takes longer to copy than a thread takes to wake up. */
#define HELP_BYTES 65536u

/* ---- the work list --------------------------------------------------------------------------- */

void work_add(she_ingress *g, connection *c) {
    pthread_mutex_lock(&g->work_lock);
    c->work_next = NULL;
    if (g->work_last)
        g->work_last->work_next = c;
    else
        g->work_first = c;
    g->work_last = c;
    if (!g->room_awaited) /* the ring is full, and who waits for room goes on with the list */
        pthread_cond_signal(&g->work_came);
    pthread_mutex_unlock(&g->work_lock);
}

/* Back to the head: the ring was full, and it is still this connection's turn. */
static void work_put_back(she_ingress *g, connection *c) {
    pthread_mutex_lock(&g->work_lock);
    c->work_next = g->work_first;
    g->work_first = c;
    if (!g->work_last)
        g->work_last = c;
    pthread_mutex_unlock(&g->work_lock);
}

/* The queues as they are at the start of a round. Called with work_lock. */
static void note_depths(she_ingress *g) {
    uint64_t sum = 0, max = 0;
    for (const connection *c = g->work_first; c; c = c->work_next) {
        uint64_t depth = she_load_relaxed(&c->pending); /* relaxed: a figure */
        if (depth > g->config.queue_samples) /* samples that were read along, not acknowledged */
            depth = g->config.queue_samples;
        sum += depth;
        if (depth > max)
            max = depth;
    }
    /* Relaxed: figures. */
    she_store_relaxed(&g->depth_sum, sum);
    she_store_relaxed(&g->depth_max, max);
}

/* The next connection with samples; NULL once the ingress closes. `fresh`: this drainer has waited
 * and begins a new round. */
static connection *work_take(she_ingress *g, bool fresh) {
    pthread_mutex_lock(&g->work_lock);
    while (!g->work_first && !closing(g)) {
        note_depths(g); /* all queues are empty, or other drainers are at them */
        pthread_cond_wait(&g->work_came, &g->work_lock);
        fresh = true;
    }
    if (fresh)
        note_depths(g);
    connection *c = closing(g) ? NULL : g->work_first;
    if (c) {
        g->work_first = c->work_next;
        if (!g->work_first)
            g->work_last = NULL;
    }
    pthread_mutex_unlock(&g->work_lock);
    return c;
}

/* ---- a queue's read end ---------------------------------------------------------------------- */

/* Give n samples of the queue back to its reader, for reading and for counting. True if the queue
 * is empty: then the connection is not this thread's any more. */
static bool take_out(she_ingress *g, connection *c, uint64_t n) {
    c->read_next += (uint32_t)n;
    /* SYNC ingress-queue: pairs with the loads in enqueue, deliver and receive; releases this
     * thread's use of the queue, and the insertion of its samples. */
    if (she_add_seq(&c->pending, 0 - n) != n) {
        /* SYNC ingress-progress: pairs with the store in want_progress; after `pending` and
         * `inserted` are written. */
        if (she_load32_seq(&c->awaits_progress))
            mail_post(g, c, MAIL_PROGRESS);
        return false;
    }
    she_add_relaxed(&g->busy_queues, UINT64_MAX); /* minus one; relaxed: a hint */
    mail_post(g, c, MAIL_RETURNED); /* a reader keeps the record until this has arrived */
    return true;
}

/* The samples that lie in one piece at the read end. */
static uint64_t piece(she_ingress *g, connection *c, const uint8_t **first) {
    /* SYNC ingress-queue: pairs with the addition in enqueue; acquires the samples. */
    uint64_t n = she_load_acquire(&c->pending);
    if (c->read_next == g->block_samples) {
        block *next = c->read_block->next;
        pool_put(&g->blocks, c->read_block);
        c->read_block = next;
        c->read_next = 0;
    }
    *first = queued_sample(g, c->read_block, c->read_next);
    uint64_t here = g->block_samples - c->read_next;
    return n < here ? n : here;
}

/* Drop a queue: the ring is closed, or its memory lost. What it held counts as dropped at the end
 * of the connection. */
static void discard(she_ingress *g, connection *c) {
    const uint8_t *first;
    mail_post(g, c, MAIL_DISCARDED);
    while (!take_out(g, c, piece(g, c, &first))) {
    }
}

/* Move at most queue_samples samples of one connection. SHE_OK: the connection is empty or back in
 * the list; SHE_FULL: it is back at the head of the list, and `ticket` is for the wait. */
static int drain(she_ingress *g, drainer *d, connection *c, uint32_t *ticket) {
    uint64_t left = g->config.queue_samples;
    while (left > 0) {
        const uint8_t *first;
        int result;
        uint64_t n = piece(g, c, &first);
        n = insert_samples(g, d->producer, c, first, g->stride, n < left ? n : left, STAMPED,
                           ticket, &result);
        left -= n;
        if (n > 0 && take_out(g, c, n))
            return SHE_OK;
        if (result == SHE_CLOSED) {
            discard(g, c);
            return SHE_OK;
        }
        if (result == SHE_FULL) {
            work_put_back(g, c);
            return SHE_FULL;
        }
    }
    work_add(g, c);
    return SHE_OK;
}

/* Sleep until the ring may have room. One drainer waits for that, the others for it: room for a few
 * samples would wake all of them, of which most find the ring full again. */
static void await_room(she_ingress *g, drainer *d, uint32_t ticket) {
    pthread_mutex_lock(&g->work_lock);
    if (g->room_awaited) {
        if (!closing(g))
            pthread_cond_wait(&g->work_came, &g->work_lock);
        pthread_mutex_unlock(&g->work_lock);
        return;
    }
    g->room_awaited = true;
    pthread_mutex_unlock(&g->work_lock);
    (void)she_claim_wait(d->producer, ticket, SLICE_NS);
    pthread_mutex_lock(&g->work_lock);
    g->room_awaited = false;
    if (g->work_first && g->work_first->work_next &&
        g->payload * g->config.queue_samples >= HELP_BYTES)
        pthread_cond_signal(&g->work_came);
    pthread_mutex_unlock(&g->work_lock);
}

void *drainer_main(void *argument) {
    drainer *d = argument;
    she_ingress *g = d->ingress;
    bool fresh = true;
    for (connection *c; (c = work_take(g, fresh));) {
        uint32_t ticket = 0;
        uint64_t began = g->config.detailed ? she_now_ns() : 0;
        int result = drain(g, d, c, &ticket);
        if (g->config.detailed)
            she_hist_record(g->rounds, she_now_ns() - began);
        fresh = result == SHE_FULL;
        if (fresh)
            await_room(g, d, ticket);
    }
    return NULL;
}
