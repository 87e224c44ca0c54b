/* Large samples, which go from the socket straight into the rows of their slot. */
#include "net.h"

#include <sys/socket.h>

#define LARGE_ROW 70000u
static const uint64_t large_rows[RIG_LEAVES] = {48, LARGE_ROW, 30001};
#define LARGE_SAMPLE (48u + LARGE_ROW + 30001u)

/* The first leaf identifies the sample; the others follow from it. */
static void large_fill(uint8_t *out, uint64_t stream, uint64_t number) {
    sample_fill(out, 48, 0, stream, number);
    sample_fill(out + 48, LARGE_ROW, 1, stream, number);
    sample_fill(out + 48 + LARGE_ROW, 30001, 2, stream, number);
}

static void large_check(const she_ring *ring, uint64_t position, uint64_t *stream,
                        uint64_t *number) {
    static uint8_t want[LARGE_SAMPLE];
    memcpy(stream, she_row(ring, 0, position), 8);
    memcpy(number, (uint8_t *)she_row(ring, 0, position) + 8, 8);
    large_fill(want, *stream, *number);
    uint8_t *at = want;
    for (uint32_t leaf = 0; leaf < RIG_LEAVES; leaf++) {
        CHECK(memcmp(at, she_row(ring, leaf, position), large_rows[leaf]) == 0);
        at += large_rows[leaf];
    }
}

static void large_take(net *n, uint64_t *next, uint64_t streams) {
    uint64_t batch, samples;
    while (she_ready(n->r.consumer) != SHE_OK)
        (void)she_ready_wait(n->r.consumer, INT64_C(1000000000));
    she_take(n->r.consumer, &batch, &samples);
    for (uint64_t i = 0; i < samples; i++) {
        uint64_t stream, number;
        large_check(n->r.ring, batch * n->r.ring->batch_size + i, &stream, &number);
        CHECK(stream < streams);
        CHECK_EQ(number, next[stream]);
        next[stream]++;
    }
    she_release(n->r.ring, batch);
}

static void large_send(int fd, uint64_t stream, uint64_t from, uint64_t to) {
    static uint8_t bytes[LARGE_SAMPLE];
    for (; from < to; from++) {
        large_fill(bytes, stream, from);
        client_write(fd, bytes, sizeof bytes);
    }
}

static void large_open(net *n, uint64_t batch_size, uint64_t num_buffers) {
    net_open_rows(n, large_rows, batch_size, num_buffers, true);
}

CASE(large_samples_arrive_whole_and_in_order) {
    net n;
    uint64_t next[1] = {0};
    large_open(&n, 2, 2);
    int fd = client_open(&n);
    for (uint64_t i = 0; i < 20; i += 2) {
        large_send(fd, 0, i, i + 2);
        client_acks(fd, 2);
        large_take(&n, next, 1);
    }
    CHECK_EQ(next[0], 20);
    CHECK_EQ(stats_of(&n).bytes_held, 0);
    close(fd);
    CHECK_EQ(next_end(&n).queued, 20);
    CHECK_EQ(stats_of(&n).queue_dwell.count, 20);
    CHECK(stats_of(&n).drain_round.count > 0);
    she_ingress_reset_times(n.ingress);
    CHECK_EQ(stats_of(&n).queue_dwell.count, 0);
    CHECK_EQ(net_close(&n), 0);
}

/* A reader is woken for the rest of a sample, not only for a whole one: each sample is acknowledged
 * before the next one is sent. */
CASE(a_sample_in_pieces_is_not_waited_for_in_vain) {
    net n;
    uint64_t next[1] = {0}, chance = test_seed;
    static uint8_t bytes[LARGE_SAMPLE];
    large_open(&n, 1, 2);
    int fd = client_open(&n);
    for (uint64_t i = 0; i < 8; i++) {
        large_fill(bytes, 0, i);
        uint64_t cut = test_below(&chance, sizeof bytes);
        client_write(fd, bytes, cut);
        net_breathe();
        client_write(fd, bytes + cut, sizeof bytes - cut);
        client_acks(fd, 1);
        large_take(&n, next, 1);
    }
    close(fd);
    CHECK_EQ(next_end(&n).queued, 8);
    CHECK_EQ(net_close(&n), 0);
}

CASE(a_full_ring_takes_large_samples_into_the_queue) {
    net n;
    uint64_t next[1] = {0};
    large_open(&n, 1, 2);
    int fd = client_open(&n);
    large_send(fd, 0, 0, 6);
    client_acks(fd, 6);
    large_send(fd, 0, 6, 8);
    CHECK(client_silent(fd));
    for (int i = 0; i < 8; i++)
        large_take(&n, next, 1);
    client_acks(fd, 2);
    close(fd);
    CHECK_EQ(next_end(&n).queued, 8);
    CHECK_EQ(stats_of(&n).bytes_held, 0);
    CHECK_EQ(net_close(&n), 0);
}

