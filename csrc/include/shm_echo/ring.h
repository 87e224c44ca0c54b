/* The ring: its calls, the threads that may make them, and their results.
 *
 * Handles are private to a process; the mapping that they point into is shared. Functions whose
 * names begin with she_claim, she_commit or she_abort may be called by any thread of the process
 * that holds the she_producer, but she_claim, she_commit, she_commit_many and she_abort of one
 * producer only one at a time: the interpreter lock sees to that, and each thread of the ingress
 * (ingress.h), which runs without that lock, has a producer of its own. The she_consumer has one
 * user at a time, except for she_release, which any thread may call for a batch that it holds, and
 * she_wake_consumer, which any thread may call. Only the server calls she_recover, she_revoke
 * and she_reinstate. No function here allocates after the handle is made, takes a lock, or knows
 * of Python. */
#ifndef SHM_ECHO_RING_H
#define SHM_ECHO_RING_H

#include "shm_echo/layout.h"

/* A wait spins for at most this long before it sleeps, and only if recent waits were shorter: a
 * sleep and a wake together cost about as much (decision 4 in docs/decisions). */
#ifndef SHE_SPIN_NS
#define SHE_SPIN_NS UINT64_C(50000)
#endif

enum she_result {
    SHE_OK = 0,
    SHE_FULL = 1,        /* claim: no free slot; take: no complete batch */
    SHE_CLOSED = 2,      /* the server closed the ring */
    SHE_STOPPED = 3,     /* its own process stopped this producer */
    SHE_REVOKED = 4,     /* the server revoked this producer's right to claim */
    SHE_GIVEN_UP = 5,    /* commit, abort: the claim was recovered; nothing was sent */
    SHE_TIMEOUT = 6,     /* nothing happened in time */
    SHE_INTERRUPTED = 7, /* a signal handler ran */
    SHE_WOKEN = 8,       /* something happened: look again */
    SHE_CORRUPTED = 9,   /* the state word was overwritten; commit: nothing was sent */
    SHE_E_CONFIG = -1,   /* a size is zero, or too large */
    SHE_E_MAGIC = -2,    /* not a ring */
    SHE_E_VERSION = -3,  /* another layout version */
    SHE_E_MISMATCH = -4, /* a ring of another configuration */
    SHE_E_SIZE = -5,     /* the mapping is smaller than the ring */
    SHE_E_MEMORY = -6,   /* no memory for a handle */
};

typedef struct {
    uint64_t offset, row_bytes;
} she_leaf;

/* The standing of an owner id. */
enum she_standing { SHE_ABSENT = 0, SHE_ATTACHED = 1, SHE_BARRED = 2 };

/* Facts that the server alone decides. It keeps them in private memory, out of the reach of stray
 * writes, and the words of the mapping that repeat them for the producers are mended after them. */
typedef struct she_own {
    she_atomic32 closed;
    she_atomic32 marks[]; /* by owner: its standing; then by buffer: 1 while its batch is out */
} she_own;

typedef struct she_ring {
    uint8_t *base;
    she_header *header;
    she_record *records;
    she_atomic64 *words;
    she_atomic64 *stamps;      /* NULL unless detailed */
    she_histogram *histograms; /* NULL unless detailed */
    she_own *own;              /* NULL in a process that has attached */
    void *identity;            /* likewise: a copy of the header's first line */
    she_atomic64 *gate;        /* NULL unless it is a loader's ring, like the next two */
    she_atomic64 *queue;
    uint8_t *runs; /* the order table: she_loader_run */
    uint64_t run_bytes;
    uint32_t run_rows; /* 0 unless it is a loader's ring */
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
    she_atomic64 recent_wait_ns; /* moving average of the waits for space */
    she_atomic64 sent_end;       /* 1 + the highest position committed */
    uint64_t lost_slot;          /* of the last claim whose word was overwritten */
} she_producer;

/* The consumer's view of durations. */
typedef struct she_times {
    she_histogram dwell;           /* commit to hand-out, per sample */
    she_hist_totals copies_before; /* as of the last reset */
    she_hist_totals dwell_before;
    she_hist_totals sum; /* scratch memory for sums */
} she_times;

/* The account of one owner, as she_check has read it. */
typedef struct she_account {
    uint64_t begun, ended;
    uint64_t words; /* CLAIMED words of this owner in the ring */
} she_account;

