/* Many connections in threads at full speed, for ThreadSanitizer: in pieces, cut, half closed,
 * kicked, with a ring that is mostly full; and a server that closes under load.
 * Options: rounds=, samples= (of a connection, at most). */
#include "net.h"

#include <pthread.h>

#define SENDERS 6
#define MAX_STREAMS 4096

typedef struct {
    net n;
    uint64_t rounds, most;
    she_atomic64 streams;            /* given out so far */
    she_atomic64 acked[MAX_STREAMS]; /* by stream: acknowledgements that its client has read */
    she_atomic32 over, kicks;        /* the server closes; kicks are allowed */
    uint64_t next[MAX_STREAMS];
} stage;

typedef struct {
    stage *stage;
    uint64_t chance;
} sender;

/* Read acknowledgements that are there. False at the end of the connection. */
static bool read_acks(stage *s, int fd, uint64_t stream, int flags) {
    uint8_t acks[512];
    ssize_t got = recv(fd, acks, sizeof acks, flags);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    for (ssize_t i = 0; i < got; i++)
        CHECK_EQ(acks[i], 1);
    she_add_relaxed(&s->acked[stream], (uint64_t)got); /* relaxed: read after the thread's end */
    return got > 0;
}

static void kick_somebody(stage *s, uint64_t *chance) {
    she_ingress_view views[SENDERS];
    uint64_t n = she_ingress_connections(s->n.ingress, views, SENDERS);
    if (n > SENDERS)
        n = SENDERS;
    if (n)
        (void)she_ingress_kick(s->n.ingress, views[test_below(chance, n)].id);
}

/* One connection, from its opening to its end. */
static void one_connection(stage *s, uint64_t *chance, uint64_t stream) {
    uint64_t total = test_below(chance, s->most), size = total * SMALL_PAYLOAD, sent = 0;
    uint8_t *bytes = malloc(size + 1), greeting[sizeof net_greeting];
    int fd = client_try(&s->n);
    if (fd < 0) { /* the server closes */
        free(bytes);
        return;
    }
    bool open = client_read(fd, greeting, sizeof greeting);
    for (uint64_t i = 0; i < total; i++)
        client_sample(s->n.r.ring, bytes + i * SMALL_PAYLOAD, stream, i);
    if (test_below(chance, 4) == 0) /* cut somewhere */
        size = test_below(chance, size + 1);
    while (open && sent < size) {
        uint64_t n = 1 + test_below(chance, 400);
        ssize_t got = send(fd, bytes + sent, n < size - sent ? n : size - sent, MSG_NOSIGNAL);
        if (got < 0)
            break;
        sent += (uint64_t)got;
        if (test_below(chance, 8) == 0)
            open = read_acks(s, fd, stream, MSG_DONTWAIT);
    }
    free(bytes);
    if (she_load32_relaxed(&s->kicks) && test_below(chance, 8) == 0) /* relaxed: never changes */
        kick_somebody(s, chance);
    if (open && test_below(chance, 2)) {
        shutdown(fd, SHUT_WR);
        while (read_acks(s, fd, stream, 0)) {
        }
    }
    close(fd);
}

static void *send_connections(void *argument) {
    sender *me = argument;
    stage *s = me->stage;
    for (uint64_t round = 0; round < s->rounds; round++) {
        if (she_load32_relaxed(&s->over)) /* relaxed: soon enough */
            break;
        uint64_t stream = she_add_relaxed(&s->streams, 1); /* relaxed: a number */
        CHECK(stream < MAX_STREAMS);
        one_connection(s, &me->chance, stream);
    }
    return NULL;
}

static bool take_what_is_there(stage *s) {
    uint64_t batch, samples;
    rig *r = &s->n.r;
    if (she_ready(r->consumer) != SHE_OK)
        return false;
    she_take(r->consumer, &batch, &samples);
    for (uint64_t i = 0; i < samples; i++) {
        uint64_t stream, number;
        sample_read(r->ring, batch * r->ring->batch_size + i, &stream, &number);
        CHECK(stream < MAX_STREAMS);
        CHECK_EQ(number, s->next[stream]);
        s->next[stream]++;
    }
    she_release(r->ring, batch);
    return true;
}

