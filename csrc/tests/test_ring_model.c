/* Random operations in one thread, compared with a naive model that has no atomics, no lagging
 * cursor and no spread words: after every step both must agree on every slot and on the samples
 * handed out. */
#include "sample.h"

#define MAX_SLOTS 64

typedef struct {
    uint64_t lap;
    enum she_state state;
    uint32_t owner;
    uint64_t number; /* of the sample in this slot */
} slot;

typedef struct {
    rig r;
    uint64_t batch_size, num_buffers, capacity;
    slot slots[MAX_SLOTS];
    uint64_t next_batch, number, taken, full;
    /* By buffer. */
    uint64_t held[MAX_SLOTS], held_rows[MAX_SLOTS][MAX_SLOTS], held_count[MAX_SLOTS];
    bool is_held[MAX_SLOTS], sealed;
    uint64_t chance;
} world;

static slot *slot_at(world *w, uint64_t position) { return &w->slots[position % w->capacity]; }
static uint64_t first_of(const world *w, uint64_t batch) { return batch * w->batch_size; }
static bool of_batch(const world *w, const slot *s, uint64_t batch) {
    return s->lap == batch / w->num_buffers;
}

/* ---- the model's expectations ---------------------------------------------------------------- */

/* The lowest hole; else the first position that is free. */
static bool model_claim(world *w, uint64_t *position) {
    for (uint64_t i = 0; i < w->capacity; i++)
        if (w->slots[i].state == SHE_HOLE) {
            *position = w->slots[i].lap * w->capacity + i;
            return true;
        }
    for (uint64_t p = 0;; p++) {
        const slot *s = slot_at(w, p);
        if (s->lap < p / w->capacity)
            return false;
        if (s->lap == p / w->capacity && s->state == SHE_FREE) {
            *position = p;
            return true;
        }
    }
}

static bool model_ready(world *w) {
    for (uint64_t i = 0; i < w->batch_size; i++) {
        const slot *s = slot_at(w, first_of(w, w->next_batch) + i);
        if (!of_batch(w, s, w->next_batch) || (s->state != SHE_COMMITTED && s->state != SHE_SKIP))
            return false;
    }
    return true;
}

static void check_agreement(world *w) {
    uint64_t stored = 0, pending = 0, held_by[RIG_PRODUCERS + 1] = {0};
    for (uint64_t i = 0; i < w->capacity; i++) {
        const slot *s = &w->slots[i];
        uint64_t batch = s->lap * w->num_buffers + i / w->batch_size;
        CHECK_WORD(&w->r, i, s->lap, s->owner, s->state);
        stored += s->state == SHE_COMMITTED && batch >= w->next_batch;
        pending += (s->state == SHE_COMMITTED || s->state == SHE_CLAIMED) && batch == w->next_batch;
        held_by[s->owner] += s->state == SHE_CLAIMED;
    }
    she_ring_stats stats;
    she_stats(w->r.consumer, &stats);
    CHECK_EQ(stats.stored, stored);
    CHECK_EQ(she_pending(w->r.consumer), pending);
    for (uint32_t owner = 0; owner <= RIG_PRODUCERS; owner++)
        CHECK_EQ(she_held(w->r.ring, owner), held_by[owner]);
    CHECK_EQ(w->r.consumer->taken_total, w->taken);
    CHECK_EQ(w->r.consumer->full_batches, w->full);
    CHECK_EQ(she_ready(w->r.consumer), model_ready(w) ? SHE_OK : SHE_FULL);
}

/* ---- the steps: each acts on the ring and on the model --------------------------------------- */

static uint32_t some_owner(world *w) { return (uint32_t)test_below(&w->chance, RIG_PRODUCERS + 1); }

static void step_claim(world *w) {
    uint32_t owner = some_owner(w);
    uint64_t want, got = UINT64_MAX;
    bool room = model_claim(w, &want);
    CHECK_EQ(she_claim(w->r.producer[owner], &got), room ? SHE_OK : SHE_FULL);
    if (!room)
        return;
    CHECK_EQ(got, want);
    *slot_at(w, got) = (slot){got / w->capacity, SHE_CLAIMED, owner, w->number++};
    sample_write(w->r.ring, got, owner, slot_at(w, got)->number);
}

/* Finish some claim, if there is one. */
static void step_finish(world *w, bool commit) {
    uint64_t start = test_below(&w->chance, w->capacity);
    for (uint64_t i = 0; i < w->capacity; i++) {
        uint64_t at = (start + i) % w->capacity;
        slot *s = &w->slots[at];
        if (s->state != SHE_CLAIMED)
            continue;
        uint64_t position = s->lap * w->capacity + at;
        if (commit)
            commit_one(&w->r, s->owner, position);
        else
            abort_one(&w->r, s->owner, position);
        s->state = commit ? SHE_COMMITTED : SHE_HOLE;
        s->owner = commit ? s->owner : 0;
        return;
    }
}

static void check_held_rows(world *w, uint64_t buffer) {
    for (uint64_t i = 0; i < w->held_count[buffer]; i++) {
        uint64_t owner, number;
        sample_read(w->r.ring, buffer * w->batch_size + i, &owner, &number);
        CHECK_EQ(number, w->held_rows[buffer][i]);
    }
}

