/* Looks for words that a stray write has hit, and mends them. PROTOCOL.md has the rule ("Check").
 *
 * Nothing here runs while samples flow: she_check follows a wait without progress. A word is
 * overwritten if no step of the protocol leaves that value there. A value that some step would
 * write there cannot be told from the real one; docs/explanation/crash-safety.md names these.
 *
 * The row of an overwritten word may still belong to a producer that is writing into it. So the
 * word becomes a hole only while no claim lacks its word: see `settled`.
 */
#include <string.h>

#include "shm_echo/ring.h"

static int found(she_damage *d, enum she_damaged what, uint64_t slot, uint64_t value) {
    d->what = (uint32_t)what;
    d->slot = slot;
    d->value = value;
    return SHE_WOKEN;
}

int she_mend(she_ring *ring, uint32_t last_owner, she_damage *d) {
    she_header *h = ring->header;
    *d = (she_damage){0};
    /* The identity does not change after the creation, so a plain comparison will do. */
    if (memcmp(ring->identity, h, SHE_LINE) != 0) {
        memcpy(h, ring->identity, SHE_LINE);
        return found(d, SHE_DAMAGED_IDENTITY, 0, 0);
    }
    uint32_t closed = she_load32_acquire(&h->closed); /* SYNC closed: before the private word */
    if (closed && !she_ring_closed(ring)) {
        (void)she_exchange32_seq(&h->closed, 0);
        if (she_ring_closed(ring)) /* closed meanwhile: SYNC closed, the private word comes first */
            she_store32_release(&h->closed, 1);
        she_ec_signal(&h->space);
        she_ec_signal(&h->taken);
        return found(d, SHE_DAMAGED_CLOSED, 0, closed);
    }
    for (uint32_t owner = 1; owner <= last_owner; owner++) {
        she_atomic32 *word = &ring->records[owner].revoked;
        /* Relaxed: the caller excludes she_revoke and she_reinstate. */
        uint32_t standing = she_load32_relaxed(she_standing_of(ring, owner));
        uint32_t revoked = she_load32_relaxed(word);
        if (standing == SHE_ABSENT || (standing == SHE_BARRED) == (revoked != 0))
            continue;
        she_store32_release(word, standing == SHE_BARRED);
        she_ec_signal(&h->space);
        she_ec_signal(&h->taken);
        return found(d, SHE_DAMAGED_REVOKED, owner, revoked);
    }
    return SHE_OK;
}

/* ---- the words of the next batch ------------------------------------------------------------- */

/* A word that holds the next batch up. `holes` is set if one of its words is a legal hole. */
typedef struct {
    uint64_t position, word, cursor;
    bool found, at_cursor, holes;
} suspect;

/* True if a claim of the word's owner may be open, so that the word may be legal. */
static bool may_claim(const she_ring *ring, uint64_t word) {
    uint32_t owner = she_word_owner(word);
    if (owner > ring->max_producers ||
        she_load32_acquire(she_standing_of(ring, owner)) == SHE_ABSENT) /* see she_revoke */
        return false;
    /* SYNC account: as in read_accounts. */
    const she_record *record = &ring->records[owner];
    return she_load_acquire(&record->begun) != she_load_acquire(&record->ended);
}

/* Judge the word of sample i of the next batch; stop at the first overwritten one. */
static void judge(const she_consumer *c, uint64_t i, uint64_t word, suspect *s) {
    const she_ring *ring = c->ring;
    uint64_t lap = she_lap_of(ring, c->next_batch), p = c->next_batch * ring->batch_size + i;
    if (s->found || (c->skips[i] && she_is(word, lap, SHE_SKIP)))
        return;
    switch (she_word_lap(word) == (lap & SHE_LAP_MASK) ? she_word_state(word) : UINT32_MAX) {
    case SHE_COMMITTED:
        return;
    case SHE_HOLE:
        s->holes = true;
        return;
    case SHE_CLAIMED:
        s->found = !may_claim(ring, word);
        break;
    case SHE_FREE: /* the cursor passes a slot only once it is taken */
        s->found = s->at_cursor = p < s->cursor;
        break;
    default:
        s->found = true;
    }
    s->position = p;
    s->word = word;
}

static suspect look(const she_consumer *c) {
    const she_ring *ring = c->ring;
    suspect s = {0};
    /* SYNC write-cursor: before the words. It moves over a word after that was taken. */
    s.cursor = she_load_acquire(&ring->header->write_cursor);
    for (uint64_t i = c->looked; i < ring->batch_size && !s.found; i++)
        judge(c, i, she_load_seq(she_state_word(ring, c->next_batch * ring->batch_size + i)), &s);
    return s;
}

/* ---- the accounts ---------------------------------------------------------------------------- */

static bool account_moved(const she_ring *ring, uint32_t owner, she_account *a) {
    /* SYNC account: pairs with the stores in she_account_begin, she_account_end and
     * she_recover. */
    uint64_t begun = she_load_acquire(&ring->records[owner].begun);
    uint64_t ended = she_load_acquire(&ring->records[owner].ended);
    bool moved = begun != a->begun || ended != a->ended;
    a->begun = begun;
    a->ended = ended;
    return moved;
}

