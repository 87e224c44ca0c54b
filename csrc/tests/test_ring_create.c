/* The layout of a ring, its creation and its opening: sizes, alignment, and every way to be
 * rejected. */
#include "rig.h"

#define PAGE UINT64_C(4096)

static she_config config_of(uint64_t batch_size, uint64_t num_buffers, uint32_t num_leaves,
                            const uint64_t *row_bytes) {
    static const uint8_t digest[32] = {1, 2, 3};
    return (she_config){.batch_size = batch_size,
                        .num_buffers = num_buffers,
                        .num_leaves = num_leaves,
                        .max_producers = 4,
                        .row_bytes = row_bytes,
                        .digest = digest};
}

static int compute(she_config config) {
    she_layout layout;
    uint64_t offsets[64];
    CHECK(config.num_leaves <= 64);
    return she_layout_compute(&config, &layout, offsets);
}

/* ---- layout ---------------------------------------------------------------------------------- */

/* Regions in the order of the drawing in layout.h, none overlapping, all inside. */
static void check_layout(const she_config *c) {
    she_layout l;
    uint64_t offsets[64], end = sizeof(she_header), capacity = c->batch_size * c->num_buffers;
    uint64_t owners = c->max_producers + UINT64_C(1);
    CHECK_EQ(she_layout_compute(c, &l, offsets), SHE_OK);
    CHECK_EQ(l.word_lines, (c->batch_size + 7) / 8);
    CHECK(l.records >= end && l.records % SHE_LINE == 0);
    end = l.records + owners * sizeof(she_record);
    CHECK(l.words >= end && l.words % SHE_LINE == 0);
    end = l.words + c->num_buffers * l.word_lines * 64;
    if (c->detailed) {
        CHECK(l.stamps >= end && l.stamps % SHE_LINE == 0);
        end = l.stamps + capacity * 8;
        CHECK(l.histograms >= end && l.histograms % SHE_LINE == 0);
        end = l.histograms + SHE_HIST_SHARDS * sizeof(she_histogram);
    } else {
        CHECK(l.stamps == 0 && l.histograms == 0);
    }
    for (uint32_t i = 0; i < c->num_leaves; i++) {
        CHECK(offsets[i] >= end && offsets[i] % 64 == 0);
        if (c->row_bytes[i] >= PAGE)
            CHECK_EQ(offsets[i] % PAGE, 0);
        CHECK(offsets[i] - end < PAGE); /* only alignment wastes space */
        end = offsets[i] + capacity * c->row_bytes[i];
    }
    CHECK(l.total_bytes >= end && l.total_bytes - end < PAGE && l.total_bytes % PAGE == 0);
}

CASE(regions_follow_each_other_aligned_and_without_overlap) {
    const uint64_t rows[] = {1, 63, 64, 65, 4095, 4096, 4097, 0, 100000};
    for (uint64_t batch_size = 1; batch_size <= 20; batch_size++)
        for (uint64_t num_buffers = 1; num_buffers <= 4; num_buffers++)
            for (uint32_t detailed = 0; detailed <= 1; detailed++) {
                she_config c = config_of(batch_size, num_buffers, 9, rows);
                c.detailed = detailed;
                check_layout(&c);
                c.max_producers = 1000;
                check_layout(&c);
            }
}

CASE(a_size_of_zero_is_refused) {
    const uint64_t rows[] = {8};
    she_config zero[] = {config_of(0, 2, 1, rows), config_of(2, 0, 1, rows),
                         config_of(2, 2, 0, rows), config_of(2, 2, 1, rows)};
    zero[3].max_producers = 0;
    for (int i = 0; i < 4; i++)
        CHECK_EQ(compute(zero[i]), SHE_E_CONFIG);
}

CASE(more_producers_than_owner_ids_are_refused) {
    const uint64_t rows[] = {8};
    she_config c = config_of(2, 2, 1, rows);
    c.max_producers = SHE_MAX_PRODUCERS;
    check_layout(&c);
    c.max_producers = SHE_MAX_PRODUCERS + 1;
    CHECK_EQ(compute(c), SHE_E_CONFIG);
    c.max_producers = UINT32_MAX;
    CHECK_EQ(compute(c), SHE_E_CONFIG);
}

