/* A ring in memory of its own, for tests, set up as a server and its producers set it up. */
#ifndef SHM_ECHO_RIG_H
#define SHM_ECHO_RIG_H

#include "test.h"

#include <sys/mman.h>

#include "shm_echo/ring.h"

#define RIG_LEAVES 3
#define RIG_PRODUCERS 6

typedef struct {
    uint64_t row_bytes[RIG_LEAVES];
    uint8_t digest[32];
    she_config config;
    void *memory;
    uint64_t bytes;
    she_ring *ring;
    she_consumer *consumer;
    she_producer *producer[RIG_PRODUCERS + 1]; /* by owner id */
    she_own *own;                              /* the ring's, while it uses a shared copy */
} rig;

/* Shared by the processes that are forked later. */
static inline void *rig_memory(uint64_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return memory;
}

/* An odd row, a row of a few words and a row of half a page; or other rows. */
static const uint64_t rig_rows[RIG_LEAVES] = {24, 7, 2000};

static inline void rig_config_rows(rig *r, const uint64_t *rows, uint64_t batch_size,
                                   uint64_t num_buffers, bool detailed) {
    memset(r, 0, sizeof *r);
    memcpy(r->row_bytes, rows, sizeof r->row_bytes);
    memset(r->digest, 0xd1, sizeof r->digest);
    r->config = (she_config){.batch_size = batch_size,
                             .num_buffers = num_buffers,
                             .num_leaves = RIG_LEAVES,
                             .max_producers = RIG_PRODUCERS,
                             .detailed = detailed,
                             .row_bytes = r->row_bytes,
                             .digest = r->digest};
}

static inline void rig_config(rig *r, uint64_t batch_size, uint64_t num_buffers, bool detailed) {
    rig_config_rows(r, rig_rows, batch_size, num_buffers, detailed);
}

/* Make the ring in r->memory, its consumer and its producers. */
static inline void rig_start(rig *r) {
    CHECK_EQ(she_ring_create(r->memory, r->bytes, &r->config, (uint64_t)getpid(), &r->ring),
             SHE_OK);
    CHECK_EQ(she_consumer_open(r->ring, &r->consumer), SHE_OK);
    r->consumer->last_owner = RIG_PRODUCERS;
    /* Cases fork the server's own handle, so its private memory is shared, too. */
    r->own = r->ring->own;
    r->ring->own = memcpy(rig_memory(she_own_bytes(r->ring)), r->own, she_own_bytes(r->ring));
    for (uint32_t owner = 1; owner <= RIG_PRODUCERS; owner++)
        she_reinstate(r->ring, owner);
    for (uint32_t owner = 0; owner <= RIG_PRODUCERS; owner++)
        CHECK_EQ(she_producer_open(r->ring, owner, &r->producer[owner]), SHE_OK);
}

static inline void rig_open_rows(rig *r, const uint64_t *rows, uint64_t batch_size,
                                 uint64_t num_buffers, bool detailed) {
    she_layout layout;
    uint64_t offsets[RIG_LEAVES];
    rig_config_rows(r, rows, batch_size, num_buffers, detailed);
    CHECK_EQ(she_layout_compute(&r->config, &layout, offsets), SHE_OK);
    r->bytes = layout.total_bytes;
    r->memory = rig_memory(r->bytes);
    rig_start(r);
}

static inline void rig_open(rig *r, uint64_t batch_size, uint64_t num_buffers, bool detailed) {
    rig_open_rows(r, rig_rows, batch_size, num_buffers, detailed);
}

static inline void rig_close(rig *r) {
    for (uint32_t owner = 0; owner <= RIG_PRODUCERS; owner++)
        she_producer_free(r->producer[owner]);
    she_consumer_free(r->consumer);
    munmap(r->ring->own, she_own_bytes(r->ring));
    r->ring->own = r->own;
    she_ring_free(r->ring);
    munmap(r->memory, r->bytes);
}

/* ---- reading raw memory ---------------------------------------------------------------------- */

static inline uint64_t word_at(const rig *r, uint64_t position) {
    return she_load_relaxed(she_state_word(r->ring, position));
}
static inline void set_word(rig *r, uint64_t position, uint64_t lap, uint32_t owner,
                            enum she_state state) {
    she_store_relaxed(she_state_word(r->ring, position), she_word(lap, owner, state));
}
#define CHECK_WORD(r, position, lap, owner, state) \
    CHECK_EQ(word_at(r, position), she_word(lap, owner, state))

static inline uint64_t open_claims(const rig *r, uint32_t owner) {
    const she_record *record = &r->ring->records[owner];
    return she_load_relaxed(&record->begun) - she_load_relaxed(&record->ended);
}
static inline uint64_t cursor_of(const rig *r) {
    return she_load_relaxed(&r->ring->header->write_cursor);
}
static inline uint64_t hole_gen_of(const rig *r) {
    return she_load_relaxed(&r->ring->header->hole_gen);
}
static inline uint64_t awaited_of(const rig *r) {
    return she_load_relaxed(&r->ring->header->awaited);
}
static inline uint32_t data_ticket(const rig *r) { return she_ec_ticket(&r->ring->header->data); }
static inline uint32_t space_ticket(const rig *r) { return she_ec_ticket(&r->ring->header->space); }
static inline uint32_t taken_ticket(const rig *r) { return she_ec_ticket(&r->ring->header->taken); }

/* ---- steps that many cases take -------------------------------------------------------------- */

static inline uint64_t claim_one(rig *r, uint32_t owner) {
    uint64_t position = UINT64_MAX;
    CHECK_EQ(she_claim(r->producer[owner], &position), SHE_OK);
    return position;
}
static inline void commit_one(rig *r, uint32_t owner, uint64_t position) {
    CHECK_EQ(she_commit(r->producer[owner], position), SHE_OK);
}
static inline void abort_one(rig *r, uint32_t owner, uint64_t position) {
    CHECK_EQ(she_abort(r->producer[owner], position), SHE_OK);
}
static inline uint64_t send_one(rig *r, uint32_t owner) {
    uint64_t position = claim_one(r, owner);
    commit_one(r, owner, position);
    return position;
}
static inline void send_many(rig *r, uint32_t owner, uint64_t n) {
    while (n--)
        (void)send_one(r, owner);
}
static inline void check_full(rig *r, uint32_t owner) {
    uint64_t position;
    CHECK_EQ(she_claim(r->producer[owner], &position), SHE_FULL);
}
/* Take the next batch, which must be ready and hold `want_samples`; returns its number. */
static inline uint64_t take_one(rig *r, uint64_t want_samples) {
    uint64_t batch, samples;
    CHECK_EQ(she_ready(r->consumer), SHE_OK);
    she_take(r->consumer, &batch, &samples);
    CHECK_EQ(samples, want_samples);
    return batch;
}

/* Move an idle ring, of which no batch is held, to the beginning of lap `lap`. */
static inline void start_at_lap(rig *r, uint64_t lap) {
    for (uint64_t slot = 0; slot < r->ring->capacity; slot++)
        set_word(r, slot, lap, 0, SHE_FREE);
    she_store_relaxed(&r->ring->header->write_cursor, lap * r->ring->capacity);
    she_store_relaxed(&r->ring->header->taken_cursor, lap * r->ring->capacity);
    r->consumer->next_batch = lap * r->ring->num_buffers;
}

#endif
