/* Log-linear histograms: see histogram.h. */
#include "shm_echo/histogram.h"

static uint32_t bucket_of(uint64_t ns) {
    if (ns < (1u << SHE_HIST_SUB_BITS))
        return (uint32_t)ns;
    uint32_t exponent = 63u - (uint32_t)__builtin_clzll(ns);
    if (exponent >= SHE_HIST_MAX_BITS)
        return SHE_HIST_BUCKETS - 1;
    uint32_t shift = exponent - SHE_HIST_SUB_BITS;
    uint32_t within = (uint32_t)(ns >> shift) & ((1u << SHE_HIST_SUB_BITS) - 1);
    return ((shift + 1) << SHE_HIST_SUB_BITS) + within;
}

static uint64_t lower_bound(uint32_t bucket) {
    uint32_t row = bucket >> SHE_HIST_SUB_BITS;
    uint64_t within = bucket & ((1u << SHE_HIST_SUB_BITS) - 1);
    if (row == 0)
        return within;
    return ((UINT64_C(1) << SHE_HIST_SUB_BITS) + within) << (row - 1);
}

static uint64_t upper_bound(uint32_t bucket) {
    uint32_t row = bucket >> SHE_HIST_SUB_BITS;
    return row == 0 ? lower_bound(bucket) : lower_bound(bucket) + (UINT64_C(1) << (row - 1)) - 1;
}

void she_hist_record(she_histogram *hist, uint64_t ns) {
    /* Relaxed: nobody infers anything from one counter about another. */
    she_add_relaxed(&hist->sum_ns, ns);
    she_add_relaxed(&hist->bucket[bucket_of(ns)], 1);
}

void she_hist_add(she_hist_totals *totals, const she_histogram *hist) {
    totals->sum_ns += she_load_relaxed(&hist->sum_ns);
    for (uint32_t i = 0; i < SHE_HIST_BUCKETS; i++)
        totals->bucket[i] += she_load_relaxed(&hist->bucket[i]);
}

void she_hist_summarise(const she_hist_totals *totals, const she_hist_totals *baseline,
                        she_hist_summary *out) {
    static const uint32_t percents[] = {50, 90, 99};
    uint64_t *const percentiles[] = {&out->p50_ns, &out->p90_ns, &out->p99_ns};
    uint64_t count = 0, below = 0;
    *out = (she_hist_summary){0};
    for (uint32_t i = 0; i < SHE_HIST_BUCKETS; i++)
        count += totals->bucket[i] - baseline->bucket[i];
    out->count = count;
    if (count == 0)
        return;
    out->mean_ns = (double)(totals->sum_ns - baseline->sum_ns) / (double)count;
    for (uint32_t i = 0, next = 0; i < SHE_HIST_BUCKETS && below < count; i++) {
        uint64_t n = totals->bucket[i] - baseline->bucket[i];
        if (n == 0)
            continue;
        if (below == 0)
            out->min_ns = lower_bound(i);
        below += n;
        for (; next < 3 && below >= (count * percents[next] + 99) / 100; next++)
            *percentiles[next] = upper_bound(i);
        out->max_ns = upper_bound(i);
    }
}