CASE(capacity_has_a_limit_and_does_not_overflow) {
    const uint64_t rows[] = {8};
    she_config most[] = {config_of(SHE_MAX_CAPACITY / 2, 2, 1, rows),
                         config_of(1, SHE_MAX_CAPACITY, 1, rows)};
    for (int i = 0; i < 2; i++)
        check_layout(&most[i]);
    CHECK_EQ(compute(config_of(SHE_MAX_CAPACITY, 2, 1, rows)), SHE_E_CONFIG);
    CHECK_EQ(compute(config_of(SHE_MAX_CAPACITY + UINT64_C(1), 1, 1, rows)), SHE_E_CONFIG);
    CHECK_EQ(compute(config_of(UINT64_C(1) << 32, UINT64_C(1) << 32, 1, rows)), SHE_E_CONFIG);
    CHECK_EQ(compute(config_of(UINT64_MAX, UINT64_MAX, 1, rows)), SHE_E_CONFIG);
}

CASE(rows_that_add_up_to_too_much_are_refused) {
    const uint64_t half = (UINT64_C(1) << 62) / 4, rows[] = {half, half, half};
    CHECK_EQ(compute(config_of(2, 1, 1, rows)), SHE_OK);
    CHECK_EQ(compute(config_of(2, 2, 2, rows)), SHE_E_CONFIG); /* 2^63: more than a file may have */
    const uint64_t most[] = {UINT64_MAX, UINT64_MAX / 2, UINT64_MAX - PAGE};
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(compute(config_of(1, 1, 1, &most[i])), SHE_E_CONFIG);
        CHECK_EQ(compute(config_of(2, 3, 1, &most[i])), SHE_E_CONFIG);
    }
}

/* The same sum in 128 bits decides whether a hostile size must be rejected. */
CASE(hostile_sizes_never_give_a_layout_that_is_too_small) {
    uint64_t chance = test_seed, accepted = 0;
    for (int round = 0; round < 200000; round++) {
        uint64_t rows[3], offsets[3];
        she_layout l;
        for (int i = 0; i < 3; i++)
            rows[i] = test_random(&chance) >> test_below(&chance, 64);
        she_config c = config_of(test_random(&chance) >> test_below(&chance, 64),
                                 test_random(&chance) >> test_below(&chance, 64), 3, rows);
        c.max_producers = (uint32_t)(test_random(&chance) >> (32 + test_below(&chance, 32)));
        c.detailed = (uint32_t)test_below(&chance, 2);
        if (she_layout_compute(&c, &l, offsets) != SHE_OK)
            continue;
        unsigned __int128 capacity = (unsigned __int128)c.batch_size * c.num_buffers, need = 0;
        need += sizeof(she_header) + (c.max_producers + UINT64_C(1)) * sizeof(she_record);
        need += capacity * 8;
        for (int i = 0; i < 3; i++) {
            need += capacity * rows[i];
            CHECK(offsets[i] + capacity * rows[i] <= l.total_bytes);
        }
        CHECK(capacity <= SHE_MAX_CAPACITY && need <= l.total_bytes);
        CHECK(l.total_bytes <= INT64_MAX);
        accepted++;
    }
    CHECK(accepted > 1000); /* else this case shows nothing */
}

/* ---- state words ----------------------------------------------------------------------------- */

CASE(each_slot_has_a_state_word_of_its_own) {
    const uint64_t sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 64, 65, 100};
    for (uint64_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (uint64_t num_buffers = 1; num_buffers <= 3; num_buffers++) {
            rig r;
            rig_open(&r, sizes[s], num_buffers, false);
            uint64_t words = num_buffers * r.ring->word_lines * 8;
            uint8_t *seen = calloc(words, 1);
            CHECK(seen != NULL);
            for (uint64_t slot = 0; slot < r.ring->capacity; slot++) {
                uint64_t index = she_word_index(r.ring, slot), batch = slot / sizes[s];
                CHECK(index < words && !seen[index]);
                seen[index] = 1;
                CHECK_EQ(index / (r.ring->word_lines * UINT64_C(8)), batch); /* each in its batch */
                CHECK_EQ(she_state_word(r.ring, slot + 5 * r.ring->capacity) - r.ring->words,
                         index);
            }
            free(seen);
            rig_close(&r);
        }
}

