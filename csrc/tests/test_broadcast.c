/* The broadcast, in one thread: sizes, rejections, versions, and readers that are overtaken. */
#include "rig.h"

#include "shm_echo/broadcast.h"

#define SECOND INT64_C(1000000000)

static const uint8_t digest[32] = {9, 8, 7};

typedef struct {
    void *memory;
    uint64_t bytes, payload;
    she_bcast *bcast;
} cast;

static void cast_open(cast *c, uint64_t payload) {
    c->payload = payload;
    c->bytes = she_bcast_bytes(payload);
    CHECK(c->bytes > 0);
    c->memory = rig_memory(c->bytes);
    CHECK_EQ(she_bcast_create(c->memory, c->bytes, payload, digest, &c->bcast), SHE_OK);
}
static void cast_close(cast *c) {
    she_bcast_free(c->bcast);
    munmap(c->memory, c->bytes);
}

/* Publish `payload` bytes that follow from `number`; check_read checks them. */
static void fill(uint8_t *to, uint64_t bytes, uint64_t number) {
    uint64_t state = number;
    for (uint64_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)test_random(&state);
}
static uint64_t publish(cast *c, uint64_t number) {
    uint8_t bytes[4096];
    CHECK(c->payload <= sizeof bytes);
    fill(bytes, c->payload, number);
    uint64_t version = she_bcast_begin(c->bcast);
    she_bcast_write(c->bcast, version, 0, bytes, c->payload);
    she_bcast_end(c->bcast, version);
    return version;
}
static void check_read(cast *c, uint64_t version, uint64_t number) {
    uint8_t want[4096], got[4096 + 16];
    int overtaken = 7;
    memset(got, 0xee, sizeof got);
    fill(want, c->payload, number);
    CHECK_EQ(she_bcast_read(c->bcast, got, c->payload, &overtaken), version);
    CHECK_EQ(overtaken, 0);
    CHECK(memcmp(got, want, c->payload) == 0);
    for (int i = 0; i < 16; i++)
        CHECK_EQ(got[c->payload + (uint64_t)i], 0xee); /* no byte beyond the payload */
}

CASE(sizes_leave_room_for_three_buffers_and_do_not_overflow) {
    for (uint64_t payload = 0; payload < 300; payload++) {
        uint64_t bytes = she_bcast_bytes(payload);
        CHECK(bytes >= sizeof(she_bcast_header) + 3 * payload && bytes % 4096 == 0);
    }
    CHECK(she_bcast_bytes((uint64_t)INT64_MAX / 4) > 3 * ((uint64_t)INT64_MAX / 4));
    CHECK_EQ(she_bcast_bytes((uint64_t)INT64_MAX / 4 + 1), 0);
    CHECK_EQ(she_bcast_bytes(UINT64_MAX), 0);
}

CASE(buffers_are_aligned_and_apart) {
    cast c;
    cast_open(&c, 100);
    const uint8_t *end = (const uint8_t *)c.memory + c.bytes;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ((uintptr_t)c.bcast->buffer[i] % 64, 0);
        CHECK((const uint8_t *)(c.bcast->buffer[i] + c.bcast->words) <= end);
        if (i > 0)
            CHECK(c.bcast->buffer[i] >= c.bcast->buffer[i - 1] + c.bcast->words);
    }
    cast_close(&c);
}

CASE(a_segment_that_is_not_this_broadcast_is_rejected) {
    cast c;
    she_bcast *other = NULL;
    uint8_t wrong[32] = {0};
    cast_open(&c, 100);
    CHECK_EQ(she_bcast_attach(c.memory, c.bytes - 1, 100, digest, &other), SHE_E_SIZE);
    CHECK_EQ(she_bcast_attach(c.memory, 8, 100, digest, &other), SHE_E_SIZE);
    CHECK_EQ(she_bcast_create(c.memory, 0, 100, digest, &other), SHE_E_SIZE);
    CHECK_EQ(she_bcast_create(c.memory, c.bytes, UINT64_MAX, digest, &other), SHE_E_SIZE);
    CHECK_EQ(she_bcast_attach(c.memory, c.bytes, 101, digest, &other), SHE_E_MISMATCH);
    CHECK_EQ(she_bcast_attach(c.memory, c.bytes, 100, wrong, &other), SHE_E_MISMATCH);
    she_store_relaxed(&c.bcast->header->magic, SHE_MAGIC); /* a ring is no broadcast */
    CHECK_EQ(she_bcast_attach(c.memory, c.bytes, 100, digest, &other), SHE_E_MAGIC);
    CHECK(other == NULL);
    she_store_relaxed(&c.bcast->header->magic, SHE_BCAST_MAGIC);
    CHECK_EQ(she_bcast_attach(c.memory, c.bytes, 100, digest, &other), SHE_OK);
    CHECK(other->buffer[2] == c.bcast->buffer[2]);
    she_bcast_free(other);
    cast_close(&c);
}

CASE(before_the_first_version_there_is_nothing_to_read) {
    cast c;
    int overtaken = 7;
    uint8_t to[8];
    cast_open(&c, 8);
    CHECK_EQ(she_bcast_latest(c.bcast), 0);
    CHECK_EQ(she_bcast_read(c.bcast, to, 8, &overtaken), 0);
    CHECK_EQ(overtaken, 0);
    (void)she_bcast_begin(c.bcast); /* begun, not published */
    CHECK_EQ(she_bcast_latest(c.bcast), 0);
    CHECK_EQ(she_bcast_read(c.bcast, to, 8, &overtaken), 0);
    cast_close(&c);
}

