/* From a socket to the ring, or to the queue of its connection if the ring is full. Called by the
 * connection's reader only. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ingress_parts.h"

/* Reads of one connection before the next one has its turn. */
#define ROUNDS 4
/* Rows of a large sample are read with as many system calls as this needs. */
#define SLICE 64
/* How long a connection waits for memory that nobody uses. */
#define STARVED_OUT_NS UINT64_C(500000000)

enum outcome {
    MORE,    /* there may be more to read */
    ENOUGH,  /* not now */
    NOT_NOW, /* of receive_direct: read the ordinary way */
};

/* ---- samples --------------------------------------------------------------------------------- */

/* n whole samples have arrived. False if the connection ends. */
static bool deliver(reader *r, connection *c, const uint8_t *from, uint64_t n, uint64_t now) {
    she_ingress *g = r->ingress;
    uint64_t done = 0;
    int result = SHE_FULL;
    uint32_t ticket;
    /* SYNC ingress-queue: pairs with the subtraction in take_out: if the queue is empty, its
     * samples are in the ring, and those that follow may go there, too. */
    if (she_load_acquire(&c->pending) == 0)
        done = insert_samples(g, r->producer, c, from, g->payload, n, now, &ticket, &result);
    if (done < n && result == SHE_FULL)
        done += enqueue(g, c, from + done * g->payload, n - done, now);
    c->whole += done;
    if (done == n)
        return true;
    begin_end(r, c, result == SHE_FULL ? ENOMEM : ESHUTDOWN);
    return false;
}

/* Ask to be woken only for so many bytes: a reader that is woken for a part of a large sample has
 * to buffer it. */
static void set_lowat(const connection *c, uint64_t bytes) {
    int value = bytes < INT_MAX ? (int)bytes : INT_MAX;
    (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value);
}

static void want_bytes(const she_ingress *g, connection *c) {
    if (!c->lowat_most)
        return;
    uint64_t want = g->payload - c->in.have;
    want = want < c->lowat_most ? want : c->lowat_most;
    if (want != c->lowat) {
        set_lowat(c, want);
        c->lowat = (uint32_t)want;
    }
}

/* Stop reading: the queue is full. A drainer's return ends it. */
static void park(reader *r, connection *c) {
    retry_remove(r, c);
    c->parked = true;
    she_store_relaxed(&c->blocked_since_ns, she_now_coarse_ns()); /* relaxed: a figure */
    if (!c->starved)
        she_add_relaxed(&r->ingress->push_blocked, 1); /* relaxed: a figure */
    watch(r, c, c->interest & ~(uint32_t)EPOLLIN);
}

static void unpark(reader *r, connection *c) {
    count_blocked(c);
    watch(r, c, c->interest | EPOLLIN);
    if (c->hung_up) /* its socket reports nothing any more, and a read does not wait */
        retry_add(r, c);
}

/* No memory for this connection's next sample. Its reader tries again every few milliseconds: the
 * memory is other connections', and so rare a case is not worth a list of waiters. */
static void starve(reader *r, connection *c) {
    if (!c->starved)
        c->starved_ns = she_now_coarse_ns();
    park(r, c);
    c->starved = true;
    retry_add(r, c);
}

/* True if others hold the memory and do nothing: beginnings of samples whose peers have stopped.
 * Then the bound gives way, or they would stop this connection, too. Samples in queues are no
 * reason, because they leave as soon as the learner takes more. */
static bool starved_out(const she_ingress *g, const connection *c) {
    /* Relaxed: a hint; the connection tries again. */
    return c->starved && she_now_coarse_ns() - c->starved_ns > STARVED_OUT_NS &&
           she_load_relaxed(&g->busy_queues) == 0;
}

/* A read has failed, or the stream is at its end. */
static enum outcome no_bytes(reader *r, connection *c, ssize_t got) {
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return ENOUGH;
    begin_end(r, c, got < 0 ? errno : 0);
    return ENOUGH;
}