static stage *open_stage(uint64_t rounds) {
    stage *s = calloc(1, sizeof *s);
    CHECK(s);
    net_open_small(&s->n, 16, 3);
    s->n.config.num_drainers = 2;
    s->n.config.queue_samples = 8;
    net_again(&s->n);
    s->rounds = rounds;
    s->most = test_option("samples", 2000) / 8;
    return s;
}

static void start(stage *s, sender *senders, pthread_t *threads) {
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (sender){.stage = s, .chance = test_seed + (uint64_t)i};
        CHECK_EQ(pthread_create(&threads[i], NULL, send_connections, &senders[i]), 0);
    }
}

static void every_connection(bool kicks) {
    uint64_t rounds = 5 * test_option("rounds", 6), ended = 0, queued = 0;
    stage *s = open_stage(rounds);
    sender senders[SENDERS];
    pthread_t threads[SENDERS];
    she_store32_relaxed(&s->kicks, kicks); /* relaxed: before the threads */
    start(s, senders, threads);
    while (ended < SENDERS * rounds) {
        she_ingress_event event;
        if (!take_what_is_there(s))
            (void)she_ready_wait(s->n.r.consumer, 1000000);
        while (she_ingress_next_event(s->n.ingress, &event)) {
            ended += event.kind == SHE_INGRESS_ENDED || event.kind == SHE_INGRESS_LOST;
            queued += event.kind == SHE_INGRESS_OPENED ? 0 : event.queued;
        }
        (void)stats_of(&s->n);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    while (take_what_is_there(s)) {
    }
    (void)she_seal(s->n.r.consumer); /* the rest */
    while (take_what_is_there(s)) {
    }
    uint64_t got = 0;
    for (uint64_t stream = 0; stream < MAX_STREAMS; stream++) {
        got += s->next[stream];
        uint64_t acked = she_load_relaxed(&s->acked[stream]); /* relaxed: its thread has ended */
        if (acked > s->next[stream])
            FAIL("stream %" PRIu64 ": %" PRIu64 " acknowledged, %" PRIu64 " came", stream, acked,
                 s->next[stream]);
    }
    CHECK_EQ(queued, got);
    CHECK_EQ(stats_of(&s->n).bytes_held, 0);
    CHECK_EQ(net_close(&s->n), 0);
    free(s);
}

CASE(every_acknowledged_sample_arrives_once_and_in_order) { every_connection(false); }
CASE(kicks_lose_no_acknowledged_sample) { every_connection(true); }

/* Takes events until the last one. */
static void *take_events(void *argument) {
    net *n = argument;
    while (next_end(n).kind != SHE_INGRESS_CLOSED) {
    }
    return NULL;
}

CASE(a_server_may_close_under_load) {
    for (uint64_t round = 0; round < test_option("rounds", 6); round++) {
        stage *s = open_stage(UINT64_MAX);
        sender senders[SENDERS];
        pthread_t threads[SENDERS], events;
        CHECK_EQ(pthread_create(&events, NULL, take_events, &s->n), 0);
        uint64_t dropped, chance = test_seed + round, acked = 0;
        start(s, senders, threads);
        uint64_t batches = test_below(&chance, 40);
        for (uint64_t i = 0; i < batches;)
            if (take_what_is_there(s))
                i++;
            else
                (void)she_ready_wait(s->n.r.consumer, 1000000);
        if (round % 2)
            she_ring_close(s->n.r.ring);
        she_store32_relaxed(&s->over, 1); /* relaxed: soon enough */
        close(s->n.listener);
        she_ingress_close(s->n.ingress, &dropped);
        for (int i = 0; i < SENDERS; i++)
            pthread_join(threads[i], NULL);
        for (uint64_t stream = 0; stream < MAX_STREAMS; stream++)
            acked += she_load_relaxed(&s->acked[stream]); /* relaxed: the threads have ended */
        pthread_join(events, NULL);
        CHECK(acked <= stats_of(&s->n).inserted_total + dropped);
        she_ingress_free(s->n.ingress);
        rig_close(&s->n.r);
        free(s);
    }
}
