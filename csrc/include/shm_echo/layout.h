/* The shared mapping, byte for byte. It holds no pointers: each process maps it elsewhere.
 *
 *     0      +--------------------------------------------------+
 *            | she_header: identity | cursors | event counts    |  one 128-byte line each
 *            +--------------------------------------------------+
 *            | she_record[max_producers]                        |  one 128-byte line each
 *            +--------------------------------------------------+
 *            | state words, batch by batch (see she_word_index) |
 *            +--------------------------------------------------+
 *            | commit times, one u64 a slot    (detailed only)  |
 *            | memcpy histograms, a few        (detailed only)  |
 *            +--------------------------------------------------+
 *            | gate | announce queue | order table              |  a loader's ring only: see
 *            |                                                  |  loader_ring.h
 *            +--------------------------------------------------+
 *            | leaf 0: capacity rows, no gaps                   |  64-byte aligned; page aligned
 *            | leaf 1: ...                                      |  if a row fills a page
 *     total  +--------------------------------------------------+
 *
 * All-zero memory is a valid ring at lap 0, so a fresh segment needs only its identity written.
 * Both sides compute sizes and offsets from the agreed configuration (she_layout_compute); no value
 * read from this memory is ever used as an address or a length.
 */
#ifndef SHM_ECHO_LAYOUT_H
#define SHM_ECHO_LAYOUT_H

#include <stddef.h>

#include "shm_echo/atomics.h"
#include "shm_echo/event_count.h"
#include "shm_echo/histogram.h"

#define SHE_MAGIC UINT64_C(0x004f4843454d4853) /* "SHMECHO" */
#define SHE_LAYOUT_VERSION 4u
/* Two cache lines: x86 prefetches them in pairs, and some arm64 processors have 128-byte ones. */
#define SHE_LINE 128
#define SHE_WORDS_PER_CACHE_LINE 8u /* 64-byte lines of 8-byte words */
/* A slot number fits into 32 bits, as she_word_index requires. */
#define SHE_MAX_CAPACITY (UINT32_C(1) << 31)
/* Owner ids have 16 bits: 0 is the server itself, 0xffff is not used. */
#define SHE_MAX_PRODUCERS 65534u

/* ---- state words: lap << 24 | owner << 8 | state --------------------------------------------- */

enum she_state { SHE_FREE = 0, SHE_CLAIMED = 1, SHE_COMMITTED = 2, SHE_HOLE = 3, SHE_SKIP = 4 };

#define SHE_LAP_MASK ((UINT64_C(1) << 40) - 1)

static inline uint64_t she_word(uint64_t lap, uint32_t owner, enum she_state state) {
    return (lap & SHE_LAP_MASK) << 24 | (uint64_t)owner << 8 | (uint64_t)state;
}
static inline uint64_t she_word_lap(uint64_t word) { return word >> 24; }
static inline uint32_t she_word_owner(uint64_t word) { return (uint32_t)(word >> 8) & 0xffffu; }
static inline uint32_t she_word_state(uint64_t word) { return (uint32_t)word & 0xffu; }
/* The word with the owner cleared: one comparison checks lap and state. */
static inline uint64_t she_word_anon(uint64_t word) { return word & ~UINT64_C(0xffff00); }

/* ---- the mapping ----------------------------------------------------------------------------- */

typedef struct {
    /* Identity: written once by the creator, `magic` last. */
    _Alignas(SHE_LINE) she_atomic64 magic;
    uint32_t layout_version;
    uint32_t num_leaves;
    uint64_t total_bytes;
    uint64_t batch_size;
    uint64_t num_buffers;
    uint32_t max_producers;
    uint32_t detailed;
    uint64_t creator_pid;
    uint8_t digest[32]; /* of the tree spec */
    uint32_t run_rows;  /* 0, or the rows of a slot of a loader's ring */

    _Alignas(SHE_LINE) she_atomic64 write_cursor;

    /* Read at every claim, written rarely. */
    _Alignas(SHE_LINE) she_atomic64 hole_gen;
    she_atomic32 closed;

    _Alignas(SHE_LINE) she_event_count space;

    /* Written by a consumer that goes to sleep, read at every commit. */
    _Alignas(SHE_LINE) she_atomic64 awaited;
    she_event_count data;

    _Alignas(SHE_LINE) she_atomic64 taken_cursor;
    she_event_count taken;
    she_atomic32 lent; /* buffers that the learner holds; for the messages of producers only */
} she_header;

