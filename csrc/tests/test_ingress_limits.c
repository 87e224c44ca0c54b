/* Exhaustion: descriptors, time limits, peers that read nothing, processes that fork. */
#include "net.h"
#include "processes.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

/* Every allocation of the core is counted: the Makefile links this program with --wrap. */
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
static she_atomic64 allocations;

void *__wrap_malloc(size_t bytes) {
    she_add_relaxed(&allocations, 1); /* relaxed: a figure */
    return __real_malloc(bytes);
}
void *__wrap_calloc(size_t n, size_t bytes) {
    she_add_relaxed(&allocations, 1); /* relaxed: a figure */
    return __real_calloc(n, bytes);
}

/* Fill the ring and the queue, with a fragment behind them, and empty them again. */
static void fill_and_empty(net *n, int fd, uint64_t *number) {
    uint8_t bytes[NET_PAYLOAD];
    client_send(n, fd, 0, *number, *number + 8);
    client_acks(fd, 8);
    client_sample(n->r.ring, bytes, 0, *number + 8);
    client_write(fd, bytes, 10);
    client_write(fd, bytes + 10, n->payload - 10);
    *number += 9;
    UNTIL(stats_of(n).push_blocked_count > 0);
    learner_take(n, 4);
    client_acks(fd, 1);
    client_send(n, fd, 0, *number, *number + 1);
    *number += 1;
    client_acks(fd, 1);
    learner_take(n, 1);
}

CASE(after_a_warm_up_nothing_is_allocated) {
    net n;
    uint64_t number = 0;
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    for (int round = 0; round < 5; round++)
        fill_and_empty(&n, fd, &number);
    uint64_t before = she_load_relaxed(&allocations);
    CHECK(before > 0);
    for (int round = 0; round < 50; round++)
        fill_and_empty(&n, fd, &number);
    /* 500 samples; now and then one block more is in use than ever before. */
    CHECK_BETWEEN(before, she_load_relaxed(&allocations), before + 4);
    close(fd);
    CHECK_EQ(net_close(&n), 0);
}

/* Send samples in writes of 64, and take them, without reading acknowledgements. */
static void send_unheard(net *n, int fd, uint64_t from, uint64_t to) {
    static uint8_t bytes[64 * SMALL_PAYLOAD];
    for (; from < to; from += 64) {
        for (uint64_t i = 0; i < 64; i++)
            client_sample(n->r.ring, bytes + i * SMALL_PAYLOAD, 0, from + i);
        client_write(fd, bytes, sizeof bytes);
        learner_take(n, 1);
    }
}

/* The socket takes 1 MB of acknowledgements or so; the rest is a number. */
CASE(a_client_that_reads_no_acknowledgement_costs_a_number) {
    net n;
    uint64_t total = test_option("unread", 200000);
    net_open_small(&n, 64, 8);
    int fd = client_open(&n);
    send_unheard(&n, fd, 0, 6400);
    uint64_t before = she_load_relaxed(&allocations);
    send_unheard(&n, fd, 6400, total);
    /* At most a block for a queue and one for a fragment, if none was needed before. */
    CHECK_BETWEEN(before, she_load_relaxed(&allocations), before + 2);
    UNTIL(stats_of(&n).inserted_total == n.taken);
    shutdown(fd, SHUT_WR);
    client_acks(fd, n.taken); /* it may still change its mind */
    CHECK(client_at_end(fd));
    close(fd);
    CHECK_EQ(net_close(&n), 0);
}

/* Its stream has ended, and it waits for acknowledgements that it does not read. */
CASE(a_kick_ends_half_a_connection_that_reads_nothing) {
    net n;
    int pair[2], least = 1;
    uint64_t id;
    net_open_small(&n, 64, 8);
    n.config.num_readers = 1;
    net_again(&n);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    CHECK_EQ(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &least, sizeof least), 0);
    CHECK_EQ(she_ingress_adopt(n.ingress, pair[1], 0, 0, &id), 0);
    send_unheard(&n, pair[0], 0, 64 * 64);
    int later = client_open(&n);
    shutdown(pair[0], SHUT_WR);
    client_send(&n, later, 1, 0, 1); /* a reader takes events in their order: it has read the end */
    client_acks(later, 1);
    CHECK(she_ingress_kick(n.ingress, id));
    CHECK_EQ(next_end(&n).error, ECANCELED);
    close(pair[0]);
    close(later);
    CHECK_EQ(net_close(&n), 0);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static void take_descriptors(int *fds, int count) {
    for (int i = 0; i < count; i++) {
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CHECK(fds[i] >= 0);
    }
}

