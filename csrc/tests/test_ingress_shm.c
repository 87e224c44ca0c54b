/* The ingress with counts as acknowledgements, and connections that continue a session. */
#include "net.h"

static void open_counting(net *n, uint64_t batch_size, uint64_t num_buffers) {
    net_open_small(n, batch_size, num_buffers);
    n->config.wire = SHE_WIRE_SHM;
    net_again(n);
}

/* Read counts until one of them is at least `count`; they never go back, and never beyond it. */
static void counts_until(int fd, uint64_t count) {
    for (uint64_t seen = 0, last = 0; seen < count; last = seen) {
        uint8_t bytes[8];
        CHECK(client_read(fd, bytes, sizeof bytes));
        seen = 0;
        for (int i = 0; i < 8; i++)
            seen |= (uint64_t)bytes[i] << 8 * i;
        CHECK_BETWEEN(last, seen, count);
    }
}

CASE(counts_say_how_many_samples_are_queued) {
    net n;
    uint64_t id;
    open_counting(&n, 2, 2);
    int fd = client_adopted(&n, 0, 0, &id);
    client_send(&n, fd, 0, 0, 12);
    counts_until(fd, 8);
    CHECK(client_silent(fd));
    learner_take(&n, 6);
    counts_until(fd, 12);
    client_leave(&n, fd, 12);
    CHECK_EQ(net_close(&n), 0);
}

CASE(a_session_goes_on_counting_with_its_next_connection) {
    net n;
    uint64_t id, second;
    open_counting(&n, 2, 2);
    int fd = client_adopted(&n, 0, 0, &id);
    client_send(&n, fd, 0, 0, 3);
    counts_until(fd, 3);
    CHECK(she_ingress_kick(n.ingress, id));
    she_ingress_event end = next_end(&n);
    CHECK_EQ(end.id, id);
    CHECK_EQ(end.queued, 3);
    close(fd);
    fd = client_adopted(&n, end.queued, end.last_position, &second);
    CHECK(second != id);
    CHECK_EQ(she_ingress_taken(n.ingress, second, 3), 0);
    client_send(&n, fd, 0, 3, 4);
    counts_until(fd, 4);
    learner_take(&n, 2);
    CHECK_EQ(she_ingress_taken(n.ingress, second, 4), 1);
    CHECK_EQ(stats_of(&n).inserted_total, 4);
    client_leave(&n, fd, 4);
    CHECK_EQ(net_close(&n), 0);
}

CASE(a_count_that_the_socket_took_in_pieces_goes_on_where_it_stopped) {
    net n;
    uint64_t id, number = 0;
    open_counting(&n, 4, 4);
    int fd = client_adopted(&n, 0, 0, &id);
    /* Counts fill the socket while nobody reads them. */
    for (int round = 0; round < 20000; round++) {
        client_send(&n, fd, 0, number, number + 1);
        number++;
        if (number % 4 == 0)
            learner_take(&n, 1);
    }
    counts_until(fd, number);
    client_leave(&n, fd, number);
    CHECK_EQ(net_close(&n), 0);
}

CASE(what_the_learner_has_taken_is_known_by_number) {
    net n;
    uint64_t id;
    open_counting(&n, 2, 4);
    int fd = client_adopted(&n, 0, 0, &id);
    CHECK_EQ(she_ingress_taken(n.ingress, id, 0), 1);
    CHECK_EQ(she_ingress_taken(n.ingress, id + 1, 0), -1);
    client_send(&n, fd, 0, 0, 4);
    counts_until(fd, 4);
    CHECK_EQ(she_ingress_taken(n.ingress, id, 2), 0);
    uint32_t ticket = she_ingress_taken_ticket(n.ingress);
    she_ingress_taken_wait(n.ingress, ticket, 1000);
    learner_take(&n, 1);
    she_ingress_taken_wait(n.ingress, ticket, INT64_C(3600) * 1000000000);
    learner_take(&n, 1);
    CHECK_EQ(she_ingress_taken(n.ingress, id, 4), 1);
    CHECK_EQ(she_ingress_taken(n.ingress, id, 5), 0);
    /* The connection goes on sending, and the answer for an earlier sample comes even so. */
    client_send(&n, fd, 0, 4, 6);
    counts_until(fd, 6);
    CHECK_EQ(she_ingress_taken(n.ingress, id, 6), 0);
    client_send(&n, fd, 0, 6, 8);
    counts_until(fd, 8);
    learner_take(&n, 1);
    CHECK_EQ(she_ingress_taken(n.ingress, id, 6), 1);
    CHECK_EQ(she_ingress_taken(n.ingress, id, 8), 0);
    learner_take(&n, 1);
    CHECK_EQ(she_ingress_taken(n.ingress, id, 8), 1);
    close(fd);
    she_ingress_event end = next_end(&n);
    CHECK_EQ(she_ingress_taken(n.ingress, id, 8), -1);
    CHECK(she_ingress_position_taken(n.ingress, end.last_position));
    CHECK(!she_ingress_position_taken(n.ingress, end.last_position + 1));
    CHECK_EQ(net_close(&n), 0);
}
