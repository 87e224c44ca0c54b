/* An ingress over a rig, and clients of it, for tests. */
#ifndef SHM_ECHO_NET_H
#define SHM_ECHO_NET_H

#include "sample.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "shm_echo/ingress.h"

#define NET_READERS 2
#define NET_DRAINERS 1
/* Of the rig's leaves, and of the small ones of net_open_small. */
#define NET_PAYLOAD (24 + 7 + 2000)
#define SMALL_PAYLOAD (24 + 7 + 9)
#define MAX_PAYLOAD (128u * 1024)
/* Streams that a learner tells apart. */
#define NET_STREAMS 64

static const uint8_t net_greeting[] = "ECHO greeting";

typedef struct {
    rig r;
    she_ingress_config config;
    uint32_t owners[RIG_PRODUCERS];
    she_ingress *ingress;
    int listener, port;
    uint64_t payload;
    uint64_t next[NET_STREAMS], taken; /* samples that the learner has taken: by stream, and all */
} net;

static inline void net_open_on(net *n) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    for (uint32_t i = 0; i < RIG_PRODUCERS; i++)
        n->owners[i] = i + 1;
    n->config.owners = n->owners;
    CHECK_EQ(she_ingress_open(n->r.ring, &n->config, &n->ingress), SHE_OK);
    n->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(n->listener >= 0);
    CHECK_EQ(bind(n->listener, (struct sockaddr *)&address, sizeof address), 0);
    CHECK_EQ(listen(n->listener, 128), 0);
    CHECK_EQ(getsockname(n->listener, (struct sockaddr *)&address, &bytes), 0);
    n->port = ntohs(address.sin_port);
    CHECK_EQ(she_ingress_listen(n->ingress, n->listener), 0);
}

static inline void net_config(net *n) {
    n->config = (she_ingress_config){.num_readers = NET_READERS,
                                     .num_drainers = NET_DRAINERS,
                                     .queue_samples = 4,
                                     .ingress_bytes = 64u << 20,
                                     .wire = SHE_WIRE_ECHO,
                                     .greeting = net_greeting,
                                     .greeting_bytes = sizeof net_greeting};
}

static inline void net_open_rows(net *n, const uint64_t *rows, uint64_t batch_size,
                                 uint64_t num_buffers, bool detailed) {
    memset(n, 0, sizeof *n);
    rig_open_rows(&n->r, rows, batch_size, num_buffers, detailed);
    net_config(n);
    n->config.detailed = detailed;
    for (int leaf = 0; leaf < RIG_LEAVES; leaf++)
        n->payload += rows[leaf];
    net_open_on(n);
}

static inline void net_open(net *n, uint64_t batch_size, uint64_t num_buffers) {
    net_open_rows(n, rig_rows, batch_size, num_buffers, false);
}

static const uint64_t small_rows[RIG_LEAVES] = {24, 7, 9};

static inline void net_open_small(net *n, uint64_t batch_size, uint64_t num_buffers) {
    net_open_rows(n, small_rows, batch_size, num_buffers, false);
}

/* As net_open, with the configuration that is set. */
static inline void net_again(net *n) {
    uint64_t dropped;
    she_ingress_close(n->ingress, &dropped);
    she_ingress_free(n->ingress);
    close(n->listener);
    net_open_on(n);
}

static inline uint64_t net_close(net *n) {
    uint64_t dropped;
    she_ring_close(n->r.ring);
    she_ingress_close(n->ingress, &dropped);
    she_ingress_free(n->ingress);
    close(n->listener);
    rig_close(&n->r);
    return dropped;
}

/* ---- clients --------------------------------------------------------------------------------- */

static inline void client_write(int fd, const void *bytes, uint64_t n) {
    for (const uint8_t *at = bytes; n > 0;) {
        ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        CHECK(sent > 0);
        at += sent;
        n -= (uint64_t)sent;
    }
}

/* Read n bytes; false at the end of the stream. */
static inline bool client_read(int fd, void *bytes, uint64_t n) {
    for (uint8_t *at = bytes; n > 0;) {
        ssize_t got = recv(fd, at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        n -= (uint64_t)got;
    }
    return true;
}

/* A connection; -1 with errno if there is none. */
static inline int client_try(const net *n) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)n->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static inline int client_dial(const net *n) {
    int fd = client_try(n);
    CHECK(fd >= 0);
    return fd;
}

