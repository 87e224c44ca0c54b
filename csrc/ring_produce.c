/* Producers claim slots, commit and abort them: PROTOCOL.md has these steps in this order. */
#include <sched.h>
#include <stdlib.h>

#include "shm_echo/fault.h"
#include "shm_echo/ring.h"

int she_producer_open(she_ring *ring, uint32_t owner, she_producer **out) {
    if (owner > ring->max_producers)
        return SHE_E_CONFIG;
    she_producer *p = calloc(1, sizeof *p);
    if (!p)
        return SHE_E_MEMORY;
    p->ring = ring;
    p->owner = owner;
    p->record = &ring->records[owner];
    *out = p;
    return SHE_OK;
}

void she_producer_free(she_producer *p) { free(p); }

void she_producer_stop(she_producer *p) {
    /* Pairs with the load in she_producer_status; stored before the signals (see SYNC closed). */
    she_store32_release(&p->stop, 1);
    /* Other producers share the event counts: they look again and go back to sleep. */
    she_ec_signal(&p->ring->header->space);
    she_ec_signal(&p->ring->header->taken);
}

static bool revoked(const she_producer *p) {
    /* Relaxed: pairs with nothing, because the store in she_revoke publishes no data. It only has
     * to be seen soon. In the server's process the private word decides. */
    if (p->ring->own)
        return she_load32_relaxed(she_standing_of(p->ring, p->owner)) != SHE_ATTACHED;
    return she_load32_relaxed(&p->record->revoked);
}

int she_producer_status(const she_producer *p) {
    /* Pairs with the store in she_producer_stop. */
    if (she_load32_acquire(&p->stop))
        return SHE_STOPPED;
    if (she_ring_closed(p->ring))
        return SHE_CLOSED;
    return revoked(p) ? SHE_REVOKED : SHE_OK;
}

static bool detailed(const she_producer *p) { return p->ring->stamps != NULL; }

/* The CAS of a commit or an abort failed. A recovery revokes the owner first and closes its
 * account; otherwise a stray write has hit the word. */
static int word_lost(she_producer *p, uint64_t position) {
    if (revoked(p))
        return SHE_GIVEN_UP;
    she_account_end(p);
    p->lost_slot = position % p->ring->capacity;
    return SHE_CORRUPTED;
}

/* Claim the first hole. Holes are rare: the scan runs once after each change of hole_gen. */
static bool claim_hole(she_producer *p, uint64_t *position) {
    she_ring *ring = p->ring;
    for (uint64_t slot = 0; slot < ring->capacity; slot++) {
        she_atomic64 *word = &ring->words[she_word_index(ring, slot)];
        uint64_t seen = she_load_acquire(word); /* SYNC slot-free: as the CAS below */
        if (she_word_state(seen) != SHE_HOLE)
            continue;
        SHE_FAULT(SHE_STEP_CLAIM_SCAN);
        /* A hole of any other lap is an overwritten word, and the row's owner may still write.
         * SYNC taken: loaded after the word, so the slots of undelivered samples lie within one
         * lap from here; a hole among them keeps the cursor where it is. */
        uint64_t at = she_position_from(ring, she_load_acquire(&ring->header->taken_cursor), slot);
        uint64_t lap = (at / ring->capacity) & SHE_LAP_MASK;
        if (lap != she_word_lap(seen))
            continue;
        /* SYNC slot-free: pairs with the CAS to HOLE in she_abort, she_recover or she_unseal;
         * acquires the end of all earlier use of this row. */
        if (she_cas_seq(word, seen, she_word(lap, p->owner, SHE_CLAIMED))) {
            SHE_FAULT(SHE_STEP_CLAIM_HOLE);
            if (detailed(p))
                she_add_relaxed(&p->record->cas_success, 1);
            *position = at;
            return true;
        }
    }
    return false;
}

/* A producer is never this many positions behind the write cursor. Any smaller excess of an
 * overwritten cursor shows in the lap of the word there (SHE_LAP_MASK / 2 laps of a slot or
 * more). */
#define FAR (UINT64_C(1) << 39)

static bool beyond(const she_ring *ring, uint64_t w) {
    /* SYNC taken: any value that the learner has stored is at most a lap behind the cursor. */
    uint64_t taken = she_load_acquire(&ring->header->taken_cursor);
    return w > taken && w - taken > ring->capacity;
}