/* One producer's line. The counters of metrics never decrease, even when the id gets another owner:
 * a reader that wants the share of one client subtracts the values read when it attached.
 *
 * `begun` and `ended` are the account of its claims: begun - ended claims are open, each of
 * which has its word in the ring once it has found a slot. A learner that finds an overwritten
 * word gives its slot to another producer only while the accounts agree with the words
 * (ring_check.c). */
typedef struct {
    _Alignas(SHE_LINE) she_atomic32 revoked; /* set by the server: no new claims */
    she_atomic64 blocked_count;              /* waits on a full ring */
    she_atomic64 blocked_ns;                 /* time spent in them */
    she_atomic64 blocked_since_ns;           /* start of the current wait; 0 if not blocked */
    she_atomic64 last_seen_ns;               /* CLOCK_MONOTONIC, coarse */
    she_atomic64 cas_success;                /* claims; detailed only, like the next two */
    she_atomic64 cas_failure;                /* CASes of a state word lost to another producer */
    she_atomic64 retries;                    /* iterations of the claim loop without a claim */
    she_atomic64 begun;                      /* claims begun: before the CAS that takes a slot */
    she_atomic64 ended;                      /* claims ended: committed, aborted, or without slot */
    she_atomic64 drainers;                   /* threads that wait for their samples to be taken */
    she_atomic64 at_row; /* a loader's worker: 1 + the number of the row that it makes, or 0 */
} she_record;

_Static_assert(sizeof(she_header) == 6 * SHE_LINE, "header: six lines");
_Static_assert(sizeof(she_record) == SHE_LINE, "record: one line");
_Static_assert(offsetof(she_header, write_cursor) == 1 * SHE_LINE, "layout");
_Static_assert(offsetof(she_header, hole_gen) == 2 * SHE_LINE, "layout");
_Static_assert(offsetof(she_header, space) == 3 * SHE_LINE, "layout");
_Static_assert(offsetof(she_header, awaited) == 4 * SHE_LINE, "layout");
_Static_assert(offsetof(she_header, taken_cursor) == 5 * SHE_LINE, "layout");

/* Producers share a few copy-time histograms, chosen by owner id: few enough for a reader to sum at
 * every batch, and enough to avoid contention between producers. */
#define SHE_HIST_SHARDS 8u

/* An entry of a loader's order table: what belongs into one slot. loader_ring.h has its rules. */
typedef struct {
    uint64_t first_row; /* the number of its first row in the order of all epochs */
    uint32_t count;     /* rows: at most run_rows */
    uint32_t status;    /* written by the owner of the claim: 0, or what went wrong */
    uint32_t epoch;
    uint32_t reserved;
    int64_t index[]; /* count items of the dataset */
} she_run;

/* ---- the configuration that both sides agree on, and the layout that follows from it --------- */

typedef struct {
    uint64_t batch_size;
    uint64_t num_buffers;
    uint32_t num_leaves;
    uint32_t max_producers;
    uint32_t detailed;
    uint32_t run_rows;         /* 0; or a loader's ring, whose slots are runs of so many rows */
    const uint64_t *row_bytes; /* one per leaf, of a slot */
    const uint8_t *digest;     /* 32 bytes */
} she_config;

typedef struct {
    uint64_t records, words, stamps, histograms, gate, queue, runs; /* offsets; 0 if absent */
    uint64_t total_bytes;
    uint64_t word_lines; /* cache lines of state words per batch */
    uint64_t run_bytes;  /* of an entry of the order table */
} she_layout;

#endif
