/* The ring: who may call what, and what comes back.
 *
 * Handles are private to a process; the mapping that they point into is shared. Functions whose
 * names begin with she_claim, she_commit or she_abort may be called by any thread of the process
 * that holds the she_producer. The she_consumer has one user at a time, but for she_release, which
 * any thread may call for a batch that it holds. The she_recover and she_revoke families are the
 * server's. Nothing here allocates after the handle is made, takes a lock, or knows of Python.
 */
#ifndef SHM_ECHO_RING_H
#define SHM_ECHO_RING_H

#include "shm_echo/layout.h"

/* A wait spins for so long at most before it sleeps, and only where recent waits were shorter. */
#ifndef SHE_SPIN_NS
#define SHE_SPIN_NS UINT64_C(50000)
#endif

enum she_result {
    SHE_OK = 0,
    SHE_FULL = 1,     /* claim: no free slot; take: no complete batch */
    SHE_CLOSED = 2,   /* the server closed the ring */
    SHE_STOPPED = 3,  /* this producer was stopped by its own process */
    SHE_REVOKED = 4,  /* the server makes this producer claim no more */
    SHE_GIVEN_UP = 5, /* commit: the claim is no longer ours; the sample was not sent */
    SHE_TIMEOUT = 6,
    SHE_INTERRUPTED = 7, /* a signal handler ran */
    SHE_WOKEN = 8,       /* something happened: look again */
    SHE_E_CONFIG = -1,   /* a size is zero, or too large */
    SHE_E_MAGIC = -2,    /* not a ring */
    SHE_E_VERSION = -3,  /* another layout version */
    SHE_E_MISMATCH = -4, /* a ring of another configuration */
    SHE_E_SIZE = -5,     /* the mapping is smaller than the ring */
    SHE_E_MEMORY = -6,
};

typedef struct {
    uint64_t offset, row_bytes;
} she_leaf;

typedef struct she_ring {
    uint8_t *base;
    she_header *header;
    she_record *records;
    she_atomic64 *words;
    she_atomic64 *stamps;      /* NULL unless detailed */
    she_histogram *histograms; /* NULL unless detailed */
    uint64_t batch_size, num_buffers, capacity;
    uint32_t word_lines, max_producers, num_leaves;
    she_leaf leaves[];
} she_ring;

typedef struct she_producer {
    she_ring *ring;
    she_record *record;
    uint32_t owner;
    she_atomic32 stop;           /* this process closes the producer */
    she_atomic64 seen_gen;       /* hole_gen at which a scan found no hole */
    she_atomic64 recent_wait_ns; /* how long the last waits for space took, on average */
    she_atomic64 sent_end;       /* 1 + the highest position committed */
} she_producer;

/* What the consumer keeps about durations. */
typedef struct she_times {
    she_histogram dwell;           /* commit to hand-out, per sample */
    she_hist_totals copies_before; /* at the last reset */
    she_hist_totals dwell_before;
    she_hist_totals sum; /* room to add up in */
} she_times;

typedef struct she_consumer {
    she_ring *ring;
    uint64_t next_batch;         /* absolute; the next one to hand out */
    uint64_t looked;             /* samples of it that are known to be finished */
    she_atomic32 wake_requested; /* a wait that begins now shall return at once */
    bool sealed;                 /* it ends early: a wait seals again what is given up meanwhile */
    uint64_t taken_total;        /* samples handed out */
    uint64_t full_batches;       /* batches handed out in full */
    /* 1 + the batch whose seal was undone last: it may be filled beyond the cursor. */
    uint64_t unsealed;
    uint64_t recent_wait_ns; /* how long the last waits took, on average */
    uint32_t last_owner;     /* the highest owner id given out so far */
    uint64_t *taken_by;      /* samples handed out, per owner id */
    /* Per buffer, so that she_stats need not look at them again: the samples from its start on that
     * are known to be committed, and those of them that owner 0 committed. */
    uint64_t *known;
    uint64_t *known_own;
    she_times *times; /* NULL unless detailed */
} she_consumer;

/* ---- making and opening (ring_create.c) ------------------------------------------------------ */

