/* The queues of connections: what happens while the ring is full. */
#include "net.h"

CASE(a_connection_whose_queue_is_full_leaves_others_alone) {
    net n;
    net_open(&n, 2, 2);
    int greedy = client_open(&n), modest = client_open(&n);
    client_send(&n, greedy, 0, 0, 20);
    client_acks(greedy, 8);
    client_send(&n, modest, 1, 0, 2);
    client_acks(modest, 2); /* its own queue has room */
    she_ingress_view views[4];
    CHECK_EQ(she_ingress_connections(n.ingress, views, 4), 2);
    uint64_t in_queue = views[0].in_queue + views[1].in_queue;
    CHECK(in_queue >= 4 + 2);
    learner_take_until(&n, 22);
    client_acks(greedy, 12);
    CHECK_EQ(n.next[0], 20);
    CHECK_EQ(n.next[1], 2);
    close(greedy);
    close(modest);
    CHECK(next_end(&n).queued + next_end(&n).queued == 22);
    CHECK_EQ(stats_of(&n).bytes_held, 0);
    CHECK_EQ(net_close(&n), 0);
}

CASE(the_depths_are_those_of_the_queues) {
    net n;
    net_open(&n, 2, 2);
    int a = client_open(&n), b = client_open(&n);
    client_send(&n, a, 0, 0, 8);
    client_acks(a, 8);
    client_send(&n, b, 1, 0, 2);
    client_acks(b, 2);
    /* A drainer waits at one of the queues, and looks at all of them when it has room again. */
    UNTIL(stats_of(&n).queue_depth_sum > 0);
    she_ingress_stats stats = stats_of(&n);
    CHECK_BETWEEN(1, stats.queue_depth_max, 4);
    CHECK_BETWEEN(stats.queue_depth_max, stats.queue_depth_sum, 6);
    learner_take_until(&n, 10);
    UNTIL(stats_of(&n).queue_depth_sum == 0);
    CHECK_EQ(stats_of(&n).queue_depth_max, 0);
    CHECK_EQ(stats_of(&n).inserted_total, 10);
    close(a);
    close(b);
    CHECK_EQ(net_close(&n), 0);
}

CASE(all_queues_together_hold_no_more_than_their_bytes) {
    enum { CLIENTS = 8 };
    net n;
    int fds[CLIENTS];
    net_open(&n, 2, 2);
    n.config.queue_samples = 32; /* a block of all of them: 63 KB */
    n.config.ingress_bytes = 3 * 32 * NET_PAYLOAD;
    net_again(&n);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_open(&n);
        client_send(&n, fds[i], (uint64_t)i, 0, 4);
    }
    UNTIL(stats_of(&n).push_blocked_count > 0 || stats_of(&n).bytes_held >= n.config.ingress_bytes);
    /* The rest is in the sockets, or has overshot by what one read has brought. */
    CHECK_BETWEEN(1, stats_of(&n).bytes_held, CLIENTS * 32 * NET_PAYLOAD);
    learner_take(&n, CLIENTS * 4 / 2);
    for (int i = 0; i < CLIENTS; i++) {
        client_acks(fds[i], 4);
        CHECK_EQ(n.next[i], 4);
        close(fds[i]);
        (void)next_end(&n);
    }
    CHECK_EQ(stats_of(&n).bytes_held, 0);
    CHECK_EQ(net_close(&n), 0);
}

CASE(after_a_reset_the_queue_and_the_socket_are_emptied) {
    net n;
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 8);
    client_acks(fd, 8);
    client_send(&n, fd, 0, 8, 9); /* not read: the queue is full */
    UNTIL(stats_of(&n).push_blocked_count == 1);
    close(fd);
    CHECK_EQ(stats_of(&n).connections, 1);
    learner_take(&n, 4);
    she_ingress_event end = next_end(&n);
    CHECK_BETWEEN(8, end.queued, 9);
    CHECK_EQ(end.fragment, 0);
    CHECK_EQ(net_close(&n), 0);
}

CASE(half_a_connection_gets_its_acknowledgements_after_the_end_of_the_other_half) {
    net n;
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 12);
    shutdown(fd, SHUT_WR);
    client_acks(fd, 8);
    int short_one = client_open(&n); /* all of it is acknowledged: its end does not wait for room */
    client_send(&n, short_one, 1, 0, 2);
    shutdown(short_one, SHUT_WR);
    client_acks(short_one, 2);
    CHECK(client_at_end(short_one));
    close(short_one);
    learner_take(&n, 7);
    client_acks(fd, 4);
    CHECK(client_at_end(fd));
    CHECK_EQ(next_end(&n).queued + next_end(&n).queued, 14);
    close(fd);
    CHECK_EQ(net_close(&n), 0);
}

