/* Streams of bytes into samples, without sockets: any leaves, read in pieces of any size. The same
 * code runs under libFuzzer (fuzz_ingress.c). Options: inputs=. */
#include "test.h"

#include "fuzz_ingress.h"

CASE(random_specs_in_random_pieces_are_the_same_samples) {
    uint64_t chance = test_seed, inputs = test_option("inputs", 3000);
    for (uint64_t i = 0; i < inputs; i++) {
        uint8_t bytes[400];
        uint64_t size = test_below(&chance, sizeof bytes + 1);
        for (uint64_t at = 0; at < size; at++)
            bytes[at] = (uint8_t)test_random(&chance);
        fuzz_one(bytes, size);
    }
}

CASE(a_read_is_cut_at_every_place) {
    /* Two leaves of 5 and 2 bytes, in their order, and a scratch buffer of 30. */
    for (uint8_t cut = 0; cut < 60; cut++) {
        uint8_t bytes[] = {1, 5, 2, 1, 29, cut, 60, cut, 0, 59};
        fuzz_one(bytes, sizeof bytes);
    }
}

CASE(a_limit_is_kept) {
    uint8_t fragment[10], scratch[32];
    struct iovec targets[2];
    stream s = {.payload = 10, .fragment = fragment, .have = 4};
    CHECK_EQ(stream_targets(&s, scratch, sizeof scratch, 5, targets), 1);
    CHECK(targets[0].iov_base == fragment + 4 && targets[0].iov_len == 5);
    CHECK_EQ(stream_targets(&s, scratch, sizeof scratch, 16, targets), 2);
    CHECK_EQ(targets[0].iov_len, 6);
    CHECK_EQ(targets[1].iov_len, 10);
    s = (stream){.payload = 10};
    CHECK_EQ(stream_targets(&s, scratch, sizeof scratch, 1000, targets), 1);
    CHECK_EQ(targets[0].iov_len, sizeof scratch);
}

/* Large samples are read without a scratch buffer. */
CASE(a_sample_is_completed_without_a_scratch_buffer) {
    uint8_t fragment[10] = {0};
    arrival a;
    stream s = {.payload = 10, .fragment = fragment, .have = 4};
    stream_arrived(&s, NULL, 5, &a);
    CHECK(!a.first && s.have == 9);
    stream_arrived(&s, NULL, 1, &a);
    CHECK(a.first == fragment && !a.whole && !a.tail && s.have == 0);
    CHECK_EQ(a.num_whole + a.tail_bytes, 0);
}
