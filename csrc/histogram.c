/* Log-linear histograms: see histogram.h. */
#include "shm_echo/histogram.h"

#include <string.h>

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
    uint32_t bucket = bucket_of(ns);
    uint64_t row = UINT64_C(1) << (bucket >> SHE_HIST_SUB_BITS);
    /* Relaxed, and paired with nothing: no reader infers one counter from another. The row's bit
     * comes first, so that a kill between the two stores hides no bucket for good. */
    if (!(she_load_relaxed(&hist->rows) & row))
        she_or_relaxed(&hist->rows, row);
    she_add_relaxed(&hist->sum_ns, ns);
    she_add_relaxed(&hist->bucket[bucket], 1);
}

/* Remove the lowest row from the set `rows` and return it; -1 if the set is empty. */
static int next_row(uint64_t *rows) {
    if (!*rows)
        return -1;
    int row = __builtin_ctzll(*rows);
    *rows &= *rows - 1;
    return row;
}

void she_hist_clear(she_hist_totals *totals) {
    for (int row; (row = next_row(&totals->rows)) >= 0;)
        memset(&totals->bucket[(uint32_t)row * SHE_HIST_ROW], 0, SHE_HIST_ROW * sizeof(uint64_t));
    totals->sum_ns = 0;
}

void she_hist_add(she_hist_totals *totals, const she_histogram *hist) {
    /* Another process may have written anything: bits beyond the rows are masked out. Relaxed: a
     * histogram is read while it is written, and its sums are approximate. */
    uint64_t rows = she_load_relaxed(&hist->rows) & ((UINT64_C(1) << SHE_HIST_ROWS) - 1);
    totals->sum_ns += she_load_relaxed(&hist->sum_ns);
    totals->rows |= rows;
    for (int row; (row = next_row(&rows)) >= 0;) {
        uint32_t first = (uint32_t)row * SHE_HIST_ROW;
        for (uint32_t i = first; i < first + SHE_HIST_ROW; i++)
            totals->bucket[i] += she_load_relaxed(&hist->bucket[i]);
    }
}

void she_hist_summarise(const she_hist_totals *totals, const she_hist_totals *baseline,
                        she_hist_summary *out) {
    static const uint32_t percents[] = {50, 90, 99};
    uint64_t *const percentiles[] = {&out->p50_ns, &out->p90_ns, &out->p99_ns};
    uint64_t count = 0, below = 0, rows = totals->rows;
    *out = (she_hist_summary){0};
    for (int row; (row = next_row(&rows)) >= 0;) {
        uint32_t first = (uint32_t)row * SHE_HIST_ROW;
        for (uint32_t i = first; i < first + SHE_HIST_ROW; i++)
            count += totals->bucket[i] - baseline->bucket[i];
    }
    out->count = count;
    if (count == 0)
        return;
    out->mean_ns = (double)(totals->sum_ns - baseline->sum_ns) / (double)count;
    rows = totals->rows;
    for (uint32_t i = 0, left = 0, next = 0; below < count; i++, left--) {
        if (left == 0) { /* to the next row, which exists because below < count */
            i = (uint32_t)next_row(&rows) * SHE_HIST_ROW;
            left = SHE_HIST_ROW;
        }
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