int she_layout_compute(const she_config *config, she_layout *layout, uint64_t *leaf_offsets);
/* Format zeroed memory as a ring, or check that it is the ring of this configuration. */
int she_ring_create(void *memory, uint64_t bytes, const she_config *config, uint64_t creator_pid,
                    she_ring **out);
int she_ring_attach(void *memory, uint64_t bytes, const she_config *config, she_ring **out);
void she_ring_free(she_ring *ring);
void she_ring_close(she_ring *ring); /* no new claims; every sleeper wakes */

static inline void *she_row(const she_ring *ring, uint32_t leaf, uint64_t position) {
    const she_leaf *l = &ring->leaves[leaf];
    return ring->base + l->offset + (position % ring->capacity) * l->row_bytes;
}

/* Index of the state word of slot `slot`. Within a batch, neighbours lie on different cache lines
 * (slot i on line i mod word_lines), so that producers which claim one after the other do not fight
 * for one line; a whole batch still lies together, for the consumer's scan. */
static inline uint64_t she_word_at(const she_ring *ring, uint64_t line, uint64_t column) {
#ifdef SHE_PACKED_WORDS /* to measure what spreading gains and costs: docs/explanation/ring.md */
    return column * ring->word_lines + line;
#else
    (void)ring;
    return line * SHE_WORDS_PER_CACHE_LINE + column;
#endif
}
static inline uint64_t she_word_index(const she_ring *ring, uint64_t slot) {
    uint32_t s = (uint32_t)slot, bs = (uint32_t)ring->batch_size, lines = ring->word_lines;
    uint32_t batch = s / bs, i = s % bs;
    return (uint64_t)batch * lines * SHE_WORDS_PER_CACHE_LINE +
           she_word_at(ring, i % lines, i / lines);
}
static inline she_atomic64 *she_state_word(const she_ring *ring, uint64_t position) {
    return &ring->words[she_word_index(ring, position % ring->capacity)];
}

/* The words of a batch lie in one piece, in an order that is nobody's business but she_word_index's. */
static inline she_atomic64 *she_batch_words(const she_ring *ring, uint64_t batch) {
    return &ring->words[batch % ring->num_buffers * ring->word_lines * SHE_WORDS_PER_CACHE_LINE];
}
static inline uint64_t she_lap_of(const she_ring *ring, uint64_t batch) {
    return batch / ring->num_buffers;
}
static inline bool she_is(uint64_t word, uint64_t lap, enum she_state state) {
    return she_word_anon(word) == she_word(lap, 0, state);
}
/* Nothing more will happen to this sample before the batch is released. */
static inline bool she_finished(uint64_t word, uint64_t lap) {
    return she_is(word, lap, SHE_COMMITTED) || she_is(word, lap, SHE_SKIP);
}

/* ---- producing (ring_produce.c) -------------------------------------------------------------- */

int she_producer_open(she_ring *ring, uint32_t owner, she_producer **out);
void she_producer_free(she_producer *producer);
void she_producer_stop(she_producer *producer); /* its waiters and next claims return SHE_STOPPED */

/* Why this producer may claim nothing (CLOSED, STOPPED, REVOKED), or SHE_OK. */
int she_producer_status(const she_producer *producer);
/* Claim one slot: SHE_OK and its position, or FULL, CLOSED, STOPPED, REVOKED. Never waits. */
int she_claim(she_producer *producer, uint64_t *position);
/* Wait for space, at most timeout_ns; `ticket` was read before the claim that found the ring full. */
int she_claim_wait(she_producer *producer, uint32_t ticket, int64_t timeout_ns);
static inline uint32_t she_claim_ticket(const she_producer *producer) {
    return she_ec_ticket(&producer->ring->header->space);
}
/* Around the waits of one claim, for the record's counters. */
uint64_t she_wait_begin(she_producer *producer);
void she_wait_end(she_producer *producer, uint64_t since_ns);
int she_commit(she_producer *producer, uint64_t position);
/* Commit n claims in this order; stops at the first that was given up. */
int she_commit_many(she_producer *producer, const uint64_t *positions, uint64_t n,
                    uint64_t *committed);
