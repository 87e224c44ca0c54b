/* One writer that publishes at full speed, and readers that copy as fast as they can: no copy is
 * torn, no version goes back, no wake is lost. Threads for ThreadSanitizer, and processes that are
 * killed while they read. Options: versions=, kills=. */
#include "processes.h"

#include <pthread.h>

#include "rig.h"
#include "shm_echo/broadcast.h"

#define FOREVER (INT64_C(3600) * 1000000000)
#define PAYLOAD UINT64_C(16000) /* long enough for a reader to be overtaken during its copy */
#define READERS 3

static const uint8_t digest[32] = {4, 2};

typedef struct {
    she_bcast *bcast;
    uint64_t bytes, last; /* the version after which the readers may stop */
} cast;

static void cast_open(cast *c, uint64_t last) {
    c->bytes = she_bcast_bytes(PAYLOAD);
    c->last = last;
    CHECK_EQ(she_bcast_create(rig_memory(c->bytes), c->bytes, PAYLOAD, digest, &c->bcast), SHE_OK);
}
static void cast_close(cast *c) {
    munmap(c->bcast->header, c->bytes);
    she_bcast_free(c->bcast);
}

/* Every byte follows from the version, so that a mixture of two versions shows. */
static void fill(uint8_t *to, uint64_t version) {
    uint64_t state = version;
    for (uint64_t i = 0; i < PAYLOAD; i += 8) {
        uint64_t word = test_random(&state);
        memcpy(to + i, &word, 8);
    }
}

static void publish(cast *c) {
    uint8_t bytes[PAYLOAD];
    uint64_t version = she_bcast_begin(c->bcast);
    fill(bytes, version);
    she_bcast_write(c->bcast, version, 504, bytes + 504, PAYLOAD - 504);
    she_bcast_write(c->bcast, version, 0, bytes, 504);
    she_bcast_end(c->bcast, version);
}

static void follow(cast *c, bool patient) {
    uint8_t got[PAYLOAD], want[PAYLOAD];
    uint64_t seen = 0;
    while (seen < c->last) {
        int overtaken;
        if (patient)
            while (she_bcast_latest(c->bcast) <= seen)
                CHECK(she_bcast_wait(c->bcast, seen + 1, FOREVER) != SHE_TIMEOUT);
        uint64_t version = she_bcast_read(c->bcast, got, PAYLOAD, &overtaken);
        if (version == 0) {
            CHECK(overtaken || seen == 0);
            continue;
        }
        CHECK(version >= seen);
        fill(want, version);
        if (memcmp(got, want, PAYLOAD) != 0)
            FAIL("version %" PRIu64 " is torn", version);
        seen = version;
    }
}

static void *follow_patiently(void *argument) {
    follow(argument, true);
    return NULL;
}
static void *follow_busily(void *argument) {
    follow(argument, false);
    return NULL;
}

CASE(threads_read_every_version_whole_and_never_an_older_one) {
    cast c;
    pthread_t reader[READERS];
    cast_open(&c, test_option("versions", 20000));
    for (int i = 0; i < READERS; i++)
        CHECK_EQ(pthread_create(&reader[i], NULL, i ? follow_patiently : follow_busily, &c), 0);
    while (she_bcast_latest(c.bcast) < c.last)
        publish(&c);
    for (int i = 0; i < READERS; i++)
        pthread_join(reader[i], NULL);
    cast_close(&c);
}

static void follow_in_child(void *argument) { follow(argument, true); }

CASE(killed_readers_harm_no_other) {
    cast c;
    pid_t reader[READERS];
    uint64_t kills = test_option("kills", 60), chance = test_seed;
    cast_open(&c, UINT64_MAX);
    for (int i = 0; i < READERS; i++)
        reader[i] = child_start(follow_in_child, &c);
    for (uint64_t killed = 0; killed < kills;) {
        publish(&c);
        if (test_below(&chance, 50) != 0)
            continue;
        uint64_t victim = test_below(&chance, READERS);
        child_kill(reader[victim]);
        killed++;
        if (killed == kills)
            c.last = she_bcast_latest(c.bcast) + 100; /* for the reader that is started below */
        reader[victim] = child_start(follow_in_child, &c);
        if (killed < kills)
            continue;
        while (she_bcast_latest(c.bcast) < c.last)
            publish(&c);
        child_finish(reader[victim]); /* it reached the last version, in spite of the dead */
        for (uint64_t i = 0; i < READERS; i++)
            if (i != victim)
                child_kill(reader[i]);
    }
    cast_close(&c);
}