CASE(a_large_sample_cut_short_is_dropped) {
    net n;
    static uint8_t bytes[LARGE_SAMPLE];
    large_open(&n, 1, 2);
    static const uint64_t cuts[] = {1, 47, 48, 48 + LARGE_ROW, LARGE_SAMPLE - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        int fd = client_open(&n);
        large_fill(bytes, 0, 0);
        client_write(fd, bytes, cuts[i]);
        close(fd);
        she_ingress_event end = next_end(&n);
        CHECK_EQ(end.kind, SHE_INGRESS_LOST);
        CHECK_EQ(end.fragment, cuts[i]);
        CHECK_EQ(end.queued, 0);
    }
    CHECK_EQ(stats_of(&n).bytes_held, 0);
    CHECK_EQ(net_close(&n), 0);
}

/* Each begins a sample and goes on later: what has begun holds memory only if its peer sends. */
CASE(beginnings_of_large_samples_do_not_exhaust_the_memory) {
    enum { CLIENTS = 12 };
    net n;
    int fds[CLIENTS];
    uint64_t next[CLIENTS] = {0};
    static uint8_t bytes[LARGE_SAMPLE];
    large_open(&n, 2, 2);
    n.config.ingress_bytes = 3 * LARGE_SAMPLE;
    net_again(&n);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_open(&n);
        large_fill(bytes, (uint64_t)i, 0);
        client_write(fds[i], bytes, 1);
    }
    UNTIL(stats_of(&n).connections == CLIENTS);
    CHECK_BETWEEN(0, stats_of(&n).bytes_held, 3 * LARGE_SAMPLE);
    for (int i = 0; i < CLIENTS; i++) {
        large_fill(bytes, (uint64_t)i, 0);
        client_write(fds[i], bytes + 1, sizeof bytes - 1);
        CHECK_BETWEEN(0, stats_of(&n).bytes_held, 3 * LARGE_SAMPLE + 24);
        if (i % 2)
            large_take(&n, next, CLIENTS);
    }
    for (int i = 0; i < CLIENTS; i++) {
        client_acks(fds[i], 1);
        close(fds[i]);
    }
    CHECK_EQ(net_close(&n), 0);
}

/* A sample that is larger than the bound of all queues together. */
CASE(one_sample_may_always_be_held) {
    net n;
    uint64_t next[1] = {0};
    large_open(&n, 1, 2);
    n.config.ingress_bytes = 1000;
    net_again(&n);
    int fd = client_open(&n);
    for (uint64_t i = 0; i < 6; i++) {
        large_send(fd, 0, i, i + 1);
        if (i >= 3) /* the ring and the queue are full */
            large_take(&n, next, 1);
        client_acks(fd, 1);
    }
    close(fd);
    while (next[0] < 6)
        large_take(&n, next, 1);
    CHECK_EQ(next_end(&n).queued, 6);
    CHECK_EQ(net_close(&n), 0);
}

CASE(large_samples_come_through_sockets_of_other_kinds_too) {
    net n;
    int pair[2];
    uint64_t id, next[1] = {0};
    large_open(&n, 1, 2);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    CHECK_EQ(she_ingress_adopt(n.ingress, pair[1], 0, 0, &id), 0);
    for (uint64_t i = 0; i < 4; i++) {
        large_send(pair[0], 0, i, i + 1);
        client_acks(pair[0], 1);
        large_take(&n, next, 1);
    }
    close(pair[0]);
    she_ingress_event end = next_end(&n);
    CHECK_EQ(end.id, id);
    CHECK_EQ(end.queued, 4);
    CHECK_EQ(end.peer_bytes, 0);
    CHECK_EQ(net_close(&n), 0);
}

/* Peers that stop inside of a sample hold memory, and stop nobody else. */
CASE(stopped_peers_do_not_stop_others) {
    enum { STOPPED = 4 };
    net n;
    uint64_t id, next[1] = {0};
    static uint8_t bytes[LARGE_SAMPLE];
    int stopped[STOPPED], pair[2];
    large_open(&n, 1, 2);
    n.config.ingress_bytes = 3 * LARGE_SAMPLE;
    net_again(&n);
    for (int i = 0; i < STOPPED; i++) { /* not by TCP: the kernel would keep what is not whole */
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        CHECK_EQ(she_ingress_adopt(n.ingress, pair[1], 0, 0, &id), 0);
        client_write(pair[0], bytes, 1000);
        stopped[i] = pair[0];
    }
    UNTIL(stats_of(&n).bytes_held > 2 * LARGE_SAMPLE);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    CHECK_EQ(she_ingress_adopt(n.ingress, pair[1], 0, 0, &id), 0);
    for (uint64_t i = 0; i < 3; i++) {
        large_send(pair[0], 0, i, i + 1);
        client_acks(pair[0], 1);
        large_take(&n, next, 1);
    }
    close(pair[0]);
    for (int i = 0; i < STOPPED; i++)
        close(stopped[i]);
    CHECK_EQ(net_close(&n), 0);
}