/* Read the accounts, all words, and the accounts again. True if no account has moved meanwhile and
 * every open claim has its word: then no live producer holds the slot of an overwritten word. A
 * producer without open claims has only forged words. `s` becomes the suspect of this scan. */
static bool settled(she_consumer *c, suspect *s, she_damage *d) {
    const she_ring *ring = c->ring;
    uint64_t first = c->next_batch * ring->batch_size;
    for (uint32_t owner = 0; owner <= c->last_owner; owner++) {
        (void)account_moved(ring, owner, &c->accounts[owner]);
        c->accounts[owner].words = 0;
    }
    *s = (suspect){.cursor = she_load_acquire(&ring->header->write_cursor)}; /* as in look */
    for (uint64_t p = first; p < first + ring->capacity; p++) {
        uint64_t word = she_load_seq(she_state_word(ring, p)), lap = p / ring->capacity;
        uint32_t owner = she_word_owner(word);
        /* Only of the lap that is due: a forged word of another lap is no claim. */
        if (she_is(word, lap, SHE_CLAIMED) && owner <= c->last_owner)
            c->accounts[owner].words++;
        if (p < first + ring->batch_size && p - first >= c->looked)
            judge(c, p - first, word, s);
    }
    for (uint32_t owner = 0; owner <= c->last_owner; owner++) {
        she_account *a = &c->accounts[owner];
        bool moved = account_moved(ring, owner, a);
        /* An id without a producer has no claims, whatever a stray write left in its record. */
        bool absent = she_load32_acquire(she_standing_of(ring, owner)) == SHE_ABSENT;
        uint64_t open = absent ? 0 : a->begun - a->ended;
        if ((moved || (open != 0 && open != a->words)) && d->suspects < SHE_SUSPECTS)
            d->suspect[d->suspects++] = owner;
    }
    return d->suspects == 0;
}

/* Far more than all holes of a run, so that the sum is a value that no producer has seen. */
#define GEN_STEP (UINT64_C(1) << 32)

/* Make producers look for holes again: a stray write may have set hole_gen back to a value that
 * they have seen, or that they will see before the next increment. */
static void push_holes(she_consumer *c) {
    she_header *h = c->ring->header;
    /* SYNC hole-gen: pairs with the load in she_claim; after the holes were made. */
    c->pushed_gen = she_add_seq(&h->hole_gen, GEN_STEP) + GEN_STEP;
    she_ec_signal(&h->space);
}

int she_check(she_consumer *c, she_damage *d) {
    she_ring *ring = c->ring;
    she_header *h = ring->header;
    uint64_t next = c->next_batch * ring->batch_size;
    *d = (she_damage){0};
    uint64_t taken = she_load_relaxed(&h->taken_cursor); /* relaxed: this side alone writes it */
    if (taken != next) {
        she_store_seq(&h->taken_cursor, next); /* SYNC taken: pairs with the load in she_drained */
        she_ec_signal(&h->taken);
        she_ec_signal(&h->space);
        return found(d, SHE_DAMAGED_TAKEN, 0, taken);
    }
    /* Acquire: the words are released if the mark is not found (set_out in ring_consume.c). */
    if (she_load32_acquire(she_out_mark(ring, c->next_batch)))
        return SHE_OK; /* its memory still holds an earlier batch */
    suspect s = look(c);
    bool push = s.holes && she_load_seq(&h->hole_gen) != c->pushed_gen; /* SYNC hole-gen: a hint */
    if (!s.found && !push)
        return SHE_OK;
    if (!settled(c, &s, d)) {
        uint32_t suspects = d->suspects;
        if (!s.found)
            return SHE_OK;
        (void)found(d, s.at_cursor ? SHE_DAMAGED_CURSOR : SHE_DAMAGED_WORD,
                    s.position % ring->capacity, s.at_cursor ? s.cursor : s.word);
        d->suspects = suspects;
        return SHE_CORRUPTED;
    }
    if (!s.found) {
        push_holes(c);
        return SHE_OK;
    }
    if (s.at_cursor) {
        /* SYNC write-cursor: a hint, so any lower value is as good; this one costs no retries. */
        if (she_cas_seq(&h->write_cursor, s.cursor, s.position))
            she_ec_signal(&h->space);
        return found(d, SHE_DAMAGED_CURSOR, s.position % ring->capacity, s.cursor);
    }
    c->skips[s.position - next] = 0; /* it may be filled now */
    /* SYNC slot-free: pairs with the CAS in claim_hole. No producer accesses the row: see
     * settled. */
    (void)she_cas_seq(she_state_word(ring, s.position), s.word,
                      she_word(she_lap_of(ring, c->next_batch), 0, SHE_HOLE));
    push_holes(c);
    return found(d, SHE_DAMAGED_WORD, s.position % ring->capacity, s.word);
}