typedef struct she_consumer {
    she_ring *ring;
    uint64_t next_batch;         /* absolute number of the next batch to hand out */
    uint64_t looked;             /* leading samples of that batch known to be finished */
    she_atomic32 wake_requested; /* a wait that begins now returns at once */
    bool sealed;                 /* the next batch ends early: a wait seals aborted claims */
    uint8_t *skips;              /* by slot of that batch: 1 if she_seal wrote its SKIP */
    uint64_t pushed_gen;         /* the hole_gen that she_check has stored last */
    she_account *accounts;       /* by owner id; scratch memory of she_check */
    uint64_t taken_total;        /* samples handed out */
    uint64_t full_batches;       /* batches handed out in full */
    /* 1 + the batch that was unsealed last: its slots beyond the cursor may be filled. */
    uint64_t unsealed;
    uint64_t recent_wait_ns; /* moving average of the waits */
    uint32_t last_owner;     /* the highest owner id given out so far */
    uint64_t *taken_by;      /* samples handed out, per owner id */
    /* Per buffer, so that she_stats reads each word once: the leading samples known to be
     * committed, and those of them that owner 0 committed. */
    uint64_t *known;
    uint64_t *known_own;
    she_times *times;          /* NULL unless detailed */
    struct she_loader *loader; /* NULL unless it is a loader's ring */
} she_consumer;

/* ---- making and opening (ring_create.c) ------------------------------------------------------ */

int she_layout_compute(const she_config *config, she_layout *layout, uint64_t *leaf_offsets);
/* Format zeroed memory as a ring; or check that memory holds the ring of this configuration. */
int she_ring_create(void *memory, uint64_t bytes, const she_config *config, uint64_t creator_pid,
                    she_ring **out);
int she_ring_attach(void *memory, uint64_t bytes, const she_config *config, she_ring **out);
void she_ring_free(she_ring *ring);
void she_ring_close(she_ring *ring); /* no new claims; wakes every sleeper */

static inline she_atomic32 *she_standing_of(const she_ring *ring, uint32_t owner) {
    return &ring->own->marks[owner];
}
static inline she_atomic32 *she_out_mark(const she_ring *ring, uint64_t batch) {
    return &ring->own->marks[ring->max_producers + 1u + batch % ring->num_buffers];
}
static inline uint64_t she_own_bytes(const she_ring *ring) {
    return sizeof(she_own) + (ring->max_producers + 1u + ring->num_buffers) * sizeof(she_atomic32);
}
/* True if the server has closed the ring. SYNC closed: pairs with the stores in she_ring_close. */
static inline bool she_ring_closed(const she_ring *ring) {
    return she_load32_acquire(ring->own ? &ring->own->closed : &ring->header->closed);
}

static inline void *she_row(const she_ring *ring, uint32_t leaf, uint64_t position) {
    const she_leaf *l = &ring->leaves[leaf];
    return ring->base + l->offset + (position % ring->capacity) * l->row_bytes;
}

/* Index of the state word of a slot, by cache line and place in it. Within a batch, neighbours lie
 * on different cache lines (slot i on line i mod word_lines), so that producers with neighbouring
 * claims do not contend for one line. A batch still lies together, for the consumer's scan. */
