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

static uint64_t percentile(const she_hist_totals *totals, const she_hist_totals *baseline,
                           uint64_t count, uint32_t percent) {
    uint64_t rank = (count * percent + 99) / 100, below = 0;
    for (uint32_t i = 0; i < SHE_HIST_BUCKETS; i++) {
        below += totals->bucket[i] - baseline->bucket[i];
        if (below >= rank)
            return upper_bound(i);
    }
    return 0;
}

void she_hist_summarise(const she_hist_totals *totals, const she_hist_totals *baseline,
                        she_hist_summary *out) {
    *out = (she_hist_summary){0};
    bool first = true;
    for (uint32_t i = 0; i < SHE_HIST_BUCKETS; i++) {
        uint64_t n = totals->bucket[i] - baseline->bucket[i];
        if (n == 0)
            continue;
        if (first)
            out->min_ns = lower_bound(i);
        first = false;
        out->max_ns = upper_bound(i);
        out->count += n;
    }
    if (out->count == 0)
        return;
    out->mean_ns = (double)(totals->sum_ns - baseline->sum_ns) / (double)out->count;
    out->p50_ns = percentile(totals, baseline, out->count, 50);
    out->p90_ns = percentile(totals, baseline, out->count, 90);
    out->p99_ns = percentile(totals, baseline, out->count, 99);
}
