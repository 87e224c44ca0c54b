/* The acknowledgements of a connection. Called by its reader only. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "ingress_parts.h"

static void put_count(uint8_t out[8], uint64_t count) {
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(count >> 8 * i);
}

/* The next bytes for the client, at most `room`; how many. */
static uint64_t owed_bytes(const she_ingress *g, const connection *c, uint8_t *out, uint64_t room) {
    uint64_t queued = she_load_relaxed(&c->queued); /* relaxed: this thread has stored it */
    if (g->config.wire == SHE_WIRE_ECHO) {
        uint64_t n = queued - c->acked < room ? queued - c->acked : room;
        memset(out, 1, n);
        return n;
    }
    uint8_t count[8];
    put_count(count, c->partial_left ? c->partial_count : queued);
    uint64_t left = c->partial_left ? c->partial_left : queued > c->acked ? 8 : 0;
    memcpy(out, count + 8 - left, left);
    return left;
}

static void paid(const she_ingress *g, connection *c, uint64_t bytes) {
    if (g->config.wire == SHE_WIRE_ECHO) {
        c->acked += bytes;
        return;
    }
    if (!c->partial_left) {
        c->partial_count = she_load_relaxed(&c->queued); /* relaxed: this thread has stored it */
        c->partial_left = 8;
        c->acked = c->partial_count;
    }
    c->partial_left -= (uint32_t)bytes;
}

bool in_debt(const she_ingress *g, const connection *c) {
    /* Relaxed: this thread has stored it. */
    return c->greeting_sent < g->config.greeting_bytes || c->partial_left ||
           she_load_relaxed(&c->queued) > c->acked;
}

/* Ask the drainers for mail at each step, not only at the end of the queue. Returns the samples in
 * it; the mail of every step from there on comes. */
uint64_t want_progress(connection *c) {
    /* SYNC ingress-progress: written, then `pending` read; a drainer writes `pending`, then reads
     * this. In one total order at least one of the two sees the other. */
    she_store32_seq(&c->awaits_progress, 1);
    return she_load_seq(&c->pending);
}

uint64_t acknowledgeable(const she_ingress *g, const connection *c) {
    /* SYNC ingress-inserted: pairs with the store in note_inserted. */
    uint64_t may = she_load_acquire(&c->inserted) + g->config.queue_samples;
    return c->whole < may ? c->whole : may;
}

/* A sample is acknowledged when it is in the ring, or one of the first queue_samples of the queue.
 * One read may bring more than that: those wait in the queue without being acknowledged. */
static void acknowledge(const she_ingress *g, connection *c) {
    uint64_t may = acknowledgeable(g, c);
    if (may < c->whole) {
        (void)want_progress(c);
        may = acknowledgeable(g, c);
    } else if (!c->parked) {
        she_store32_relaxed(&c->awaits_progress, 0); /* relaxed: one mail too many is no harm */
    }
    she_store_relaxed(&c->queued, may); /* relaxed: for others, a figure */
}

void pay(reader *r, connection *c) {
    const she_ingress *g = r->ingress;
    uint8_t out[1024];
    if (c->error != ESHUTDOWN) /* the ring has not taken what is in the queue */
        acknowledge(g, c);
    while (!c->deaf && in_debt(g, c)) {
        const uint8_t *from = out;
        uint64_t n, greeting_left = g->config.greeting_bytes - c->greeting_sent;
        if (greeting_left) {
            from = g->greeting + c->greeting_sent;
            n = greeting_left;
        } else {
            n = owed_bytes(g, c, out, sizeof out);
        }
        ssize_t sent = send(c->fd, from, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            watch(r, c, c->interest | EPOLLOUT);
            return;
        }
        if (sent > 0)
            sent_something(r, c);
        if (sent < 0) /* no client reads it; the samples count even so */
            c->deaf = true;
        else if (greeting_left)
            c->greeting_sent += (uint64_t)sent;
        else
            paid(g, c, (uint64_t)sent);
    }
    if (c->interest & EPOLLOUT)
        watch(r, c, c->interest & ~(uint32_t)EPOLLOUT);
}
