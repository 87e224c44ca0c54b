/* Observes a ring without changing it, for metrics and warnings. A result may be stale when it is
 * returned, and no decision of the protocol depends on it. For the same reason the loads are
 * relaxed and pair with nothing, except for that of the write cursor. */
#include "shm_echo/ring.h"

/* Count the committed samples of one batch that is not handed out yet. A committed word stays
 * committed until then, so the leading samples that are known to be committed are not read again:
 * each sample is read about once, however large the ring is. No committed sample lies beyond the
 * write cursor, except for one whose claimer has not moved the cursor yet, and samples in the holes
 * of a seal that was undone. */
static uint64_t count_batch(she_consumer *c, uint64_t batch, uint64_t written, uint64_t *own) {
    const she_ring *ring = c->ring;
    const she_atomic64 *words = she_batch_words(ring, batch);
    uint64_t lap = she_lap_of(ring, batch), first = batch * ring->batch_size;
    uint64_t *known = &c->known[batch % ring->num_buffers];
    uint64_t *known_own = &c->known_own[batch % ring->num_buffers];
    uint64_t end = written - first + 1 < ring->batch_size ? written - first + 1 : ring->batch_size;
    if (batch + 1 == c->unsealed)
        end = ring->batch_size;
    uint64_t found = *known, found_own = *known_own;
    uint64_t column = *known / ring->word_lines, line = *known % ring->word_lines;
    for (uint64_t i = *known; i < end; i++) {
        uint64_t word = she_load_relaxed(&words[she_word_at(ring, line, column)]);
        if (++line == ring->word_lines) {
            line = 0;
            column++;
        }
        if (!she_is(word, lap, SHE_COMMITTED))
            continue;
        found++;
        found_own += she_word_owner(word) == 0;
        if (found == i + 1) {
            *known = found;
            *known_own = found_own;
        }
    }
    *own += found_own;
    return found;
}

void she_stats(she_consumer *c, she_ring_stats *out) {
    const she_ring *ring = c->ring;
    *out = (she_ring_stats){.full_batches = c->full_batches};
    /* SYNC write-cursor: a hint; pairs with the CAS in she_claim. */
    uint64_t written = she_load_acquire(&ring->header->write_cursor);
    for (uint64_t n = 0; n < ring->num_buffers; n++) {
        uint64_t batch = c->next_batch + n;
        if (batch * ring->batch_size > written)
            break;
        uint64_t committed = count_batch(c, batch, written, &out->stored_own);
        out->stored += committed;
        out->full_batches += committed == ring->batch_size;
    }
    for (uint32_t owner = 0; owner <= c->last_owner; owner++) {
        const she_record *record = &ring->records[owner];
        out->blocked_count += she_load_relaxed(&record->blocked_count);
        out->cas_success += she_load_relaxed(&record->cas_success);
        out->cas_failure += she_load_relaxed(&record->cas_failure);
        out->retries += she_load_relaxed(&record->retries);
    }
}

uint64_t she_stored_by(const she_consumer *c, uint32_t owner) {
    const she_ring *ring = c->ring;
    uint64_t found = 0;
    for (uint64_t n = 0; n < ring->num_buffers; n++) {
        uint64_t batch = c->next_batch + n;
        const she_atomic64 *words = she_batch_words(ring, batch);
        uint64_t want = she_word(she_lap_of(ring, batch), owner, SHE_COMMITTED);
        for (uint64_t i = 0; i < ring->word_lines * SHE_WORDS_PER_CACHE_LINE; i++)
            found += she_load_relaxed(&words[i]) == want;
    }
    return found;
}

uint64_t she_pending(const she_consumer *c) {
    const she_ring *ring = c->ring;
    const she_atomic64 *words = she_batch_words(ring, c->next_batch);
    uint64_t lap = she_lap_of(ring, c->next_batch), found = 0;
    for (uint64_t i = 0; i < ring->word_lines * SHE_WORDS_PER_CACHE_LINE; i++) {
        uint64_t word = she_word_anon(she_load_relaxed(&words[i]));
        found += word == she_word(lap, 0, SHE_COMMITTED) || word == she_word(lap, 0, SHE_CLAIMED);
    }
    return found;
}

