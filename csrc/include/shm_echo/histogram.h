/* A log-linear histogram of durations, written by many threads and read by any.
 *
 * Buckets are exact below 32 ns and 1/32 of their value wide above (3 %), up to 2^37 ns (137 s);
 * longer durations count in the last bucket. Counts only grow: a reader that wants the durations
 * since a reset subtracts an earlier copy, so that a reset needs no cooperation of the writers.
 */
#ifndef SHM_ECHO_HISTOGRAM_H
#define SHM_ECHO_HISTOGRAM_H

#include "shm_echo/atomics.h"

#define SHE_HIST_SUB_BITS 5
#define SHE_HIST_MAX_BITS 37
#define SHE_HIST_ROW (1u << SHE_HIST_SUB_BITS) /* buckets of one power of two */
#define SHE_HIST_ROWS (SHE_HIST_MAX_BITS - SHE_HIST_SUB_BITS + 1)
#define SHE_HIST_BUCKETS (SHE_HIST_ROWS * SHE_HIST_ROW)

/* `rows` has a bit for each row that is not empty. Durations of one kind lie close together, so a
 * reader visits a few rows only. */
typedef struct {
    she_atomic64 sum_ns;
    she_atomic64 rows;
    she_atomic64 bucket[SHE_HIST_BUCKETS];
} she_histogram;

_Static_assert(SHE_HIST_ROWS <= 64, "one bit for each row");

/* A private copy, summed over any number of histograms. All-zero memory is the empty sum. */
typedef struct {
    uint64_t sum_ns;
    uint64_t rows;
    uint64_t bucket[SHE_HIST_BUCKETS];
} she_hist_totals;

typedef struct {
    uint64_t count, min_ns, max_ns, p50_ns, p90_ns, p99_ns;
    double mean_ns;
} she_hist_summary;

void she_hist_record(she_histogram *hist, uint64_t ns);
void she_hist_clear(she_hist_totals *totals);
void she_hist_add(she_hist_totals *totals, const she_histogram *hist);
/* Summarise totals minus baseline, an earlier copy of the same histograms. A percentile is the
 * upper bound of the bucket that it falls into. */
void she_hist_summarise(const she_hist_totals *totals, const she_hist_totals *baseline,
                        she_hist_summary *out);

#endif
