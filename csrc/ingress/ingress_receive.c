/* From a socket to the ring, or to the queue of its connection if the ring is full; and the
 * acknowledgements back. Called by the connection's reader only. */
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
static void release_queue(she_ingress *g, connection *c) {
    if (c->write_block)
        pool_put(&g->blocks, c->write_block);
    c->write_block = c->read_block = NULL;
    c->write_next = c->read_next = 0;
}

/* Append n samples, and hand the connection over to the drainers if none of them has it. Returns
 * how many there was memory for. */
static uint64_t enqueue(she_ingress *g, connection *c, const uint8_t *from, uint64_t n,
                        uint64_t now) {
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

static bool get_fragment(she_ingress *g, connection *c) {
    if (!c->fragment) {
        c->fragment = pool_get(fragment_pool(g));
        if (!c->fragment)
            return false;
        c->in.fragment = large(g) ? queued_sample(g, c->fragment, 0) : c->fragment->bytes;
    }
    return true;
}

static void put_fragment(she_ingress *g, connection *c) {
    if (c->fragment)
        pool_put(fragment_pool(g), c->fragment);
    c->fragment = NULL;
    c->in.fragment = NULL;
}

/* True if there is no memory for another queue or sample at the moment. One sample may always be
 * held, or a sample larger than the bound would never arrive. */
static bool out_of_memory(const she_ingress *g) {
    uint64_t held = she_load_relaxed(&g->held); /* relaxed: see pool_get */
    return held > 0 && held + g->blocks.block_bytes > g->config.ingress_bytes;
}

/* ---- acknowledgements ------------------------------------------------------------------------ */

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

static bool in_debt(const she_ingress *g, const connection *c) {
    /* Relaxed: this thread has stored it. */
    return c->greeting_sent < g->config.greeting_bytes || c->partial_left ||
           she_load_relaxed(&c->queued) > c->acked;
}

/* Ask the drainers for mail at each step, not only at the end of the queue. Returns the samples in
 * it; the mail of every step from there on comes. */
static uint64_t want_progress(connection *c) {
    /* SYNC ingress-progress: written, then `pending` read; a drainer writes `pending`, then reads
     * this. In one total order at least one of the two sees the other. */
    she_store32_seq(&c->awaits_progress, 1);
    return she_load_seq(&c->pending);
}

static uint64_t acknowledgeable(const she_ingress *g, const connection *c) {
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
        if (sent < 0) /* nobody hears it; the samples count all the same */
            c->deaf = true;
        else if (greeting_left)
            c->greeting_sent += (uint64_t)sent;
        else
            paid(g, c, (uint64_t)sent);
    }
    if (c->interest & EPOLLOUT)
        watch(r, c, c->interest & ~(uint32_t)EPOLLOUT);
}

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

static void count_blocked(connection *c) {
    c->parked = false;
    /* Relaxed: figures. */
    uint64_t since = she_load_relaxed(&c->blocked_since_ns);
    she_store_relaxed(&c->blocked_since_ns, 0);
    she_add_relaxed(&c->blocked_ns, she_now_coarse_ns() - since);
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

/* ---- the end --------------------------------------------------------------------------------- */

/* No more of this connection is read. What is whole is delivered and acknowledged. */
void begin_end(reader *r, connection *c, int32_t error) {
    if (c->ending)
        return;
    c->ending = true;
    c->error = error;
    if (c->parked)
        count_blocked(c);
    put_fragment(r->ingress, c);
    watch(r, c, c->interest & ~(uint32_t)EPOLLIN);
}

/* Finish an ending connection, unless drainers have samples of it or it can still be told how many
 * of them were queued. Afterwards the record may be gone. */
void end_perhaps(reader *r, connection *c) {
    she_ingress *g = r->ingress;
    pay(r, c);
    if (c->lent) {
        /* A client that waits for the end of the stream has all its acknowledgements: it need not
         * wait until the learner has made room for the samples. Relaxed: stored by this thread. */
        if (c->error == 0 && !in_debt(g, c) && she_load_relaxed(&c->queued) == c->whole)
            (void)shutdown(c->fd, SHUT_WR);
        return;
    }
    release_queue(g, c);
    if (c->error == 0 && !c->deaf && !c->hung_up && in_debt(g, c))
        return; /* EPOLLOUT, or the end of the socket, goes on */
    retry_remove(r, c);
    mail_end(r, c);
    /* Closing the socket is not enough: while the child of a fork has a copy of the descriptor,
     * epoll would go on to report events of a connection that is forgotten. */
    if (c->registered)
        (void)epoll_ctl(r->epoll, EPOLL_CTL_DEL, c->fd, NULL);
    connection_drop(g, c);
}

/* Close the socket without a reset, which could overtake the last acknowledgements: a socket that
 * is closed with unread bytes sends one. */
static void close_gently(int fd) {
    (void)shutdown(fd, SHUT_WR);
    char scrap[4096];
    for (int i = 0; i < 1024 && recv(fd, scrap, sizeof scrap, MSG_DONTWAIT) > 0; i++) {
    }
    close(fd);
}

/* The end of a connection that no thread works on. */
void connection_drop(she_ingress *g, connection *c) {
    int fd = c->fd;
    /* Relaxed: no thread works on it. */
    uint64_t queued = she_load_relaxed(&c->queued), inserted = she_load_relaxed(&c->inserted);
    if (queued > inserted)
        she_add_relaxed(&g->dropped, queued - inserted);
    else
        she_store_relaxed(&c->queued, inserted); /* not acknowledged, but there */
    while (c->read_block) {
        block *next = c->read_block->next;
        pool_put(&g->blocks, c->read_block);
        c->read_block = next;
    }
    c->write_block = NULL;
    put_fragment(g, c);
    c->fd = -1; /* first: a fork's child closes what is in the table */
    close_gently(fd);
    event_ended(g, c);
}

/* ---- mail ------------------------------------------------------------------------------------ */

void connection_mail(reader *r, connection *c, uint32_t mail, uint32_t returns) {
    she_ingress *g = r->ingress;
    c->lent -= returns;
    if (mail & MAIL_NEW) {
        watch(r, c, EPOLLIN);
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