static enum outcome receive_small(reader *r, connection *c, uint64_t limit) {
    she_ingress *g = r->ingress;
    struct iovec targets[2];
    int n = stream_targets(&c->in, r->scratch, SCRATCH_BYTES, limit, targets);
    uint64_t asked = targets[0].iov_len + (n > 1 ? targets[1].iov_len : 0);
    ssize_t got = readv(c->fd, targets, n);
    if (got <= 0)
        return no_bytes(r, c, got);
    uint64_t now = g->config.detailed ? she_now_ns() : 0;
    arrival a;
    stream_arrived(&c->in, r->scratch, (uint64_t)got, &a);
    if (a.first && !deliver(r, c, a.first, 1, now))
        return ENOUGH;
    if (a.num_whole && !deliver(r, c, a.whole, a.num_whole, now))
        return ENOUGH;
    if (a.tail_bytes) {
        if (!get_fragment(g, c)) {
            begin_end(r, c, ENOMEM);
            return ENOUGH;
        }
        memcpy(c->in.fragment, a.tail, a.tail_bytes);
        c->in.have = a.tail_bytes;
    } else if (a.first) {
        put_fragment(g, c);
    }
    return (uint64_t)got == asked ? MORE : ENOUGH;
}

static enum outcome receive_large(reader *r, connection *c) {
    she_ingress *g = r->ingress;
    if (!c->fragment && out_of_memory(g) && !starved_out(g, c)) {
        starve(r, c);
        return ENOUGH;
    }
    if (!get_fragment(g, c)) {
        begin_end(r, c, ENOMEM);
        return ENOUGH;
    }
    struct iovec target;
    (void)stream_targets(&c->in, r->scratch, 0, UINT64_MAX, &target);
    ssize_t got = readv(c->fd, &target, 1);
    if (got <= 0) {
        if (c->in.have == 0)
            put_fragment(g, c);
        return no_bytes(r, c, got);
    }
    c->starved = false;
    uint64_t now = g->config.detailed ? she_now_ns() : 0;
    arrival a;
    stream_arrived(&c->in, r->scratch, (uint64_t)got, &a);
    if (!a.first)
        return ENOUGH;
    bool goes_on = deliver(r, c, a.first, 1, now);
    put_fragment(g, c); /* unless the queue has taken it */
    return goes_on ? MORE : ENOUGH;
}

/* ---- large samples, straight into their rows ------------------------------------------------- */

/* Read one sample that is in the kernel into the rows of a slot. Returns the bytes that were read,
 * which are all of it unless the kernel is at odds with itself; -1 with errno. */
static ssize_t read_rows(const she_ingress *g, int fd, uint64_t position) {
    ssize_t total = 0;
    for (uint32_t place = 0; place < g->ring->num_leaves;) {
        struct iovec rows[SLICE];
        int n = 0;
        ssize_t asked = 0;
        for (; place < g->ring->num_leaves && n < SLICE; place++) {
            uint64_t bytes = leaf_bytes(g, place);
            if (bytes == 0)
                continue;
            rows[n++] = (struct iovec){.iov_base = leaf_row(g, place, position), .iov_len = bytes};
            asked += (ssize_t)bytes;
        }
        ssize_t got = n ? readv(fd, rows, n) : 0;
        if (got < 0)
            return total ? total : -1;
        total += got;
        if (got < asked)
            break;
    }
    return total;
}

/* Take the bytes that are in the rows of a claimed slot back. */
static bool rows_back(she_ingress *g, connection *c, uint64_t position, uint64_t bytes) {
    if (!get_fragment(g, c))
        return false;
    for (uint32_t place = 0; place < g->ring->num_leaves && c->in.have < bytes; place++) {
        uint64_t row = leaf_bytes(g, place), left = bytes - c->in.have;
        uint64_t n = row < left ? row : left;
        memcpy(c->in.fragment + c->in.have, leaf_row(g, place, position), n);
        c->in.have += n;
    }
    return true;
}