/* For w, the first position of a batch: true if the batch's last lap is not taken yet. Its word
 * then is an overwritten one: a learner that has read the former word hands that row out. SYNC
 * taken: loaded after the word, which the learner frees after it has moved the cursor. */
static bool too_early(const she_ring *ring, uint64_t w) {
    uint64_t taken = she_load_acquire(&ring->header->taken_cursor);
    return w >= taken && w - taken >= ring->capacity;
}

static int claim(she_producer *p, uint64_t *position) {
    she_ring *ring = p->ring;
    she_header *h = ring->header;
    for (;;) {
        /* SYNC hole-gen: pairs with the increments in she_abort, she_recover and she_unseal, which
         * come after their holes: a scan that follows this load finds them. */
        uint64_t gen = she_load_seq(&h->hole_gen);
        if (gen != she_load_relaxed(&p->seen_gen)) {
            if (claim_hole(p, position))
                return SHE_OK;
            /* Relaxed: threads of this process may overwrite it, which costs one scan. */
            she_store_relaxed(&p->seen_gen, gen);
        }
        /* SYNC write-cursor: pairs with the CASes below. A hint: the state word decides. */
        uint64_t w = she_load_acquire(&h->write_cursor);
        if (w - she_load_relaxed(&p->sent_end) > FAR && beyond(ring, w))
            return SHE_FULL; /* overwritten: the learner sets it back */
        uint64_t lap = (w / ring->capacity) & SHE_LAP_MASK, slot = w % ring->capacity;
        bool first = (uint32_t)slot % (uint32_t)ring->batch_size == 0;
        she_atomic64 *word = &ring->words[she_word_index(ring, slot)];
        uint64_t seen = she_load_acquire(word); /* SYNC slot-free: as the CAS below */
        SHE_FAULT(SHE_STEP_CLAIM_LOOKED);
        uint64_t ahead = (she_word_lap(seen) - lap) & SHE_LAP_MASK;
        if (ahead > SHE_LAP_MASK / 2)
            return SHE_FULL; /* still of an earlier lap */
        if (ahead == 0) {
            uint32_t state = she_word_state(seen);
            if (state == SHE_FREE || state == SHE_HOLE) {
                if (first && too_early(ring, w))
                    return SHE_FULL;
                /* SYNC slot-free: pairs with the store in she_release, or with the CAS to HOLE;
                 * acquires the end of all earlier use of this row. */
                if (she_cas_seq(word, seen, she_word(lap, p->owner, SHE_CLAIMED))) {
                    SHE_FAULT(SHE_STEP_CLAIM_TAKEN);
                    /* SYNC write-cursor: pairs with the load above, of other claimers. It fails if
                     * another producer has moved the cursor on this one's behalf. */
                    she_cas_seq(&h->write_cursor, w, w + 1);
                    SHE_FAULT(SHE_STEP_CLAIM_MOVED);
                    if (detailed(p))
                        she_add_relaxed(&p->record->cas_success, 1);
                    *position = w;
                    return SHE_OK;
                }
                if (detailed(p)) {
                    she_add_relaxed(&p->record->cas_failure, 1);
                    she_add_relaxed(&p->record->retries, 1);
                }
                continue;
            }
        }
        /* The slot is claimed, committed, skipped, or even released again: a sealed batch can be
         * released without any producer having moved the cursor over it. In each case there is
         * nothing to claim at w, so move the cursor (SYNC write-cursor). If it is more than a lap
         * behind its slot, either this copy is stale and the CAS fails, or the cursor itself is:
         * then it has to catch up by whole laps, or this loop would never end. */
        uint64_t laps = ahead > 1 ? ahead - 1 : 0;
        she_cas_seq(&h->write_cursor, w, laps ? w + laps * ring->capacity : w + 1);
        if (detailed(p))
            she_add_relaxed(&p->record->retries, 1);
    }
}

int she_claim(she_producer *p, uint64_t *position) {
    int rc = she_producer_status(p);
    if (rc != SHE_OK)
        return rc;
    SHE_FAULT(SHE_STEP_CLAIM_START);
    she_account_begin(p);
    rc = claim(p, position);
    if (rc != SHE_OK)
        she_account_end(p);
    return rc;
}

/* As the consumer does (spin in ring_consume.c): if recent waits were short, poll for a moment
 * before going to sleep. That spares the learner the system call that wakes this producer. */