CASE(a_kick_ends_a_connection_after_its_samples) {
    net n;
    she_ingress_view view;
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 7);
    client_acks(fd, 7);
    client_write(fd, "half", 4);
    CHECK_EQ(she_ingress_connections(n.ingress, &view, 1), 1);
    CHECK(she_ingress_kick(n.ingress, view.id));
    CHECK_EQ(stats_of(&n).connections, 1);
    learner_take(&n, 2);
    she_ingress_event end = next_end(&n);
    CHECK_EQ(end.id, view.id);
    CHECK_EQ(end.error, ECANCELED);
    CHECK_EQ(end.queued, 7);
    CHECK(client_at_end(fd));
    CHECK(!she_ingress_kick(n.ingress, view.id));
    close(fd);
    /* The ring holds three samples, and one more makes the batch whole. */
    fd = client_open(&n);
    client_send(&n, fd, 0, 7, 8);
    learner_take(&n, 2);
    close(fd);
    CHECK_EQ(net_close(&n), 0);
}

CASE(closing_counts_what_was_acknowledged_and_is_dropped) {
    net n;
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 12);
    client_acks(fd, 8);
    CHECK_EQ(net_close(&n), 4); /* in the queue; the ring's own samples are the ring's */
    CHECK(client_at_end(fd));
    close(fd);
}

CASE(a_closed_ring_ends_connections_without_acknowledging) {
    net n;
    net_open(&n, 2, 2);
    int idle = client_open(&n), fd = client_open(&n);
    she_ring_close(n.r.ring);
    client_send(&n, fd, 0, 0, 1);
    CHECK(client_at_end(fd));
    she_ingress_event end = next_end(&n);
    CHECK_EQ(end.queued, 0);
    CHECK_EQ(end.error, ESHUTDOWN);
    CHECK_EQ(stats_of(&n).connections, 1);
    close(fd);
    close(idle);
    CHECK_EQ(net_close(&n), 0);
}

CASE(a_closed_ingress_finds_nothing_to_do) {
    net n;
    uint64_t dropped = 1, id = 0;
    she_ingress_event event;
    she_ingress_view view;
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    she_ingress_close(n.ingress, &dropped);
    CHECK_EQ(dropped, 0);
    she_ingress_close(n.ingress, &dropped);
    CHECK_EQ(dropped, 0);
    CHECK(client_at_end(fd));
    CHECK_EQ(she_ingress_listen(n.ingress, n.listener), ESHUTDOWN);
    CHECK_EQ(she_ingress_adopt(n.ingress, fd, 0, 0, &id), ESHUTDOWN);
    CHECK(!she_ingress_kick(n.ingress, 1));
    CHECK_EQ(she_ingress_connections(n.ingress, &view, 1), 0);
    CHECK(she_ingress_next_event(n.ingress, &event));
    CHECK_EQ(event.kind, SHE_INGRESS_OPENED);
    CHECK_EQ(next_end(&n).error, ESHUTDOWN);
    CHECK_EQ(next_end(&n).kind, SHE_INGRESS_CLOSED);
    CHECK(!she_ingress_next_event(n.ingress, &event));
    close(fd);
    CHECK_EQ(net_close(&n), 0);
}

/* A program of one thread that sends a little, takes a batch and sends again needs each of them. */
CASE(each_batch_that_is_taken_makes_room_for_acknowledgements) {
    net n;
    net_open(&n, 5, 3);
    n.config.queue_samples = 8;
    net_again(&n);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 60);
    client_acks(fd, 15 + 8);
    CHECK(client_silent(fd));
    for (int batch = 0; batch < 7; batch++) {
        learner_take(&n, 1);
        client_acks(fd, 5);
    }
    learner_take(&n, 1);
    client_acks(fd, 2); /* of 60 */
    CHECK(client_silent(fd));
    learner_take_until(&n, 60);
    client_leave(&n, fd, 60);
    CHECK_EQ(net_close(&n), 0);
}

CASE(closing_counts_those_of_connections_that_have_ended_too) {
    net n;
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    client_send(&n, fd, 0, 0, 8);
    client_acks(fd, 8);
    close(fd);
    CHECK_EQ(net_close(&n), 4);
}