/* A connection whose greeting is read. */
static inline int client_open(const net *n) {
    uint8_t greeting[sizeof net_greeting];
    int fd = client_dial(n);
    CHECK(client_read(fd, greeting, sizeof greeting));
    CHECK(memcmp(greeting, net_greeting, sizeof greeting) == 0);
    return fd;
}

/* A connection that is not made by the listener: the ingress has the other end of a socket pair. */
static inline int client_adopted(const net *n, uint64_t queued_before, uint64_t position_before,
                                 uint64_t *id) {
    int pair[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    CHECK_EQ(she_ingress_adopt(n->ingress, pair[1], queued_before, position_before, id), 0);
    return pair[0];
}

/* The bytes of a sample in the stream: see sample_fill. */
static inline void client_sample(const she_ring *ring, uint8_t *out, uint64_t stream,
                                 uint64_t number) {
    for (uint32_t leaf = 0; leaf < ring->num_leaves; leaf++) {
        sample_fill(out, ring->leaves[leaf].row_bytes, leaf, stream, number);
        out += ring->leaves[leaf].row_bytes;
    }
}

static inline void client_send(const net *n, int fd, uint64_t stream, uint64_t from, uint64_t to) {
    static _Thread_local uint8_t bytes[MAX_PAYLOAD];
    for (; from < to; from++) {
        client_sample(n->r.ring, bytes, stream, from);
        client_write(fd, bytes, n->payload);
    }
}

/* Wait for n acknowledgements. */
static inline void client_acks(int fd, uint64_t n) {
    while (n > 0) {
        uint8_t acks[256];
        uint64_t part = n < sizeof acks ? n : sizeof acks;
        CHECK(client_read(fd, acks, part));
        for (uint64_t i = 0; i < part; i++)
            CHECK_EQ(acks[i], 1);
        n -= part;
    }
}

/* True if nothing comes for a moment. */
static inline bool client_silent(int fd) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, 50) == 0;
}

static inline bool client_at_end(int fd) {
    uint8_t byte;
    return recv(fd, &byte, 1, 0) <= 0;
}

/* ---- the learner ----------------------------------------------------------------------------- */

/* Wait for the next batches and release them; their samples are the next ones of their streams. */
static inline void learner_take(net *n, uint64_t batches) {
    for (; batches > 0; batches--) {
        uint64_t batch, samples;
        while (she_ready(n->r.consumer) != SHE_OK)
            (void)she_ready_wait(n->r.consumer, INT64_C(1000000000));
        she_take(n->r.consumer, &batch, &samples);
        for (uint64_t i = 0; i < samples; i++) {
            uint64_t stream, number;
            sample_read(n->r.ring, batch * n->r.ring->batch_size + i, &stream, &number);
            CHECK(stream < NET_STREAMS);
            CHECK_EQ(number, n->next[stream]);
            n->next[stream]++;
        }
        n->taken += samples;
        she_release(n->r.ring, batch);
    }
}

static inline void learner_take_until(net *n, uint64_t samples) {
    while (n->taken < samples)
        learner_take(n, 1);
}

/* The next event, of any kind but OPENED. */
static inline she_ingress_event next_end(net *n) {
    she_ingress_event event;
    for (;;) {
        while (she_ingress_next_event(n->ingress, &event))
            if (event.kind != SHE_INGRESS_OPENED)
                return event;
        uint64_t count;
        CHECK_EQ(read(she_ingress_event_fd(n->ingress), &count, sizeof count), sizeof count);
    }
}

/* A client closes its connection, which has brought so many samples. */
static inline void client_leave(net *n, int fd, uint64_t queued) {
    close(fd);
    CHECK_EQ(next_end(n).queued, queued);
}

static inline she_ingress_stats stats_of(net *n) {
    she_ingress_stats stats;
    she_ingress_get_stats(n->ingress, &stats);
    return stats;
}

/* Poll for a figure of the ingress that no event announces. */
#define UNTIL(condition) \
    do { \
        while (!(condition)) \
            net_breathe(); \
    } while (0)
static inline void net_breathe(void) {
    struct timespec moment = {.tv_nsec = 200000};
    nanosleep(&moment, NULL);
}

#endif