static bool spin(const she_producer *p, uint32_t ticket, uint64_t began) {
    if (she_load_relaxed(&p->recent_wait_ns) > SHE_SPIN_NS) /* relaxed: a heuristic */
        return false;
    for (unsigned round = 0;; round++) {
        for (int i = 0; i < 8; i++) /* the numbers are those of ring_consume.c */
            she_pause();
        if ((she_claim_ticket(p) | 1u) != (ticket | 1u)) /* not just another sleeper's bit */
            return true;
        if (round % 4 == 3) {
            if (she_now_ns() - began > SHE_SPIN_NS)
                return false;
            if (round > 32)
                sched_yield();
        }
    }
}

int she_claim_wait(she_producer *p, uint32_t ticket, int64_t timeout_ns) {
    int rc = she_producer_status(p);
    if (rc != SHE_OK)
        return rc;
    uint64_t began = she_now_ns();
    int woken = SHE_WAIT_WOKEN;
    if (timeout_ns <= (int64_t)SHE_SPIN_NS || !spin(p, ticket, began))
        woken = she_ec_wait(&p->ring->header->space, ticket, timeout_ns);
    /* A moving average over about four waits. Relaxed: threads that share a producer may lose each
     * other's updates, which only affects when they spin. */
    uint64_t recent = she_load_relaxed(&p->recent_wait_ns);
    she_store_relaxed(&p->recent_wait_ns, (3 * recent + (she_now_ns() - began)) / 4);
    switch (woken) {
    case SHE_WAIT_TIMEOUT:
        return SHE_TIMEOUT;
    case SHE_WAIT_INTERRUPTED:
        return SHE_INTERRUPTED;
    default:
        return SHE_WOKEN;
    }
}

uint64_t she_wait_begin(she_producer *p) {
    uint64_t now = she_now_ns();
    /* Relaxed, and paired with nothing: counters for metrics. */
    she_add_relaxed(&p->record->blocked_count, 1);
    she_store_relaxed(&p->record->blocked_since_ns, now);
    return now;
}

void she_wait_end(she_producer *p, uint64_t since_ns) {
    /* Relaxed: see she_wait_begin. */
    she_store_relaxed(&p->record->blocked_since_ns, 0);
    she_add_relaxed(&p->record->blocked_ns, she_now_ns() - since_ns);
}

/* The consumer sleeps on `position`, which is now committed: make it await the next missing sample
 * of the batch, or wake it if there is none. */
static void pass_baton(she_ring *ring, uint64_t position) {
    she_header *h = ring->header;
    uint64_t lap = position / ring->capacity;
    uint64_t end = position - position % ring->batch_size + ring->batch_size;
    SHE_FAULT(SHE_STEP_COMMIT_BATON);
    for (;;) {
        uint64_t next = position + 1;
        /* Relaxed would do: these loads only choose, and the load after the CAS below decides. */
        while (next < end && she_finished(she_load_seq(she_state_word(ring, next)), lap))
            next++;
        if (next == end) {
            SHE_FAULT(SHE_STEP_COMMIT_SIGNAL);
            she_ec_signal(&h->data);
            return;
        }
        SHE_FAULT(SHE_STEP_COMMIT_CHOSEN);
        /* SYNC awaited: written, then the state word read; the committer of `next` writes its state
         * word, then reads this. In one total order at least one of us sees the other. */
        if (!she_cas_seq(&h->awaited, position + 1, next + 1))
            return; /* the consumer woke and checks by itself, or another committer passed it on */
        SHE_FAULT(SHE_STEP_COMMIT_PASSED);
        uint64_t seen = she_load_seq(she_state_word(ring, next)); /* SYNC awaited: as above */
        if (she_word_state(seen) == SHE_HOLE) {
            /* Perhaps no producer ever fills it. A consumer that ends its batch early skips it. */
            she_ec_signal(&h->data);
            return;
        }
        if (!she_finished(seen, lap))
            return;
        position = next;
    }
}

static int commit(she_producer *p, uint64_t position) {
    she_ring *ring = p->ring;
    uint64_t lap = position / ring->capacity;
    if (detailed(p))
        /* Relaxed: the CAS below releases it. */
        she_store_relaxed(&ring->stamps[position % ring->capacity], she_now_ns());
    SHE_FAULT(SHE_STEP_COMMIT_START);
    /* SYNC slot-commit: pairs with the load in she_ready; releases the sample's bytes. */
    if (!she_cas_seq(she_state_word(ring, position), she_word(lap, p->owner, SHE_CLAIMED),
                     she_word(lap, p->owner, SHE_COMMITTED)))
        return word_lost(p, position);
    SHE_FAULT(SHE_STEP_COMMITTED);
    she_account_end(p);
    /* SYNC awaited: pairs with the store in sleep_until_ready. The state word is written; now read
     * the position that the consumer waits for. */
    if (she_load_seq(&ring->header->awaited) == position + 1)
        pass_baton(ring, position);
    return SHE_OK;
}