static inline uint64_t she_word_at(const she_ring *ring, uint64_t line, uint64_t column) {
#ifdef SHE_PACKED_WORDS /* to measure the effect of spreading: docs/explanation/ring.md */
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

/* The words of a batch, which lie in one piece. Only she_word_index knows their order. */
static inline she_atomic64 *she_batch_words(const she_ring *ring, uint64_t batch) {
    return &ring->words[batch % ring->num_buffers * ring->word_lines * SHE_WORDS_PER_CACHE_LINE];
}
/* The first position from `from` on that lies in this slot. */
static inline uint64_t she_position_from(const she_ring *ring, uint64_t from, uint64_t slot) {
    uint64_t at = from % ring->capacity;
    return from - at + slot + (slot < at ? ring->capacity : 0);
}
static inline uint64_t she_lap_of(const she_ring *ring, uint64_t batch) {
    return batch / ring->num_buffers;
}
static inline bool she_is(uint64_t word, uint64_t lap, enum she_state state) {
    return she_word_anon(word) == she_word(lap, 0, state);
}
/* True if this word does not change any more before its batch is released. */
static inline bool she_finished(uint64_t word, uint64_t lap) {
    return she_is(word, lap, SHE_COMMITTED) || she_is(word, lap, SHE_SKIP);
}

/* ---- producing (ring_produce.c) -------------------------------------------------------------- */

int she_producer_open(she_ring *ring, uint32_t owner, she_producer **out);
void she_producer_free(she_producer *producer);
void she_producer_stop(she_producer *producer); /* its waiters and next claims return SHE_STOPPED */

/* The account of this producer's claims. Not one read-modify-write: only one thread at a time is
 * inside a claim, a commit or an abort of a producer, because the binding holds the interpreter
 * lock there, and each thread of the ingress has a producer of its own. SYNC account: pairs with
 * the loads in she_check. `begun` comes before the CAS that takes a slot, which releases it;
 * `ended` comes after the last access to the row. */
static inline void she_account_begin(she_producer *producer) {
    she_atomic64 *begun = &producer->record->begun;
    she_store_relaxed(begun, she_load_relaxed(begun) + 1);
}
static inline void she_account_end(she_producer *producer) {
    she_atomic64 *ended = &producer->record->ended;
    she_store_release(ended, she_load_relaxed(ended) + 1);
}

/* SHE_OK if this producer may claim, else the reason: SHE_CLOSED, SHE_STOPPED or SHE_REVOKED. */
int she_producer_status(const she_producer *producer);
/* Claim one slot without waiting. Returns SHE_OK and its position, or SHE_FULL, SHE_CLOSED,
 * SHE_STOPPED or SHE_REVOKED. */
int she_claim(she_producer *producer, uint64_t *position);
/* Wait for space, at most timeout_ns. `ticket` is read before the claim that finds the ring
 * full. */
int she_claim_wait(she_producer *producer, uint32_t ticket, int64_t timeout_ns);
static inline uint32_t she_claim_ticket(const she_producer *producer) {
    return she_ec_ticket(&producer->ring->header->space);
}
/* Called before the first wait of a claim and after the last, for the record's counters. The result
 * of she_wait_begin is the argument of she_wait_end. */
uint64_t she_wait_begin(she_producer *producer);
void she_wait_end(she_producer *producer, uint64_t since_ns);
/* SHE_GIVEN_UP: the claim was recovered. SHE_CORRUPTED: its state word was overwritten. In both
 * cases the claim has ended, and the sample was not sent. */
int she_commit(she_producer *producer, uint64_t position);
/* Commit n claims in this order, up to the first that fails; abort the rest. */
int she_commit_many(she_producer *producer, const uint64_t *positions, uint64_t n,
                    uint64_t *committed);
/* Give a claim up: its slot becomes a hole, for the next claimer. */
int she_abort(she_producer *producer, uint64_t position);
/* SHE_OK if every sample that this producer committed has been handed out, else SHE_FULL. */
int she_drained(const she_producer *producer);
int she_drain_wait(she_producer *producer, int64_t timeout_ns);
/* Called before the first she_drain_wait of a wait and after the last: in between, the record shows
 * the server that this producer waits. The consumer is woken, to look. */
void she_drain_begin(she_producer *producer);
void she_drain_end(she_producer *producer);
/* Record that this producer was alive at now_ns. */
void she_heartbeat(she_producer *producer, uint64_t now_ns);
/* Record the time that the copies of one or more samples took; does nothing unless detailed. */
void she_copied(she_producer *producer, uint64_t ns);

/* ---- consuming (ring_consume.c) -------------------------------------------------------------- */

int she_consumer_open(she_ring *ring, she_consumer **out);
void she_consumer_free(she_consumer *consumer);
/* SHE_OK if the next batch is complete, else SHE_FULL. */
int she_ready(she_consumer *consumer);
/* Wait for the next batch. SHE_WOKEN means: something happened, look again. */
int she_ready_wait(she_consumer *consumer, int64_t timeout_ns);
/* Take the complete batch: its absolute number, and the number of samples in it, which is less than
 * batch_size only after she_seal. */
void she_take(she_consumer *consumer, uint64_t *batch, uint64_t *samples);
/* Give a batch's slots back to the producers. */
void she_release(she_ring *ring, uint64_t batch);
/* Pass over the next batch because its memory still holds an earlier batch that is leased. It gets
 * no sample of this lap. Returns its number, under which the memory is released in the end. */
uint64_t she_skip(she_consumer *consumer);
/* Make the consumer's wait return SHE_WOKEN, including a wait that is about to begin. Any thread of
 * the consumer's process may call it. */
void she_wake_consumer(she_consumer *consumer);
/* Fill the rows of a batch with 0xff bytes: NaN in floats, -1 in integers. */
void she_poison(she_ring *ring, uint64_t batch);

/* End the next batch early. Returns the number of its samples that are committed or being written.
 * Until the batch is taken, she_ready_wait leaves out claims that are aborted or recovered, too. */
uint64_t she_seal(she_consumer *consumer);
/* Undo she_seal: the slots that it skipped become holes. */
void she_unseal(she_consumer *consumer);

/* ---- reclaiming (ring_reclaim.c) ------------------------------------------------------------- */

/* Turn every claim of an owner that does not write any more into a hole. Returns their number. */
uint64_t she_recover(she_ring *ring, uint32_t owner);
void she_revoke(she_ring *ring, uint32_t owner);    /* no new claims by this owner */
void she_reinstate(she_ring *ring, uint32_t owner); /* the id has a new owner */

/* ---- checking (ring_check.c) ----------------------------------------------------------------- */

/* The kind of word that was overwritten. */
enum she_damaged {
    SHE_DAMAGED_WORD = 1, /* the state word of a slot */
    SHE_DAMAGED_CURSOR,   /* write_cursor */
    SHE_DAMAGED_TAKEN,    /* taken_cursor */
    SHE_DAMAGED_CLOSED,   /* closed */
    SHE_DAMAGED_REVOKED,  /* revoked, in the record of an owner */
    SHE_DAMAGED_IDENTITY, /* the ring's identity */
};
#define SHE_SUSPECTS 8
typedef struct {
    uint32_t what;     /* enum she_damaged */
    uint32_t suspects; /* SHE_CORRUPTED: owners whose accounts disagree with the words */
    uint64_t slot;     /* of SHE_DAMAGED_WORD; the owner of SHE_DAMAGED_REVOKED */
    uint64_t value;    /* found there */
    uint32_t suspect[SHE_SUSPECTS];
} she_damage;
/* Look for an overwritten word that holds up the next batch. SHE_OK: there is none. SHE_WOKEN: it
 * was mended, look again. SHE_CORRUPTED: it cannot be mended yet, because a producer may still be
 * writing into the slot. The consumer calls this after a wait without progress, and excludes
 * she_recover and she_reinstate: a new owner of the same id may claim the hole that a recovery has
 * just made, and its word would equal the one that was judged. */
int she_check(she_consumer *consumer, she_damage *damage);
/* Mend a word that repeats a decision of the server: closed, revoked, the identity. SHE_WOKEN if
 * one was overwritten, else SHE_OK. The server calls this one at a time, and not while it makes
 * or ends a producer. */
int she_mend(she_ring *ring, uint32_t last_owner, she_damage *damage);

/* ---- observing (ring_observe.c) -------------------------------------------------------------- */

typedef struct {
    uint64_t stored;       /* samples committed and not handed out */
    uint64_t stored_own;   /* those of them that owner 0, the server, committed */
    uint64_t full_batches; /* batches completed so far, handed out or not */
    uint64_t blocked_count, cas_success, cas_failure, retries; /* sums over all records */
} she_ring_stats;
void she_stats(she_consumer *consumer, she_ring_stats *out);
/* The number of samples of `owner` that are committed and not handed out. */
uint64_t she_stored_by(const she_consumer *consumer, uint32_t owner);
/* The number of samples of the next batch that are committed or being written. */
uint64_t she_pending(const she_consumer *consumer);
/* The first claim of the next batch that is still being written, by owner and position; false if
 * there is none. */
bool she_straggler(const she_consumer *consumer, uint32_t *owner, uint64_t *position);
/* The number of samples of the next batch that are committed. */
uint64_t she_committed(const she_consumer *consumer);
/* The same, for a producer: the committed samples of the oldest batch that was not handed out. */
uint64_t she_untaken(const she_ring *ring);
/* True if a thread of this owner waits until its samples are handed out. */
bool she_draining(const she_ring *ring, uint32_t owner);
uint64_t she_held(const she_ring *ring, uint32_t owner); /* the number of its claims */
/* The number of batch buffers that the learner holds, as the server last said. Any process may have
 * written it: for messages only. */
uint32_t she_lent(const she_ring *ring);

typedef struct {
    uint64_t blocked_count, blocked_ns, last_seen_ns, held;
} she_producer_view;
void she_producer_stats(const she_ring *ring, uint32_t owner, she_producer_view *out);
/* The copy times of all owners, and the times from commit to hand-out, since the last reset. Both
 * are empty unless detailed. */
void she_time_summaries(she_consumer *consumer, she_hist_summary *copies, she_hist_summary *dwell);
void she_reset_times(she_consumer *consumer);

/* ---- copying (copy.c) ------------------------------------------------------------------------ */

/* A memcpy that bypasses the cache for large blocks. A later commit is ordered after its stores. */
void she_copy(void *restrict to, const void *restrict from, uint64_t bytes);

/* ---- clocks and peers (clock.c) -------------------------------------------------------------- */

uint64_t she_now_ns(void);
uint64_t she_now_coarse_ns(void); /* a resolution of milliseconds, at a cost of nanoseconds */
/* True if the process behind a pidfd has ended. */
bool she_process_gone(int pidfd);

#endif