static void limit_descriptors(int most) {
    struct rlimit limit = {.rlim_cur = (rlim_t)most, .rlim_max = (rlim_t)most};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void connections_take_descriptors(void *argument) {
    net n;
    int fds[12];
    uint8_t greeting[sizeof net_greeting];
    (void)argument;
    net_open(&n, 2, 2);
    limit_descriptors(256);
    while (client_read(client_dial(&n), greeting, sizeof greeting)) {
    }
    she_ingress_event event = next_end(&n);
    CHECK_EQ(event.kind, SHE_INGRESS_REFUSED);
    CHECK_EQ(event.error, EMFILE);
    take_descriptors(fds, 12); /* of 16, whose first ones the last client may have */
    _exit(0);
}

CASE(connections_leave_descriptors_to_the_program) {
    child_finish(child_start(connections_take_descriptors, NULL));
}

static void descriptors_run_out(void *argument) {
    net n;
    (void)argument;
    net_open(&n, 2, 2);
    int fd = client_open(&n); /* one connection is there before */
    int low[8];
    take_descriptors(low, 8);
    int refused = socket(AF_INET, SOCK_STREAM, 0), later = socket(AF_INET, SOCK_STREAM, 0);
    int last = open("/dev/null", O_RDONLY);
    close(last);
    limit_descriptors(last);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)n.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK_EQ(connect(refused, (struct sockaddr *)&address, sizeof address), 0);
    CHECK(client_at_end(refused));
    she_ingress_event event = next_end(&n);
    CHECK_EQ(event.kind, SHE_INGRESS_REFUSED);
    CHECK_EQ(event.error, EMFILE);
    client_send(&n, fd, 0, 0, 2); /* others go on */
    client_acks(fd, 2);
    /* Descriptors become free, and the listener accepts again by itself. */
    close(refused);
    for (int i = 0; i < 8; i++)
        close(low[i]);
    CHECK_EQ(connect(later, (struct sockaddr *)&address, sizeof address), 0);
    uint8_t greeting[sizeof net_greeting];
    CHECK(client_read(later, greeting, sizeof greeting));
    close(later);
    close(fd);
    _exit(0);
}

CASE(without_descriptors_a_connection_is_refused_and_others_go_on) {
    child_finish(child_start(descriptors_run_out, NULL));
}

/* ---- forks ----------------------------------------------------------------------------------- */

typedef struct {
    net n;
    int fd, told[2];
} forking;

static void child_of_a_server(void *argument) {
    forking *f = argument;
    uint64_t dropped;
    char byte = 1;
    close(f->fd); /* the client's end */
    close(f->n.listener);
    she_ingress_after_fork(f->n.ingress);
    she_ingress_close(f->n.ingress, &dropped);
    she_ingress_free(f->n.ingress);
    CHECK_EQ(write(f->told[1], &byte, 1), 1);
    for (;;)
        pause();
}

CASE(a_forked_child_keeps_no_connection_open) {
    forking f;
    char byte;
    net_open(&f.n, 2, 2);
    f.fd = client_open(&f.n);
    CHECK_EQ(pipe(f.told), 0);
    pid_t child = child_start(child_of_a_server, &f);
    CHECK_EQ(read(f.told[0], &byte, 1), 1);
    client_send(&f.n, f.fd, 0, 0, 1); /* the parent goes on */
    client_acks(f.fd, 1);
    CHECK_EQ(net_close(&f.n), 0);
    CHECK(client_at_end(f.fd)); /* though the child is alive */
    CHECK(client_try(&f.n) < 0);
    child_kill(child);
    close(f.fd);
    close(f.told[0]);
    close(f.told[1]);
}

static void child_that_is_late(void *argument) {
    close(*(int *)argument); /* the client's end */
    for (;;)
        pause(); /* it has copies of the ingress' descriptors, and does not close them */
}