CASE(neighbours_in_a_batch_lie_on_different_cache_lines) {
    rig r;
    rig_open(&r, 20, 2, false); /* three lines a batch */
    for (uint64_t slot = 0; slot + 1 < 20; slot++)
        CHECK(she_word_index(r.ring, slot) / 8 != she_word_index(r.ring, slot + 1) / 8);
    rig_close(&r);
}

CASE(a_state_word_keeps_lap_owner_and_state_apart) {
    uint64_t word = she_word(SHE_LAP_MASK, 0xffff, SHE_SKIP);
    CHECK_EQ(she_word_lap(word), SHE_LAP_MASK);
    CHECK_EQ(she_word_owner(word), 0xffff);
    CHECK_EQ(she_word_state(word), SHE_SKIP);
    CHECK_EQ(she_word_anon(word), she_word(SHE_LAP_MASK, 0, SHE_SKIP));
    CHECK_EQ(she_word(SHE_LAP_MASK + 1, 7, SHE_FREE), she_word(0, 7, SHE_FREE));
}

CASE(rows_of_a_leaf_follow_each_other_and_come_round) {
    rig r;
    rig_open(&r, 3, 2, false);
    for (uint32_t leaf = 0; leaf < RIG_LEAVES; leaf++) {
        uint8_t *first = she_row(r.ring, leaf, 0);
        CHECK_EQ((uintptr_t)first % 64, 0);
        for (uint64_t p = 0; p < 20; p++)
            CHECK((uint8_t *)she_row(r.ring, leaf, p) == first + p % 6 * r.row_bytes[leaf]);
        CHECK(first + 6 * r.row_bytes[leaf] <= (uint8_t *)r.memory + r.bytes);
    }
    rig_close(&r);
}

/* ---- making and opening ---------------------------------------------------------------------- */

CASE(a_new_ring_has_its_identity_and_is_empty) {
    rig r;
    rig_open(&r, 5, 3, true);
    const she_header *h = r.memory;
    CHECK_EQ(she_load_relaxed(&h->magic), SHE_MAGIC);
    CHECK(memcmp(&h->magic, "SHMECHO", 8) == 0);
    CHECK(h->layout_version == SHE_LAYOUT_VERSION && h->num_leaves == RIG_LEAVES);
    CHECK(h->batch_size == 5 && h->num_buffers == 3 && h->max_producers == RIG_PRODUCERS);
    CHECK(h->detailed == 1 && h->creator_pid == (uint64_t)getpid() && h->total_bytes == r.bytes);
    CHECK(memcmp(h->digest, r.digest, 32) == 0);
    CHECK_EQ(r.ring->capacity, 15);
    for (uint64_t p = 0; p < 15; p++)
        CHECK_WORD(&r, p, 0, 0, SHE_FREE);
    rig_close(&r);
}

CASE(an_attached_ring_is_the_same_ring) {
    rig r;
    she_ring *other;
    rig_open(&r, 5, 3, true);
    CHECK_EQ(she_ring_attach(r.memory, r.bytes, &r.config, &other), SHE_OK);
    CHECK(other->words == r.ring->words && other->records == r.ring->records);
    CHECK(other->stamps == r.ring->stamps && other->histograms == r.ring->histograms);
    for (uint32_t leaf = 0; leaf < RIG_LEAVES; leaf++)
        CHECK(she_row(other, leaf, 7) == she_row(r.ring, leaf, 7));
    she_ring_free(other);
    rig_close(&r);
}