CASE(every_version_of_every_size_is_read_whole) {
    const uint64_t sizes[] = {0, 1, 7, 8, 9, 63, 64, 65, 1000, 4096};
    for (uint64_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        cast c;
        cast_open(&c, sizes[s]);
        for (uint64_t version = 1; version <= 7; version++) {
            CHECK_EQ(publish(&c, version * 31), version);
            CHECK_EQ(she_bcast_latest(c.bcast), version);
            check_read(&c, version, version * 31);
            check_read(&c, version, version * 31); /* reading changes nothing */
        }
        cast_close(&c);
    }
}

CASE(pieces_are_written_side_by_side) {
    cast c;
    uint8_t got[40], want[40];
    int overtaken;
    cast_open(&c, 40);
    fill(want, 40, 5);
    memset(want + 11, 0, 5); /* the rest of a piece's last word */
    uint64_t version = she_bcast_begin(c.bcast);
    she_bcast_write(c.bcast, version, 16, want + 16, 24);
    she_bcast_write(c.bcast, version, 0, want, 11);
    she_bcast_end(c.bcast, version);
    CHECK_EQ(she_bcast_read(c.bcast, got, 40, &overtaken), 1);
    CHECK(memcmp(got, want, 40) == 0);
    cast_close(&c);
}

CASE(a_piece_that_does_not_fit_writes_nothing) {
    cast c;
    cast_open(&c, 64);
    (void)publish(&c, 1);
    uint64_t version = publish(&c, 2);
    uint8_t junk[256];
    memset(junk, 0x55, sizeof junk);
    she_bcast_write(c.bcast, version, 1, junk, 8); /* not aligned */
    she_bcast_write(c.bcast, version, 64, junk, 8);
    she_bcast_write(c.bcast, version, 56, junk, 9);
    she_bcast_write(c.bcast, version, 0, junk, 65);
    she_bcast_write(c.bcast, version, UINT64_MAX - 7, junk, 8);
    she_bcast_write(c.bcast, version, 0, junk, UINT64_MAX);
    she_bcast_write(c.bcast, version, 8, junk, UINT64_MAX - 3);
    check_read(&c, version, 2);
    int overtaken = 7;
    CHECK_EQ(she_bcast_read(c.bcast, junk, 65, &overtaken), 0); /* more than the payload */
    CHECK_EQ(she_bcast_read(c.bcast, junk, UINT64_MAX, &overtaken), 0);
    CHECK_EQ(overtaken, 0);
    cast_close(&c);
}

CASE(a_version_stays_readable_while_the_next_one_is_written) {
    cast c;
    uint8_t junk[64] = {1};
    cast_open(&c, 64);
    for (uint64_t version = 1; version < 9; version++) {
        (void)publish(&c, version);
        uint64_t next = she_bcast_begin(c.bcast);
        she_bcast_write(c.bcast, next, 0, junk, 64);
        check_read(&c, version, version);
        CHECK_EQ(she_bcast_begin(c.bcast), next); /* abandoned half-way and begun again */
    }
    cast_close(&c);
}

CASE(a_buffer_is_marked_as_unfinished_as_long_as_it_is_written) {
    cast c;
    cast_open(&c, 64);
    for (uint64_t version = 1; version <= 7; version++) {
        CHECK_EQ(she_bcast_begin(c.bcast), version);
        CHECK_EQ(she_load_relaxed(&c.bcast->header->sequence[version % 3]), 2 * version - 1);
        she_bcast_end(c.bcast, version);
        CHECK_EQ(she_load_relaxed(&c.bcast->header->sequence[version % 3]), 2 * version);
    }
    cast_close(&c);
}

CASE(a_reader_that_is_overtaken_has_to_try_again) {
    cast c;
    uint8_t to[64];
    int overtaken = 0;
    cast_open(&c, 64);
    (void)publish(&c, 1);
    /* The writer has come round to this buffer since the reader looked at `latest`. */
    she_store_relaxed(&c.bcast->header->sequence[1], 2 * 4 - 1);
    CHECK_EQ(she_bcast_read(c.bcast, to, 64, &overtaken), 0);
    CHECK_EQ(overtaken, 1);
    she_store_relaxed(&c.bcast->header->sequence[1], 2 * 4);
    CHECK_EQ(she_bcast_read(c.bcast, to, 64, &overtaken), 0);
    CHECK_EQ(overtaken, 1);
    cast_close(&c);
}

CASE(a_wait_ends_with_the_version_the_time_or_the_end) {
    cast c;
    cast_open(&c, 8);
    CHECK_EQ(she_bcast_wait(c.bcast, 0, 3600 * SECOND), SHE_OK);
    CHECK_EQ(she_bcast_wait(c.bcast, 1, 1000), SHE_TIMEOUT);
    (void)publish(&c, 1);
    CHECK_EQ(she_bcast_wait(c.bcast, 1, 3600 * SECOND), SHE_OK);
    CHECK_EQ(she_bcast_wait(c.bcast, 2, 1000), SHE_TIMEOUT);
    she_bcast_close(c.bcast);
    CHECK_EQ(she_bcast_wait(c.bcast, 2, 3600 * SECOND), SHE_CLOSED);
    CHECK_EQ(she_bcast_wait(c.bcast, 1, 3600 * SECOND), SHE_OK); /* a published version stays */
    check_read(&c, 1, 1);
    cast_close(&c);
}