CASE(a_connection_that_ended_is_forgotten_though_a_child_has_its_socket) {
    net n;
    she_ingress_view view;
    net_open(&n, 2, 2);
    int fd = client_open(&n);
    CHECK_EQ(she_ingress_connections(n.ingress, &view, 1), 1);
    pid_t child = child_start(child_that_is_late, &fd);
    CHECK(she_ingress_kick(n.ingress, view.id));
    CHECK_EQ(next_end(&n).id, view.id);
    CHECK(client_at_end(fd)); /* though the child is alive */
    close(fd);                /* an event of a socket that only the child has */
    int other = client_open(&n);
    client_send(&n, other, 0, 0, 2);
    client_acks(other, 2);
    client_leave(&n, other, 2);
    child_kill(child);
    CHECK_EQ(net_close(&n), 0);
}

/* ---- silent peers ---------------------------------------------------------------------------- */

#define TIMEOUT_MS 100

/* The window of a peer that reads nothing is closed. It answers the probes: it is alive. */
CASE(a_live_peer_outlasts_the_time_out) {
    net n;
    net_open_small(&n, 64, 8);
    n.config.user_timeout_ms = TIMEOUT_MS;
    net_again(&n);
    int fd = client_open(&n);
    send_unheard(&n, fd, 0, test_option("unread", 200000));
    struct timespec longer = {.tv_nsec = 8 * TIMEOUT_MS * 1000000};
    nanosleep(&longer, NULL); /* that nothing happens has no event */
    CHECK_EQ(stats_of(&n).connections, 1);
    close(fd);
    (void)next_end(&n);
    CHECK_EQ(net_close(&n), 0);
}

/* A network of this process alone, whose one interface goes up and down. False: not permitted. */
static bool own_network(void) { return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0; }

static void loopback(bool up) {
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(ioctl(fd, SIOCGIFFLAGS, &request), 0);
    request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
    CHECK_EQ(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    close(fd);
}

#define NO_NETWORK 3

static void open_in_own_network(net *n, const uint8_t *greeting, uint64_t greeting_bytes) {
    if (!own_network())
        _exit(NO_NETWORK);
    loopback(true);
    net_open_small(n, 64, 8);
    n->config.user_timeout_ms = TIMEOUT_MS;
    n->config.keepalive_idle_s = n->config.keepalive_interval_s = n->config.keepalive_count = 1;
    n->config.greeting = greeting;
    n->config.greeting_bytes = greeting_bytes;
    net_again(n);
}

static void in_own_network(void (*body)(void *)) {
    int status = child_wait(child_start(body, NULL), 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_NETWORK)
        printf(" (not tried: no network of its own is permitted)");
    else
        CHECK_EQ(status, 0);
}

static void peers_vanish(void *argument) {
    net n;
    (void)argument;
    open_in_own_network(&n, net_greeting, sizeof net_greeting);
    int idle = client_open(&n), waiting = client_open(&n);
    she_ingress_view views[2];
    CHECK_EQ(she_ingress_connections(n.ingress, views, 2), 2);
    send_unheard(&n, waiting, 0, 200000); /* acknowledgements are on their way for good */
    loopback(false);
    /* The one is found by what is not answered, the other by keep-alive. */
    for (int i = 0; i < 2; i++) {
        she_ingress_event end = next_end(&n);
        CHECK_EQ(end.kind, SHE_INGRESS_LOST);
        CHECK_EQ(end.error, ETIMEDOUT);
    }
    CHECK_EQ(stats_of(&n).connections, 0);
    close(idle);
    close(waiting);
    _exit(0);
}

CASE(a_peer_that_vanishes_is_lost) { in_own_network(peers_vanish); }

/* Its stream has ended and is read, and the rest of the answer waits for room in the socket. */
static void half_a_peer_vanishes(void *argument) {
    static uint8_t more_than_a_socket_takes[16 << 20];
    net n;
    (void)argument;
    open_in_own_network(&n, more_than_a_socket_takes, sizeof more_than_a_socket_takes);
    int half = client_dial(&n);
    shutdown(half, SHUT_WR);
    loopback(false);
    she_ingress_event end = next_end(&n);
    CHECK_EQ(end.kind, SHE_INGRESS_LOST);
    CHECK_EQ(end.error, ETIMEDOUT);
    close(half);
    _exit(0);
}
CASE(a_peer_that_vanishes_after_the_end_of_its_stream_is_lost) {
    in_own_network(half_a_peer_vanishes);
}