static int attach(rig *r, const she_config *config, uint64_t bytes) {
    she_ring *other = NULL;
    int rc = she_ring_attach(r->memory, bytes, config, &other);
    she_ring_free(other);
    return rc;
}

CASE(a_mapping_that_is_too_small_is_refused) {
    rig r;
    rig_open(&r, 4, 2, false);
    const uint64_t small[] = {0, 1, sizeof(she_header) - 1, sizeof(she_header), r.bytes - 1};
    for (int i = 0; i < 5; i++) {
        she_ring *out = NULL;
        CHECK_EQ(attach(&r, &r.config, small[i]), SHE_E_SIZE);
        CHECK_EQ(she_ring_create(r.memory, small[i], &r.config, 1, &out), SHE_E_SIZE);
        CHECK(out == NULL);
    }
    CHECK_EQ(attach(&r, &r.config, r.bytes + PAGE), SHE_OK);
    rig_close(&r);
}

CASE(memory_without_a_ring_is_refused) {
    rig r;
    rig_open(&r, 4, 2, false);
    she_store_relaxed(&r.ring->header->magic, 0);
    CHECK_EQ(attach(&r, &r.config, r.bytes), SHE_E_MAGIC);
    she_store_relaxed(&r.ring->header->magic, SHE_MAGIC ^ 1);
    CHECK_EQ(attach(&r, &r.config, r.bytes), SHE_E_MAGIC);
    rig_close(&r);
}

CASE(another_layout_version_is_refused) {
    rig r;
    rig_open(&r, 4, 2, false);
    r.ring->header->layout_version++;
    CHECK_EQ(attach(&r, &r.config, r.bytes), SHE_E_VERSION);
    rig_close(&r);
}

CASE(a_ring_of_another_configuration_is_refused) {
    rig r;
    rig_open(&r, 4, 2, false);
    uint8_t other_digest[32];
    memcpy(other_digest, r.digest, 32);
    other_digest[31] ^= 1;
    she_config other[6];
    for (int i = 0; i < 6; i++)
        other[i] = r.config;
    other[0].batch_size++;
    other[1].num_buffers++;
    other[2].num_leaves--;
    other[3].max_producers--;
    other[4].detailed = 1;
    other[5].digest = other_digest;
    for (int i = 0; i < 6; i++)
        CHECK_EQ(attach(&r, &other[i], r.bytes), SHE_E_MISMATCH);
    CHECK_EQ(attach(&r, &r.config, r.bytes), SHE_OK);
    rig_close(&r);
}

CASE(a_configuration_that_makes_no_ring_makes_none) {
    rig r;
    she_ring *out = NULL;
    rig_open(&r, 4, 2, false);
    she_config bad[2] = {r.config, r.config};
    bad[0].num_leaves = 0;
    bad[1].batch_size = 0;
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(she_ring_create(r.memory, r.bytes, &bad[i], 1, &out), SHE_E_CONFIG);
        CHECK(out == NULL);
    }
    rig_close(&r);
}

/* A peer may write anything into the identity: the sizes come from this side's configuration. */
CASE(a_forged_header_changes_no_address) {
    rig r;
    she_ring *other;
    rig_open(&r, 4, 2, false);
    r.ring->header->total_bytes = UINT64_MAX;
    r.ring->header->creator_pid = UINT64_MAX;
    CHECK_EQ(she_ring_attach(r.memory, r.bytes, &r.config, &other), SHE_OK);
    CHECK(other->capacity == 8 && other->words == r.ring->words);
    she_ring_free(other);
    rig_close(&r);
}

CASE(closing_a_ring_is_seen_by_all_and_signals_all) {
    rig r;
    rig_open(&r, 4, 2, false);
    uint32_t space = space_ticket(&r), data = data_ticket(&r), taken = taken_ticket(&r);
    she_ring_close(r.ring);
    CHECK_EQ(she_load32_relaxed(&r.ring->header->closed), 1);
    CHECK(space_ticket(&r) != space && data_ticket(&r) != data && taken_ticket(&r) != taken);
    rig_close(&r);
}
