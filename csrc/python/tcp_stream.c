/* The bytes of a TcpSender: samples out, acknowledgements in. Nothing here waits. */
#include "tcp_sender.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* A leaf of fewer bytes is copied next to its neighbours: the kernel spends more on another piece
 * than the copy costs. */
#define GATHER_BELOW 512
/* IOV_MAX of Linux. */
#define PIECES 1024
/* A write of at least this size releases the interpreter lock: see send.c. */
#define UNLOCK_BYTES 65536
/* A write of several samples takes no further one beyond this size, so that acknowledgements are
 * read in between. */
#define WRITE_BYTES (1u << 18)

static void lose(TcpSender *self, int error) {
    if (!self->lost) {
        self->lost = 1;
        self->error = error;
    }
    tcp_signal(self);
}

/* ---------------------------------------------------------------- acknowledgements */

/* More than was sent is acknowledged only by a peer that is wrong. */
static void acked_up_to(TcpSender *self, uint64_t count) {
    if (count > self->sent)
        count = self->sent;
    if (count > self->acked)
        self->acked = count;
}

/* Bytes other than 0x01 have no meaning, and are skipped. */
static void take_bytes(TcpSender *self, const uint8_t *from, size_t n) {
    uint64_t ones = 0;
    for (size_t i = 0; i < n; i++)
        ones += from[i] == 0x01;
    acked_up_to(self, self->acked + ones);
}

static void take_counts(TcpSender *self, const uint8_t *from, size_t n) {
    for (size_t i = 0; i < n; i++) {
        self->half_ack[self->half_ack_bytes++] = from[i];
        if (self->half_ack_bytes < sizeof self->half_ack)
            continue;
        uint64_t count = 0;
        for (int b = 7; b >= 0; b--)
            count = count << 8 | self->half_ack[b];
        self->half_ack_bytes = 0;
        if (count >= self->first)
            acked_up_to(self, count - self->first);
    }
}