int she_abort(she_producer *producer, uint64_t position);
/* Has everything that this producer committed been handed out? SHE_OK, or SHE_FULL: not yet. */
int she_drained(const she_producer *producer);
int she_drain_wait(she_producer *producer, int64_t timeout_ns);
void she_heartbeat(she_producer *producer, uint64_t now_ns);
/* Record the time of one reservation's copies (detailed only; else nothing). */
void she_copied(she_producer *producer, uint64_t ns);

/* ---- consuming (ring_consume.c) -------------------------------------------------------------- */

int she_consumer_open(she_ring *ring, she_consumer **out);
void she_consumer_free(she_consumer *consumer);
/* SHE_OK when the next batch is complete, SHE_FULL when it is not. */
int she_ready(she_consumer *consumer);
/* Wait for it; may return SHE_WOKEN when it is not there yet. */
int she_ready_wait(she_consumer *consumer, int64_t timeout_ns);
/* Take the complete batch: its absolute number and how many samples it holds (fewer than batch_size only after she_seal). */
void she_take(she_consumer *consumer, uint64_t *batch, uint64_t *samples);
void she_release(she_ring *ring, uint64_t batch);
/* Pass over the next batch because its memory still holds an earlier one that is leased: it holds no
 * sample of this lap. Returns its number, with which the memory is to be released in the end. */
uint64_t she_skip(she_consumer *consumer);
/* Make a wait of the consumer return SHE_WOKEN, one that is about to begin included. Any thread of the
 * consumer's process may call it. */
void she_wake_consumer(she_consumer *consumer);
/* Fill the rows of a batch with 0xff bytes: NaN in floats, -1 in integers. */
void she_poison(she_ring *ring, uint64_t batch);

/* End the next batch early. Returns how many samples of it are committed or being written; until it is
 * taken, a claim that is given up is left out too when she_ready_wait sees it. */
uint64_t she_seal(she_consumer *consumer);
void she_unseal(she_consumer *consumer);

/* ---- reclaiming (ring_reclaim.c) ------------------------------------------------------------- */

/* Turn every claim of an owner that writes no more into a hole. Returns how many there were. */
uint64_t she_recover(she_ring *ring, uint32_t owner);
void she_revoke(she_ring *ring, uint32_t owner);    /* no new claims by this owner */
void she_reinstate(she_ring *ring, uint32_t owner); /* the id has a new owner */

/* ---- looking (ring_observe.c) ---------------------------------------------------------------- */

typedef struct {
    uint64_t stored;       /* committed, not handed out */
    uint64_t stored_own;   /* those of them that owner 0 committed: the server itself */
    uint64_t full_batches; /* completed so far, handed out or not */
    uint64_t blocked_count, cas_success, cas_failure, retries; /* sums over all records */
} she_ring_stats;
void she_stats(she_consumer *consumer, she_ring_stats *out);
/* The samples of owner `owner` that are committed but not handed out. */
uint64_t she_stored_by(const she_consumer *consumer, uint32_t owner);
/* The samples of the next batch that are committed or being written. */
uint64_t she_pending(const she_consumer *consumer);
/* The first claim of the next batch that is still being written: its owner and position. */
bool she_straggler(const she_consumer *consumer, uint32_t *owner, uint64_t *position);
uint64_t she_held(const she_ring *ring, uint32_t owner); /* its claims */

typedef struct {
    uint64_t blocked_count, blocked_ns, last_seen_ns, held;
} she_producer_view;
void she_producer_stats(const she_ring *ring, uint32_t owner, she_producer_view *out);
/* The copy times of all owners, and the times from commit to hand-out, since the last reset (detailed
 * only; else they are empty). */
void she_time_summaries(she_consumer *consumer, she_hist_summary *copies, she_hist_summary *dwell);
void she_reset_times(she_consumer *consumer);

/* ---- copying (copy.c) ------------------------------------------------------------------------ */

/* memcpy, past the cache for large blocks; what it wrote is ordered before a later commit. */
void she_copy(void *restrict to, const void *restrict from, uint64_t bytes);

/* ---- clocks and peers (clock.c) -------------------------------------------------------------- */

uint64_t she_now_ns(void);
uint64_t she_now_coarse_ns(void); /* a few milliseconds coarse, a few nanoseconds dear */
bool she_process_gone(int pidfd);

#endif