static enum outcome receive_direct(reader *r, connection *c) {
    she_ingress *g = r->ingress;
    int there = 0;
    uint64_t position;
    if (ioctl(c->fd, FIONREAD, &there) != 0 || there < 0 || (uint64_t)there < g->payload)
        return NOT_NOW; /* woken early: by a lack of memory in the kernel, or by the stream's end */
    uint64_t now = g->config.detailed ? she_now_ns() : 0;
    int rc = she_claim(r->producer, &position);
    if (rc != SHE_OK)
        return NOT_NOW; /* the ring is full, or closed, which the ordinary way finds, too */
    if (now)
        she_hist_record(g->dwell, she_now_ns() - now);
    ssize_t got = read_rows(g, c->fd, position);
    if (got != (ssize_t)g->payload) {
        int error = errno; /* EFAULT: the ring's memory was truncated */
        bool kept = got <= 0 || rows_back(g, c, position, (uint64_t)got);
        (void)she_abort(r->producer, position);
        if (!kept)
            begin_end(r, c, ENOMEM);
        else if (got < 0 && error == EFAULT)
            begin_end(r, c, ESHUTDOWN);
        else
            return NOT_NOW;
        return ENOUGH;
    }
    if (now)
        she_copied(r->producer, she_now_ns() - now);
    rc = she_commit(r->producer, position);
    if (rc != SHE_OK || ring_broken(g)) {
        /* A stray write has hit the slot, and its row may be another's by now: the sample is gone.
         * It was not acknowledged, and the end of the connection tells its sender. */
        begin_end(r, c, rc == SHE_CORRUPTED ? EIO : ESHUTDOWN);
        return ENOUGH;
    }
    note_inserted(c, 1, position + 1);
    c->whole++;
    c->starved = false;
    return (uint64_t)there >= 2 * g->payload ? MORE : ENOUGH;
}

/* ---- a connection's turn --------------------------------------------------------------------- */

static enum outcome receive(reader *r, connection *c) {
    she_ingress *g = r->ingress;
    /* SYNC ingress-queue: pairs with the subtraction in take_out, as in deliver. */
    uint64_t pending = she_load_acquire(&c->pending), limit = UINT64_MAX;
    if (pending) {
        bool full = pending >= g->config.queue_samples || out_of_memory(g);
        if (full) {
            pending = want_progress(c);
            full = pending >= g->config.queue_samples || (pending && out_of_memory(g));
        }
        if (full) {
            park(r, c);
            return ENOUGH;
        }
        limit = (g->config.queue_samples - pending) * g->payload - c->in.have;
    }
    if (!large(g))
        return receive_small(r, c, limit);
    if (c->direct && c->in.have == 0 && pending == 0) {
        enum outcome outcome = receive_direct(r, c);
        if (outcome != NOT_NOW)
            return outcome;
    }
    return receive_large(r, c);
}

void serve(reader *r, connection *c) {
    she_ingress *g = r->ingress;
    uint64_t before = c->whole, began = g->config.detailed ? she_now_ns() : 0;
    enum outcome outcome = MORE;
    if (c->parked)
        unpark(r, c);
    if (c->vanished)
        begin_end(r, c, ETIMEDOUT);
    for (int round = 0; round < ROUNDS && outcome == MORE && !c->ending; round++) {
        outcome = receive(r, c);
        pay(r, c);
    }
    she_store_relaxed(&c->last_seen_ns, she_now_coarse_ns()); /* relaxed: a figure */
    if (g->config.detailed && c->whole != before)
        she_hist_record(g->rounds, she_now_ns() - began);
    if (c->ending) {
        end_perhaps(r, c);
        return;
    }
    /* One read has brought more than the queue should hold. */
    if (!c->parked && c->whole > acknowledgeable(g, c) &&
        want_progress(c) > g->config.queue_samples)
        park(r, c);
    want_bytes(g, c);
    if (c->hung_up && !c->parked)
        retry_add(r, c);
}

/* ---- mail ------------------------------------------------------------------------------------ */

void connection_mail(reader *r, connection *c, uint32_t mail, uint32_t returns) {
    she_ingress *g = r->ingress;
    c->lent -= returns;
    if (mail & MAIL_NEW) {
        int error = watch_begin(r, c, EPOLLIN);
        if (error)
            begin_end(r, c, error);
        pay(r, c);
    }
    if (mail & MAIL_KICK)
        begin_end(r, c, ECANCELED);
    if (returns && !c->lent)
        release_queue(g, c);
    if (mail & MAIL_DISCARDED) {
        begin_end(r, c, ESHUTDOWN);
        c->error = ESHUTDOWN; /* even if its stream had ended before */
    }
    if (c->ending) {
        end_perhaps(r, c);
        return;
    }
    if (mail & (MAIL_RETURNED | MAIL_PROGRESS))
        pay(r, c);
    /* SYNC ingress-queue: pairs with the subtraction in take_out. */
    if (c->parked && !c->retrying && she_load_acquire(&c->pending) < g->config.queue_samples)
        unpark(r, c);
}
