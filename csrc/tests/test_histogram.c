/* Histograms compared with a naive model, the sorted list of durations. */
#include "test.h"

#include "shm_echo/histogram.h"

#define LIMIT (UINT64_C(1) << SHE_HIST_MAX_BITS)

/* The bounds of the bucket that holds `ns`, by the description: exact below 32, above that 32
 * buckets to each power of two, and everything from 2^37 on in the last bucket. */
static void naive_bucket(uint64_t ns, uint64_t *low, uint64_t *high) {
    if (ns >= LIMIT)
        ns = LIMIT - 1;
    uint64_t width = 1;
    while (ns / width >= 64)
        width *= 2;
    *low = ns - ns % width;
    *high = *low + width - 1;
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void check_against_naive(const she_hist_totals *totals, const she_hist_totals *baseline,
                                uint64_t *durations, uint64_t count) {
    she_hist_summary got;
    uint64_t low, high, sum = 0;
    she_hist_summarise(totals, baseline, &got);
    CHECK_EQ(got.count, count);
    qsort(durations, count, sizeof *durations, ascending);
    for (uint64_t i = 0; i < count; i++)
        sum += durations[i];
    naive_bucket(durations[0], &low, &high);
    CHECK_EQ(got.min_ns, low);
    naive_bucket(durations[count - 1], &low, &high);
    CHECK_EQ(got.max_ns, high);
    CHECK(got.mean_ns == (double)sum / (double)count);
    const uint64_t percents[] = {50, 90, 99}, values[] = {got.p50_ns, got.p90_ns, got.p99_ns};
    for (int i = 0; i < 3; i++) {
        /* The smallest rank that covers the percentage. */
        uint64_t rank = (count * percents[i] + 99) / 100;
        naive_bucket(durations[rank - 1], &low, &high);
        CHECK_EQ(values[i], high);
    }
}

static she_histogram hist;
static she_hist_totals totals, baseline;

static void fresh(void) {
    memset(&hist, 0, sizeof hist);
    memset(&totals, 0, sizeof totals);
    memset(&baseline, 0, sizeof baseline);
}

CASE(an_empty_histogram_summarises_to_zeros) {
    she_hist_summary got;
    fresh();
    memset(&got, 0xff, sizeof got);
    she_hist_summarise(&totals, &baseline, &got);
    CHECK(got.count == 0 && got.min_ns == 0 && got.max_ns == 0 && got.mean_ns == 0);
    CHECK(got.p50_ns == 0 && got.p90_ns == 0 && got.p99_ns == 0);
}

/* Around every power of two, where the width of buckets changes. */
CASE(every_duration_lies_within_its_bucket_and_buckets_are_narrow) {
    for (uint32_t bit = 0; bit < 64; bit++)
        for (int64_t off = -2; off <= 2; off++) {
            uint64_t ns = (UINT64_C(1) << bit) + (uint64_t)off;
            she_hist_summary got;
            fresh();
            she_hist_record(&hist, ns);
            she_hist_add(&totals, &hist);
            check_against_naive(&totals, &baseline, &ns, 1);
            she_hist_summarise(&totals, &baseline, &got);
            if (ns < LIMIT)
                CHECK(got.min_ns <= ns && ns <= got.max_ns);
            if (ns < 32)
                CHECK(got.min_ns == ns && got.max_ns == ns);
            CHECK(got.max_ns - got.min_ns <= got.min_ns / 32);
        }
}

CASE(no_duration_falls_outside_the_buckets) {
    fresh();
    const uint64_t longest[] = {LIMIT - 1, LIMIT, LIMIT + 1, UINT64_MAX};
    for (int i = 0; i < 4; i++)
        she_hist_record(&hist, longest[i]);
    CHECK_EQ(she_load_relaxed(&hist.bucket[SHE_HIST_BUCKETS - 1]), 4);
    fresh();
    she_hist_record(&hist, 0);
    CHECK_EQ(she_load_relaxed(&hist.bucket[0]), 1);
}

/* The edges of all buckets follow each other without a gap. */
CASE(buckets_cover_all_durations_in_order) {
    uint64_t low = 0, high, next = 0;
    for (uint32_t bucket = 0; bucket < SHE_HIST_BUCKETS; bucket++, next = high + 1) {
        naive_bucket(next, &low, &high);
        CHECK_EQ(low, next);
        for (int edge = 0; edge < 2; edge++) {
            fresh();
            she_hist_record(&hist, edge ? high : low);
            CHECK_EQ(she_load_relaxed(&hist.bucket[bucket]), 1);
        }
    }
    CHECK_EQ(next, LIMIT);
}

static uint64_t some_duration(uint64_t *chance) {
    return test_random(chance) >> (20 + test_below(chance, 44)); /* up to 2^44, small ones often */
}

CASE(random_durations_summarise_as_the_sorted_list_does) {
    static uint64_t durations[5000];
    uint64_t chance = test_seed;
    for (int round = 0; round < 30; round++) {
        uint64_t count = 1 + test_below(&chance, round < 15 ? 12 : 5000);
        fresh();
        for (uint64_t i = 0; i < count; i++)
            she_hist_record(&hist, durations[i] = some_duration(&chance));
        she_hist_add(&totals, &hist);
        check_against_naive(&totals, &baseline, durations, count);
    }
}

CASE(subtracting_a_baseline_leaves_the_durations_after_it) {
    static uint64_t durations[1000];
    uint64_t chance = test_seed;
    fresh();
    for (int i = 0; i < 1000; i++)
        she_hist_record(&hist, some_duration(&chance));
    she_hist_add(&baseline, &hist);
    for (int i = 0; i < 1000; i++)
        she_hist_record(&hist, durations[i] = some_duration(&chance));
    she_hist_add(&totals, &hist);
    check_against_naive(&totals, &baseline, durations, 1000);
}

CASE(a_baseline_equal_to_the_totals_leaves_nothing) {
    she_hist_summary got;
    fresh();
    she_hist_record(&hist, 100);
    she_hist_add(&totals, &hist);
    she_hist_add(&baseline, &hist);
    she_hist_summarise(&totals, &baseline, &got);
    CHECK(got.count == 0 && got.max_ns == 0);
}

CASE(totals_add_up_over_several_histograms) {
    static she_histogram other;
    static uint64_t durations[200];
    uint64_t chance = test_seed;
    fresh();
    memset(&other, 0, sizeof other);
    for (int i = 0; i < 200; i++)
        she_hist_record(i % 3 ? &hist : &other, durations[i] = some_duration(&chance));
    she_hist_add(&totals, &hist);
    she_hist_add(&totals, &other);
    check_against_naive(&totals, &baseline, durations, 200);
}

CASE(cleared_totals_are_empty_and_can_be_filled_anew) {
    static const she_hist_totals empty;
    static uint64_t durations[500];
    uint64_t chance = test_seed;
    for (int round = 0; round < 20; round++) {
        fresh();
        for (int i = 0; i < 500; i++)
            she_hist_record(&hist, some_duration(&chance));
        she_hist_add(&totals, &hist);
        she_hist_clear(&totals);
        CHECK(memcmp(&totals, &empty, sizeof empty) == 0);
        memset(&hist, 0, sizeof hist);
        for (int i = 0; i < 500; i++)
            she_hist_record(&hist, durations[i] = some_duration(&chance));
        she_hist_add(&totals, &hist);
        check_against_naive(&totals, &baseline, durations, 500);
    }
}

/* The memory is shared: another process may write anything into it. */
CASE(rows_that_do_not_exist_are_not_looked_at) {
    she_hist_summary got;
    fresh();
    she_hist_record(&hist, 7);
    she_or_relaxed(&hist.rows, UINT64_MAX);
    she_hist_add(&totals, &hist);
    she_hist_summarise(&totals, &baseline, &got);
    CHECK(got.count == 1 && got.max_ns == 7);
}