static uint64_t committed_in(const she_ring *ring, uint64_t batch) {
    const she_atomic64 *words = she_batch_words(ring, batch);
    uint64_t want = she_word(she_lap_of(ring, batch), 0, SHE_COMMITTED), found = 0;
    for (uint64_t i = 0; i < ring->word_lines * SHE_WORDS_PER_CACHE_LINE; i++)
        found += she_word_anon(she_load_relaxed(&words[i])) == want;
    return found;
}

uint64_t she_committed(const she_consumer *c) { return committed_in(c->ring, c->next_batch); }

uint64_t she_untaken(const she_ring *ring) {
    /* Relaxed: a stray value selects another batch, and changes a message only. */
    return committed_in(ring, she_load_relaxed(&ring->header->taken_cursor) / ring->batch_size);
}

bool she_draining(const she_ring *ring, uint32_t owner) {
    return she_load_relaxed(&ring->records[owner].drainers) != 0;
}

bool she_straggler(const she_consumer *c, uint32_t *owner, uint64_t *position) {
    const she_ring *ring = c->ring;
    uint64_t lap = she_lap_of(ring, c->next_batch), first = c->next_batch * ring->batch_size;
    for (uint64_t i = 0; i < ring->batch_size; i++) {
        uint64_t word = she_load_relaxed(she_state_word(ring, first + i));
        if (she_word_anon(word) == she_word(lap, 0, SHE_CLAIMED)) {
            *owner = she_word_owner(word);
            *position = first + i;
            return true;
        }
    }
    return false;
}

uint64_t she_held(const she_ring *ring, uint32_t owner) {
    uint64_t held = 0;
    for (uint64_t slot = 0; slot < ring->capacity; slot++) {
        uint64_t word = she_load_relaxed(&ring->words[she_word_index(ring, slot)]);
        held += she_word_state(word) == SHE_CLAIMED && she_word_owner(word) == owner;
    }
    return held;
}

uint32_t she_lent(const she_ring *ring) {
    return she_load32_relaxed(&ring->header->lent); /* relaxed: a hint */
}

void she_producer_stats(const she_ring *ring, uint32_t owner, she_producer_view *out) {
    const she_record *record = &ring->records[owner];
    uint64_t since = she_load_relaxed(&record->blocked_since_ns), now = she_now_ns();
    out->blocked_count = she_load_relaxed(&record->blocked_count);
    out->blocked_ns =
        she_load_relaxed(&record->blocked_ns) + (since && now > since ? now - since : 0);
    out->last_seen_ns = she_load_relaxed(&record->last_seen_ns);
    out->held = she_held(ring, owner);
}

static void add_up_copies(const she_consumer *c, she_hist_totals *totals) {
    she_hist_clear(totals);
    for (uint32_t shard = 0; shard < SHE_HIST_SHARDS; shard++)
        she_hist_add(totals, &c->ring->histograms[shard]);
}

static void add_up_dwell(const she_consumer *c, she_hist_totals *totals) {
    she_hist_clear(totals);
    she_hist_add(totals, &c->times->dwell);
}

void she_time_summaries(she_consumer *c, she_hist_summary *copies, she_hist_summary *dwell) {
    she_times *times = c->times;
    *copies = *dwell = (she_hist_summary){0};
    if (!times)
        return;
    add_up_copies(c, &times->sum);
    she_hist_summarise(&times->sum, &times->copies_before, copies);
    add_up_dwell(c, &times->sum);
    she_hist_summarise(&times->sum, &times->dwell_before, dwell);
}

void she_reset_times(she_consumer *c) {
    if (!c->times)
        return;
    add_up_copies(c, &c->times->copies_before);
    add_up_dwell(c, &c->times->dwell_before);
}