void tcp_read_acks(TcpSender *self) {
    uint8_t bytes[4096];
    tcp_check_peer(self);
    if (self->reading || self->fd < 0 || self->lost)
        return;
    self->checked_ns = api->now_coarse_ns();
    uint64_t before = self->acked;
    /* A peer that never stops talking must not keep this thread. */
    for (int rounds = 0; rounds < 64; rounds++) {
        ssize_t n = recv(self->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            lose(self, errno);
        else if (n == 0)
            lose(self, 0);
        else if (n > 0 && self->wide_acks)
            take_counts(self, bytes, (size_t)n);
        else if (n > 0)
            take_bytes(self, bytes, (size_t)n);
        if (n < (ssize_t)sizeof bytes)
            break;
    }
    if (self->acked != before)
        tcp_signal(self);
}

/* The socket option for this, TCP_USER_TIMEOUT, would also end the connection to a server that is
 * well and takes nothing for so long: a learner in a long evaluation. Its kernel answers probes. */
void tcp_check_peer(TcpSender *self) {
    uint64_t now = api->now_coarse_ns();
    if (!self->dead_after_ns || self->fd < 0 || now - self->looked_ns < SLICE_NS)
        return;
    self->looked_ns = now;
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (getsockopt(self->fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0) {
        self->dead_after_ns = 0; /* a socket pair: its other end is in this process */
        return;
    }
    /* Nothing answers what was sent last. A kernel whose receive buffer is full drops what comes
     * and answers each time; it does not answer a probe that comes too soon after another one. */
    bool unanswered = info.tcpi_probes > 2 ||
                      (info.tcpi_retransmits && info.tcpi_last_ack_recv > info.tcpi_last_data_sent);
    if (!unanswered)
        self->silent_ns = 0;
    else if (!self->silent_ns)
        self->silent_ns = now;
    else if (now - self->silent_ns >= self->dead_after_ns)
        lose(self, ETIMEDOUT);
}

/* ---------------------------------------------------------------- samples */

/* Through the loopback interface, the peer's answer comes within microseconds. A stream of small
 * samples costs both sides a packet and a wake-up each, though: with the samples put together that
 * come before the answer, half as much. Over a network, or a tunnel whose end is at the loopback
 * interface, they would have to wait for the answer of a far peer, so that a client which has
 * waited for long sends at once. */
#define CALM_SAMPLES 256

void tcp_coalesce(TcpSender *self, bool on) {
    if (self->coalesces == on || self->fd < 0)
        return;
    int at_once = !on;
    (void)setsockopt(self->fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    self->coalesces = on;
    self->calm_since = self->sent;
}

/* The bytes of a leaf in sample `index` of the call. */
static inline const char *leaf_at(const TcpSender *self, const TcpCall *call, Py_ssize_t place,
                                  uint64_t index, uint64_t *bytes) {
    Py_ssize_t i = self->order ? self->order[place] : place;
    *bytes = self->spec.leaves[i].row_bytes;
    return PyArray_BYTES((PyArrayObject *)PyList_GET_ITEM(call->list, i)) + index * *bytes;
}

/* Copy sample `index` of the call, from the byte `offset` on. */
static void copy_sample(const TcpSender *self, const TcpCall *call, uint64_t index, uint64_t offset,
                        char *to) {
    if (call->raw) {
        memcpy(to, call->raw + offset, self->spec.sample_bytes - offset);
        return;
    }
    for (Py_ssize_t place = 0; place < self->spec.num_leaves; place++) {
        uint64_t bytes;
        const char *from = leaf_at(self, call, place, index, &bytes);
        if (offset >= bytes) {
            offset -= bytes;
            continue;
        }
        api->copy(to, from + offset, bytes - offset);
        to += bytes - offset;
        offset = 0;
    }
}

/* The slot of `kept` that has the sample of this number. */
static char *kept_slot(const TcpSender *self, uint64_t number) {
    return self->kept + number % self->batch_window * self->spec.sample_bytes;
}

typedef struct {
    struct iovec at[PIECES];
    int count;
    uint64_t bytes;
} Pieces;

static bool add_piece(Pieces *pieces, const char *from, uint64_t bytes) {
    struct iovec *last = &pieces->at[pieces->count - 1];
    if (pieces->count && (const char *)last->iov_base + last->iov_len == from) {
        last->iov_len += bytes;
    } else {
        if (pieces->count == PIECES)
            return false;
        pieces->at[pieces->count++] = (struct iovec){(void *)from, bytes};
    }
    pieces->bytes += bytes;
    return true;
}

/* Copies of whole samples, which lie next to each other in `kept`. */
static void pieces_of_kept(TcpSender *self, TcpCall *call, uint64_t limit, Pieces *pieces) {
    uint64_t bytes = self->spec.sample_bytes, skip = call->offset;
    for (uint64_t index = call->index; index < limit && pieces->bytes < WRITE_BYTES; index++) {
        char *slot = kept_slot(self, self->sent + (index - call->index));
        if (index >= call->copied) {
            copy_sample(self, call, index, 0, slot);
            call->copied = index + 1;
        }
        (void)add_piece(pieces, slot + skip, bytes - skip); /* two pieces at most */
        skip = 0;
    }
}

/* The leaves where they are, small ones gathered. */
static void pieces_of_leaves(TcpSender *self, TcpCall *call, uint64_t limit, Pieces *pieces) {
    uint64_t skip = call->offset, used = 0, gather_below = GATHER_BELOW;
    if (self->spec.num_leaves == 1)
        gather_below = 0; /* rows of the only leaf lie next to each other */
    for (uint64_t index = call->index; index < limit && pieces->bytes < WRITE_BYTES; index++) {
        for (Py_ssize_t place = 0; place < self->spec.num_leaves; place++) {
            uint64_t bytes;
            const char *from = leaf_at(self, call, place, index, &bytes);
            if (skip >= bytes) { /* an empty leaf, too */
                skip -= bytes;
                continue;
            }
            from += skip;
            bytes -= skip;
            skip = 0;
            if (bytes < gather_below) {
                if (used + bytes > TCP_GATHERED)
                    return;
                from = memcpy(self->gathered + used, from, bytes);
                used += bytes;
            }
            if (!add_piece(pieces, from, bytes))
                return;
        }
    }
}

/* The result of send(2): the number of bytes, or -1 with errno. */
static ssize_t write_pieces(TcpSender *self, Pieces *pieces) {
    struct msghdr message = {.msg_iov = pieces->at, .msg_iovlen = (size_t)pieces->count};
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    ssize_t n;
    if (pieces->bytes >= UNLOCK_BYTES) {
        int number;
        Py_BEGIN_ALLOW_THREADS
        n = sendmsg(self->fd, &message, flags);
        number = errno;
        Py_END_ALLOW_THREADS
        errno = number;
        return n;
    }
    if (pieces->count == 1)
        return send(self->fd, pieces->at[0].iov_base, pieces->at[0].iov_len, flags);
    return sendmsg(self->fd, &message, flags);
}

/* TCP_FULL, or BINDING_GONE after an error of a write. */
static int write_failed(TcpSender *self) {
    int number = errno;
    if (number == EAGAIN || number == EWOULDBLOCK || number == EINTR)
        return TCP_FULL;
    tcp_read_acks(self); /* those that came before the end count */
    lose(self, number);
    return BINDING_GONE;
}

int tcp_write(TcpSender *self, TcpCall *call, uint64_t limit) {
    Pieces pieces;
    pieces.count = 0;
    pieces.bytes = 0;
    if (self->kept)
        pieces_of_kept(self, call, limit, &pieces);
    else if (call->raw)
        (void)add_piece(&pieces, call->raw + call->offset, self->spec.sample_bytes - call->offset);
    else
        pieces_of_leaves(self, call, limit, &pieces);
    self->writing = 1;
    call->turn = true;
    ssize_t n = write_pieces(self, &pieces);
    if (self->retired)
        return SHE_STOPPED;
    if (n < 0)
        return write_failed(self);
    uint64_t written = call->offset + (uint64_t)n, whole = written / self->spec.sample_bytes;
    call->index += whole;
    call->offset = written % self->spec.sample_bytes;
    self->sent += whole;
    call->stuck_ns = 0;
    if (self->may_coalesce && self->sent - self->calm_since >= CALM_SAMPLES)
        tcp_coalesce(self, true);
    return (uint64_t)n < pieces.bytes ? TCP_FULL : SHE_OK;
}

int tcp_write_rest(TcpSender *self) {
    while (self->rest_bytes) {
        ssize_t n = send(self->fd, self->rest, self->rest_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            return write_failed(self);
        self->rest += n;
        self->rest_bytes -= (uint64_t)n;
        if (!self->rest_bytes)
            tcp_signal(self);
    }
    return SHE_OK;
}

int tcp_put_aside(TcpSender *self, TcpCall *call) {
    if (!call->offset)
        return 0;
    self->rest_bytes = self->spec.sample_bytes - call->offset;
    if (self->kept) {
        self->rest = kept_slot(self, self->sent) + call->offset;
    } else {
        if (!self->aside)
            self->aside = PyMem_RawMalloc(self->spec.sample_bytes);
        if (!self->aside) {
            self->rest_bytes = 0;
            lose(self, ENOMEM); /* the stream cannot be continued */
            PyErr_NoMemory();
            return -1;
        }
        copy_sample(self, call, call->index, call->offset, self->aside);
        self->rest = self->aside;
    }
    call->offset = 0;
    call->index++;
    self->sent++;
    return 0;
}