int she_commit(she_producer *p, uint64_t position) {
    uint64_t committed;
    return she_commit_many(p, &position, 1, &committed);
}

int she_commit_many(she_producer *p, const uint64_t *positions, uint64_t n, uint64_t *committed) {
    uint64_t last = 0;
    int rc = SHE_OK;
    for (*committed = 0; *committed < n; ++*committed) {
        uint64_t position = positions[*committed];
        if ((rc = commit(p, position)) != SHE_OK)
            break;
        if (position >= last)
            last = position + 1;
    }
    she_max_relaxed(&p->sent_end, last); /* relaxed: private to this process, for she_drained */
    for (uint64_t rest = *committed + 1; rc != SHE_OK && rest < n; rest++)
        (void)she_abort(p, positions[rest]); /* or the learner would wait for them */
    return rc;
}

int she_abort(she_producer *p, uint64_t position) {
    she_ring *ring = p->ring;
    uint64_t lap = position / ring->capacity;
    SHE_FAULT(SHE_STEP_ABORT_START);
    /* SYNC slot-free: pairs with the load and the CAS in she_claim, claim_hole and she_seal;
     * releases this producer's last access to the row. */
    if (!she_cas_seq(she_state_word(ring, position), she_word(lap, p->owner, SHE_CLAIMED),
                     she_word(lap, 0, SHE_HOLE)))
        return word_lost(p, position);
    SHE_FAULT(SHE_STEP_ABORT_HOLE);
    she_account_end(p);
    /* SYNC hole-gen: pairs with the load in she_claim; after the hole was made. */
    she_add_seq(&ring->header->hole_gen, 1);
    SHE_FAULT(SHE_STEP_ABORT_BUMPED);
    she_ec_signal(&ring->header->space);
    /* Even if the consumer awaits another sample: one that is ending its batch early may have seen
     * this claim and not have written yet that it awaits it. */
    she_ec_signal(&ring->header->data);
    return SHE_OK;
}

int she_drained(const she_producer *p) {
    /* SYNC taken: pairs with the stores in she_take and she_skip. The cursor alone is the answer;
     * no other memory of the learner is read. `sent_end` is private to this process. */
    uint64_t taken = she_load_acquire(&p->ring->header->taken_cursor);
    /* SYNC write-cursor: the learner is at most a lap ahead of it, or a cursor is overwritten. */
    uint64_t written = she_load_acquire(&p->ring->header->write_cursor);
    bool plausible = taken <= written || taken - written <= p->ring->capacity;
    return plausible && taken >= she_load_relaxed(&p->sent_end) ? SHE_OK : SHE_FULL;
}

int she_drain_wait(she_producer *p, int64_t timeout_ns) {
    she_event_count *taken = &p->ring->header->taken;
    uint32_t ticket = she_ec_ticket(taken);
    if (she_drained(p) == SHE_OK)
        return SHE_OK;
    int rc = she_producer_status(p);
    if (rc != SHE_OK)
        return rc;
    switch (she_ec_wait(taken, ticket, timeout_ns)) {
    case SHE_WAIT_TIMEOUT:
        return SHE_TIMEOUT;
    case SHE_WAIT_INTERRUPTED:
        return SHE_INTERRUPTED;
    default:
        return SHE_WOKEN;
    }
}

void she_drain_begin(she_producer *p) {
    /* Relaxed: the signal that follows releases it (SYNC ec-signal). A consumer that does not look
     * after it sees the word at its next look. */
    she_add_relaxed(&p->record->drainers, 1);
    she_ec_signal(&p->ring->header->data);
}

void she_drain_end(she_producer *p) {
    she_add_relaxed(&p->record->drainers, UINT64_MAX); /* minus one; relaxed: see above */
}

void she_heartbeat(she_producer *p, uint64_t now_ns) {
    she_store_relaxed(&p->record->last_seen_ns, now_ns); /* relaxed: for metrics */
}

void she_copied(she_producer *p, uint64_t ns) {
    if (detailed(p))
        she_hist_record(&p->ring->histograms[p->owner % SHE_HIST_SHARDS], ns);
}
