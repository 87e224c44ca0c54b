/* The ingress with echo's wire: greeting, samples, acknowledgements, ends. */
#include "net.h"

CASE(a_connection_is_greeted_and_its_samples_arrive_and_are_acknowledged) {
    net n;
    net_open(&n, 4, 4);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 8);
    client_acks(fd, 8);
    learner_take(&n, 2);
    CHECK(client_silent(fd)); /* not one too many */
    close(fd);
    she_ingress_event end = next_end(&n);
    CHECK_EQ(end.kind, SHE_INGRESS_ENDED);
    CHECK_EQ(end.queued, 8);
    CHECK_EQ(end.error, 0);
    CHECK_EQ(end.last_position, 8);
    CHECK(end.peer_bytes >= sizeof(struct sockaddr_in) && end.peer.ss_family == AF_INET);
    CHECK_EQ(stats_of(&n).connections, 0);
    CHECK_EQ(stats_of(&n).inserted_total, 8);
    CHECK_EQ(net_close(&n), 0);
}

CASE(samples_arrive_whole_byte_by_byte) {
    net n;
    uint8_t bytes[2 * NET_PAYLOAD];
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    client_sample(n.r.ring, bytes, 0, 0);
    client_sample(n.r.ring, bytes + NET_PAYLOAD, 0, 1);
    for (uint64_t i = 0; i < sizeof bytes; i++)
        client_write(fd, &bytes[i], 1);
    client_acks(fd, 2);
    learner_take(&n, 1);
    client_leave(&n, fd, 2);
    CHECK_EQ(net_close(&n), 0);
}

CASE(a_full_ring_fills_the_queue_and_then_nothing_more_is_acknowledged) {
    net n;
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 12);
    client_acks(fd, 4 + 4); /* the ring, and the queue */
    CHECK(client_silent(fd));
    UNTIL(stats_of(&n).push_blocked_count == 1);
    learner_take(&n, 6);
    client_acks(fd, 4);
    CHECK_EQ(n.next[0], 12);
    CHECK(client_silent(fd));
    client_leave(&n, fd, 12);
    CHECK_EQ(stats_of(&n).bytes_held, 0);
    CHECK_EQ(net_close(&n), 0);
}

CASE(what_was_acknowledged_arrives_after_its_connections_end_too) {
    net n;
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 8);
    client_acks(fd, 8);
    shutdown(fd, SHUT_RDWR);
    close(fd);
    learner_take(&n, 4);
    CHECK_EQ(n.next[0], 8);
    she_ingress_event end = next_end(&n);
    CHECK_EQ(end.kind, SHE_INGRESS_ENDED);
    CHECK_EQ(end.queued, 8);
    CHECK_EQ(net_close(&n), 0);
}

CASE(bytes_in_random_chunks_are_the_same_samples) {
    net n;
    uint64_t chance = test_seed, total = 400;
    net_open_small(&n, 10, 4);
    int fd = client_open(&n);
    uint8_t *bytes = malloc(total * SMALL_PAYLOAD);
    for (uint64_t i = 0; i < total; i++)
        client_sample(n.r.ring, bytes + i * SMALL_PAYLOAD, 0, i);
    uint64_t sent = 0;
    for (uint64_t batch = 0; batch < total / 10; batch++) {
        while (sent < (batch + 4) * 10 * SMALL_PAYLOAD && sent < total * SMALL_PAYLOAD) {
            uint64_t left = total * SMALL_PAYLOAD - sent, n_now = 1 + test_below(&chance, 200);
            client_write(fd, bytes + sent, n_now < left ? n_now : left);
            sent += n_now < left ? n_now : left;
        }
        learner_take(&n, 1);
    }
    client_acks(fd, total);
    CHECK_EQ(n.next[0], total);
    free(bytes);
    client_leave(&n, fd, total);
    CHECK_EQ(net_close(&n), 0);
}