static void step_take(world *w) {
    if (!model_ready(w))
        return;
    uint64_t batch, samples, buffer = w->next_batch % w->num_buffers, want = 0;
    she_take(w->r.consumer, &batch, &samples);
    CHECK_EQ(batch, w->next_batch);
    for (uint64_t i = 0; i < w->batch_size; i++) {
        const slot *s = slot_at(w, first_of(w, batch) + i);
        if (s->state == SHE_COMMITTED)
            w->held_rows[buffer][want++] = s->number;
    }
    CHECK_EQ(samples, want);
    w->held_count[buffer] = want;
    w->is_held[buffer] = true;
    w->held[buffer] = batch;
    w->taken += want;
    w->full += want == w->batch_size;
    w->next_batch++;
    w->sealed = false;
    check_held_rows(w, buffer);
}

static void step_release(world *w) {
    uint64_t start = test_below(&w->chance, w->num_buffers);
    for (uint64_t i = 0; i < w->num_buffers; i++) {
        uint64_t buffer = (start + i) % w->num_buffers;
        if (!w->is_held[buffer])
            continue;
        check_held_rows(w, buffer); /* unchanged as long as it was held */
        she_release(w->r.ring, w->held[buffer]);
        for (uint64_t k = 0; k < w->batch_size; k++)
            w->slots[buffer * w->batch_size + k] =
                (slot){w->held[buffer] / w->num_buffers + 1, SHE_FREE, 0, 0};
        w->is_held[buffer] = false;
        return;
    }
}

static void step_skip(world *w) {
    uint64_t buffer = w->next_batch % w->num_buffers;
    if (!w->is_held[buffer])
        return;
    CHECK_EQ(she_skip(w->r.consumer), w->next_batch);
    for (uint64_t k = 0; k < w->batch_size; k++)
        w->slots[buffer * w->batch_size + k] =
            (slot){w->next_batch / w->num_buffers, SHE_SKIP, 0, 0};
    w->held[buffer] = w->next_batch++;
    w->sealed = false;
}

/* As the server does, it never seals a batch without a claim. */
static void step_seal(world *w) {
    uint64_t want = 0;
    if (she_pending(w->r.consumer) == 0)
        return;
    for (uint64_t i = 0; i < w->batch_size; i++) {
        slot *s = slot_at(w, first_of(w, w->next_batch) + i);
        if (!of_batch(w, s, w->next_batch))
            continue;
        if (s->state == SHE_FREE || s->state == SHE_HOLE)
            s->state = SHE_SKIP;
        want += s->state == SHE_COMMITTED || s->state == SHE_CLAIMED;
    }
    CHECK_EQ(she_seal(w->r.consumer), want);
    w->sealed = true;
}

static void step_unseal(world *w) {
    if (!w->sealed)
        return;
    she_unseal(w->r.consumer);
    for (uint64_t i = 0; i < w->batch_size; i++) {
        slot *s = slot_at(w, first_of(w, w->next_batch) + i);
        if (of_batch(w, s, w->next_batch) && s->state == SHE_SKIP)
            s->state = SHE_HOLE;
    }
    w->sealed = false;
}

static void step_recover(world *w) {
    uint32_t owner = some_owner(w);
    uint64_t want = 0;
    for (uint64_t i = 0; i < w->capacity; i++)
        if (w->slots[i].state == SHE_CLAIMED && w->slots[i].owner == owner) {
            w->slots[i].state = SHE_HOLE;
            w->slots[i].owner = 0;
            want++;
        }
    CHECK_EQ(she_recover(w->r.ring, owner), want);
    she_reinstate(w->r.ring, owner);
}

static void step(world *w) {
    switch (test_below(&w->chance, 24)) {
    case 0:
        step_finish(w, false);
        break;
    case 1:
        step_seal(w);
        break;
    case 2:
        step_unseal(w);
        break;
    case 3:
        step_recover(w);
        break;
    case 4:
        step_skip(w);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
        step_release(w);
        break;
    case 9:
    case 10:
    case 11:
    case 12:
        step_take(w);
        break;
    case 13:
    case 14:
    case 15:
    case 16:
    case 17:
        step_finish(w, true);
        break;
    default:
        step_claim(w);
    }
}

CASE(random_operations_agree_with_a_naive_model) {
    static world w;
    uint64_t rounds = test_option("worlds", 60), steps = test_option("steps", 2500), taken = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        memset(&w, 0, sizeof w);
        w.chance = test_seed + round;
        w.batch_size = 1 + test_below(&w.chance, 12);
        w.num_buffers = 1 + test_below(&w.chance, 4);
        w.capacity = w.batch_size * w.num_buffers;
        rig_open(&w.r, w.batch_size, w.num_buffers, round % 2);
        for (uint64_t i = 0; i < steps; i++) {
            step(&w);
            check_agreement(&w);
        }
        taken += w.taken;
        rig_close(&w.r);
    }
    CHECK(taken > rounds * steps / 100); /* the ring went round, else this case shows nothing */
}
