/* Large samples, which go from the socket straight into the rows of their slot. */
#include "net.h"

#define LARGE_ROW 70000u
static const uint64_t large_rows[RIG_LEAVES] = {48, LARGE_ROW, 30001};
#define LARGE_SAMPLE (48u + LARGE_ROW + 30001u)

static void large_open(net *n, uint64_t batch_size, uint64_t num_buffers) {
    net_open_rows(n, large_rows, batch_size, num_buffers, true);
}

CASE(large_samples_arrive_whole_and_in_order) {
    net n;
    large_open(&n, 2, 2);
    int fd = client_open(&n);
    for (uint64_t i = 0; i < 20; i += 2) {
        client_send(&n, fd, 0, i, i + 2);
        client_acks(fd, 2);
        learner_take(&n, 1);
    }
    CHECK_EQ(n.next[0], 20);
    CHECK_EQ(stats_of(&n).bytes_held, 0);
    client_leave(&n, fd, 20);
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
    uint64_t chance = test_seed;
    static uint8_t bytes[LARGE_SAMPLE];
    large_open(&n, 1, 2);
    int fd = client_open(&n);
    for (uint64_t i = 0; i < 8; i++) {
        client_sample(n.r.ring, bytes, 0, i);
        uint64_t cut = test_below(&chance, sizeof bytes);
        client_write(fd, bytes, cut);
        net_breathe();
        client_write(fd, bytes + cut, sizeof bytes - cut);
        client_acks(fd, 1);
        learner_take(&n, 1);
    }
    client_leave(&n, fd, 8);
    CHECK_EQ(net_close(&n), 0);
}

CASE(a_full_ring_takes_large_samples_into_the_queue) {
    net n;
    large_open(&n, 1, 2);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 6);
    client_acks(fd, 6);
    client_send(&n, fd, 0, 6, 8);
    CHECK(client_silent(fd));
    learner_take(&n, 8);
    client_acks(fd, 2);
    client_leave(&n, fd, 8);
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
        client_sample(n.r.ring, bytes, 0, 0);
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
    static uint8_t bytes[LARGE_SAMPLE];
    large_open(&n, 2, 2);
    n.config.ingress_bytes = 3 * LARGE_SAMPLE;
    net_again(&n);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_open(&n);
        client_sample(n.r.ring, bytes, (uint64_t)i, 0);
        client_write(fds[i], bytes, 1);
    }
    UNTIL(stats_of(&n).connections == CLIENTS);
    CHECK_BETWEEN(0, stats_of(&n).bytes_held, 3 * LARGE_SAMPLE);
    for (int i = 0; i < CLIENTS; i++) {
        client_sample(n.r.ring, bytes, (uint64_t)i, 0);
        client_write(fds[i], bytes + 1, sizeof bytes - 1);
        CHECK_BETWEEN(0, stats_of(&n).bytes_held, 3 * LARGE_SAMPLE + 24);
        if (i % 2)
            learner_take(&n, 1);
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
    large_open(&n, 1, 2);
    n.config.ingress_bytes = 1000;
    net_again(&n);
    int fd = client_open(&n);
    for (uint64_t i = 0; i < 6; i++) {
        client_send(&n, fd, 0, i, i + 1);
        if (i >= 3) /* the ring and the queue are full */
            learner_take(&n, 1);
        client_acks(fd, 1);
    }
    close(fd);
    learner_take_until(&n, 6);
    CHECK_EQ(next_end(&n).queued, 6);
    CHECK_EQ(net_close(&n), 0);
}

CASE(large_samples_come_through_sockets_of_other_kinds_too) {
    net n;
    uint64_t id;
    large_open(&n, 1, 2);
    int fd = client_adopted(&n, 0, 0, &id);
    for (uint64_t i = 0; i < 4; i++) {
        client_send(&n, fd, 0, i, i + 1);
        client_acks(fd, 1);
        learner_take(&n, 1);
    }
    close(fd);
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
    uint64_t id;
    static uint8_t bytes[LARGE_SAMPLE];
    int stopped[STOPPED];
    large_open(&n, 1, 2);
    n.config.ingress_bytes = 3 * LARGE_SAMPLE;
    net_again(&n);
    for (int i = 0; i < STOPPED; i++) { /* not by TCP: the kernel would keep what is not whole */
        stopped[i] = client_adopted(&n, 0, 0, &id);
        client_write(stopped[i], bytes, 1000);
    }
    UNTIL(stats_of(&n).bytes_held > 2 * LARGE_SAMPLE);
    int fd = client_adopted(&n, 0, 0, &id);
    for (uint64_t i = 0; i < 3; i++) {
        client_send(&n, fd, 0, i, i + 1);
        client_acks(fd, 1);
        learner_take(&n, 1);
    }
    close(fd);
    for (int i = 0; i < STOPPED; i++)
        close(stopped[i]);
    CHECK_EQ(net_close(&n), 0);
}