CASE(a_connection_may_be_cut_at_every_byte) {
    net n;
    uint8_t bytes[3 * SMALL_PAYLOAD];
    net_open_small(&n, 2, 2);
    for (uint64_t cut = 0; cut <= sizeof bytes; cut++) {
        uint64_t whole = cut / SMALL_PAYLOAD;
        n.next[0] = 0;
        for (uint64_t i = 0; i < 3; i++)
            client_sample(n.r.ring, bytes + i * SMALL_PAYLOAD, 0, i);
        int fd = client_open(&n);
        client_write(fd, bytes, cut);
        shutdown(fd, SHUT_WR);
        client_acks(fd, whole);
        CHECK(client_at_end(fd));
        close(fd);
        she_ingress_event end = next_end(&n);
        CHECK_EQ(end.kind, cut % SMALL_PAYLOAD ? SHE_INGRESS_LOST : SHE_INGRESS_ENDED);
        CHECK_EQ(end.fragment, cut % SMALL_PAYLOAD);
        CHECK_EQ(end.queued, whole);
        CHECK_EQ(end.error, 0);
        if (whole % 2) { /* make the batch whole */
            client_sample(n.r.ring, bytes, 0, whole);
            fd = client_open(&n);
            client_write(fd, bytes, SMALL_PAYLOAD);
            client_acks(fd, 1);
            client_leave(&n, fd, 1);
        }
        learner_take(&n, (whole + 1) / 2);
    }
    CHECK_EQ(stats_of(&n).bytes_held, 0);
    CHECK_EQ(net_close(&n), 0);
}

CASE(a_reset_is_a_loss_and_costs_no_whole_sample) {
    net n;
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 2);
    client_write(fd, "half", 4);
    client_acks(fd, 2);
    CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
    close(fd);
    she_ingress_event end = next_end(&n);
    CHECK_EQ(end.kind, SHE_INGRESS_LOST);
    CHECK_EQ(end.error, ECONNRESET);
    CHECK_EQ(end.queued, 2);
    CHECK_BETWEEN(0, end.fragment, 4);
    learner_take(&n, 1);
    CHECK_EQ(net_close(&n), 0);
}

CASE(leaves_may_have_another_order_in_the_stream) {
    static const uint32_t order[RIG_LEAVES] = {2, 0, 1};
    net n;
    net_open_small(&n, 1, 2);
    n.config.leaf_order = order;
    net_again(&n);
    int fd = client_open(&n);
    uint8_t bytes[SMALL_PAYLOAD], turned[SMALL_PAYLOAD];
    client_sample(n.r.ring, bytes, 0, 0);
    memcpy(turned, bytes + 24 + 7, 9);
    memcpy(turned + 9, bytes, 24 + 7);
    client_write(fd, turned, sizeof turned);
    client_acks(fd, 1);
    learner_take(&n, 1);
    close(fd);
    CHECK_EQ(net_close(&n), 0);
}

CASE(many_connections_arrive_each_in_order) {
    enum { CLIENTS = 60, EACH = 20 };
    net n;
    int fds[CLIENTS];
    net_open_small(&n, 6, 4);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = client_open(&n);
    UNTIL(stats_of(&n).connections == CLIENTS);
    for (uint64_t number = 0; number < EACH; number++) {
        for (int i = 0; i < CLIENTS; i++)
            client_send(&n, fds[i], (uint64_t)i, number, number + 1);
        while (n.taken + 24 < (number + 1) * CLIENTS)
            learner_take(&n, 1);
    }
    learner_take_until(&n, EACH * CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        client_acks(fds[i], EACH);
        CHECK_EQ(n.next[i], EACH);
        close(fds[i]);
    }
    for (int i = 0; i < CLIENTS; i++)
        CHECK_EQ(next_end(&n).queued, EACH);
    CHECK_EQ(net_close(&n), 0);
}

CASE(a_configuration_without_sense_is_refused) {
    net n;
    she_ingress *g = NULL;
    static const uint32_t twice[RIG_LEAVES] = {0, 1, 1}, beyond[RIG_LEAVES] = {0, 1, 3};
    static const uint64_t nothing[RIG_LEAVES] = {0, 0, 0};
    net_open(&n, 2, 2);
    for (int wrong = 0; wrong < 6; wrong++) {
        she_ingress_config c = n.config;
        c.num_readers = wrong == 0 ? 0 : c.num_readers;
        c.num_drainers = wrong == 1 ? 0 : c.num_drainers;
        c.queue_samples = wrong == 2 ? 0 : c.queue_samples;
        c.wire = wrong == 3 ? 3 : c.wire;
        c.leaf_order = wrong == 4 ? twice : wrong == 5 ? beyond : NULL;
        CHECK_EQ(she_ingress_open(n.r.ring, &c, &g), SHE_E_CONFIG);
    }
    CHECK_EQ(net_close(&n), 0);
    rig r;
    rig_open_rows(&r, nothing, 2, 2, false);
    CHECK_EQ(she_ingress_open(r.ring, &n.config, &g), SHE_E_CONFIG);
    CHECK(g == NULL);
    rig_close(&r);
}
