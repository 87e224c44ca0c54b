/* The ingress with echo's wire: greeting, samples, acknowledgements, ends. */
#include "net.h"

CASE(a_connection_is_greeted_and_its_samples_arrive_and_are_acknowledged) {
    net n;
    uint64_t next[1] = {0};
    net_open(&n, 4, 4);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 8);
    client_acks(fd, 8);
    learner_take(&n, next, 1);
    learner_take(&n, next, 1);
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
    uint64_t next[1] = {0};
    uint8_t bytes[2 * NET_PAYLOAD];
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    client_sample(n.r.ring, bytes, 0, 0);
    client_sample(n.r.ring, bytes + NET_PAYLOAD, 0, 1);
    for (uint64_t i = 0; i < sizeof bytes; i++)
        client_write(fd, &bytes[i], 1);
    client_acks(fd, 2);
    learner_take(&n, next, 1);
    close(fd);
    CHECK_EQ(next_end(&n).queued, 2);
    CHECK_EQ(net_close(&n), 0);
}

CASE(a_full_ring_fills_the_queue_and_then_nothing_more_is_acknowledged) {
    net n;
    uint64_t next[1] = {0};
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 12);
    client_acks(fd, 4 + 4); /* the ring, and the queue */
    CHECK(client_silent(fd));
    UNTIL(stats_of(&n).push_blocked_count == 1);
    for (int i = 0; i < 6; i++)
        learner_take(&n, next, 1);
    client_acks(fd, 4);
    CHECK_EQ(next[0], 12);
    CHECK(client_silent(fd));
    close(fd);
    CHECK_EQ(next_end(&n).queued, 12);
    CHECK_EQ(stats_of(&n).bytes_held, 0);
    CHECK_EQ(net_close(&n), 0);
}

CASE(what_was_acknowledged_arrives_after_its_connections_end_too) {
    net n;
    uint64_t next[1] = {0};
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 8);
    client_acks(fd, 8);
    shutdown(fd, SHUT_RDWR);
    close(fd);
    for (int i = 0; i < 4; i++)
        learner_take(&n, next, 1);
    CHECK_EQ(next[0], 8);
    she_ingress_event end = next_end(&n);
    CHECK_EQ(end.kind, SHE_INGRESS_ENDED);
    CHECK_EQ(end.queued, 8);
    CHECK_EQ(net_close(&n), 0);
}
