/* The memory of a connection that its reader fills: the queue's write end, and the sample that
 * has arrived in part. Called by the connection's reader only. */
#include <string.h>

#include "ingress_parts.h"

/* ---- the queue's write end ------------------------------------------------------------------- */

static bool queue_room(she_ingress *g, connection *c, bool empty) {
    if (c->write_block && c->write_next < g->block_samples)
        return true;
    if (c->write_block && empty) { /* no drainer looks at it: begin again */
        c->write_next = c->read_next = 0;
        return true;
    }
    block *more = pool_get(&g->blocks);
    if (!more)
        return false;
    if (c->write_block)
        c->write_block->next = more;
    else
        c->read_block = more;
    c->write_block = more;
    c->write_next = 0;
    return true;
}

static void stamp(const she_ingress *g, uint8_t *sample, uint64_t now) {
    if (g->config.detailed)
        memcpy(sample - sizeof now, &now, sizeof now);
}

/* Give the queue's memory back once it is empty. */
void release_queue(she_ingress *g, connection *c) {
    if (c->write_block)
        pool_put(&g->blocks, c->write_block);
    c->write_block = c->read_block = NULL;
    c->write_next = c->read_next = 0;
}

/* Append n samples, and hand the connection over to the drainers if none of them has it. Returns
 * how many there was memory for. */
uint64_t enqueue(she_ingress *g, connection *c, const uint8_t *from, uint64_t n, uint64_t now) {
    uint64_t done = 0;
    /* SYNC ingress-queue: pairs with the subtraction in take_out; acquires the drainer's last use
     * of the queue, if it is empty. */
    bool empty = she_load_acquire(&c->pending) == 0;
    if (large(g)) { /* the block that it has arrived in becomes the queue's */
        if (empty)
            release_queue(g, c);
        if (c->write_block)
            c->write_block->next = c->fragment;
        else
            c->read_block = c->fragment;
        c->write_block = c->fragment;
        c->write_next = 1;
        c->fragment = NULL;
        c->in.fragment = NULL;
        stamp(g, queued_sample(g, c->write_block, 0), now);
        done = 1;
    }
    for (; done < n && queue_room(g, c, empty && done == 0); done++) {
        uint8_t *to = queued_sample(g, c->write_block, c->write_next++);
        memcpy(to, from + done * g->payload, g->payload);
        stamp(g, to, now);
    }
    if (done == 0)
        return 0;
    /* SYNC ingress-queue: pairs with the load in piece; releases the samples. */
    if (she_add_seq(&c->pending, done) == 0) {
        she_add_relaxed(&g->busy_queues, 1); /* relaxed: a hint, see starved_out */
        c->lent++;
        work_add(g, c);
    }
    return done;
}

/* ---- fragments ------------------------------------------------------------------------------- */

static pool *fragment_pool(she_ingress *g) { return large(g) ? &g->blocks : &g->fragments; }

bool get_fragment(she_ingress *g, connection *c) {
    if (!c->fragment) {
        c->fragment = pool_get(fragment_pool(g));
        if (!c->fragment)
            return false;
        c->in.fragment = large(g) ? queued_sample(g, c->fragment, 0) : c->fragment->bytes;
    }
    return true;
}

void put_fragment(she_ingress *g, connection *c) {
    if (c->fragment)
        pool_put(fragment_pool(g), c->fragment);
    c->fragment = NULL;
    c->in.fragment = NULL;
}

/* True if there is no memory for another queue or sample at the moment. One sample may always be
 * held, or a sample larger than the bound would never arrive. */
bool out_of_memory(const she_ingress *g) {
    uint64_t held = she_load_relaxed(&g->held); /* relaxed: see pool_get */
    return held > 0 && held + g->blocks.block_bytes > g->config.ingress_bytes;
}
