/* The loader's ring: workers fill the slots of batches that the consumer has announced.
 *
 * It is the ring of ring.h with three more words of information. A slot is a *run*: up to run_rows
 * rows of one batch that one worker makes together. The *order table* says which items belong into
 * each slot. The *gate* counts the slots that are announced, and claims never pass it; the
 * *announce queue* says in which buffer each announced batch lies: any buffer that is free, so a
 * batch that the training loop keeps holds nothing up.
 *
 * In the terms of ring.h batch_size is the number of slots in a batch, and row_bytes are those of a
 * slot. Batch number e (announced as the e-th) lies in *ring batch* q = uses * num_buffers +
 * buffer, where uses counts the earlier uses of that buffer, and its slot i has position q *
 * batch_size + i. So the lap of a state word counts the uses of its buffer, and commit, abort,
 * recovery and release are those of ring.h. she_claim, she_take, she_skip, she_seal and she_unseal
 * are not for a loader's ring, and neither is she_check: an overwritten state word shows as a wait
 * that ends with its time-out, and she_loader_straggler names the slot.
 *
 * The consumer's calls have one user at a time, like those of ring.h: the thread that iterates.
 * Only she_release and she_wake_consumer may be called by others meanwhile. PROTOCOL.md has the
 * steps, and model/loader_ring.pml checks them.
 */
#ifndef SHM_ECHO_LOADER_RING_H
#define SHM_ECHO_LOADER_RING_H

#include "shm_echo/ring.h"

/* ---- workers (loader_produce.c) -------------------------------------------------------------- */

/* Claim one slot without waiting, a hole first. SHE_OK and its position; SHE_FULL: everything that
 * is announced is claimed; SHE_CLOSED, SHE_STOPPED or SHE_REVOKED; SHE_CORRUPTED: the slot's order
 * entry was overwritten, and the claim stays open until this worker has ended. A worker that finds
 * SHE_FULL waits with she_claim_wait. */
int she_loader_claim(she_producer *producer, uint64_t *position);
/* The order entry of a slot: what a worker that has claimed it shall make. Another batch may stand
 * there once the claim is committed and its batch taken. */
static inline she_run *she_loader_run(const she_ring *ring, uint64_t position) {
    return (she_run *)(void *)(ring->runs + (position % ring->capacity) * ring->run_bytes);
}
/* Say how a run went, before its commit: 0, which a claim sets, or a number of the caller's. */
void she_loader_set_status(she_producer *producer, uint64_t position, uint32_t status);
/* Say which row this worker makes now; SHE_NO_ROW: none. A claim sets none. */
void she_loader_at_row(she_producer *producer, uint64_t row);
#define SHE_NO_ROW UINT64_MAX

/* ---- the consumer (loader_consume.c) --------------------------------------------------------- */

typedef struct {
    uint64_t ring_batch, rows, first_row;
} she_announced;

/* The state of the consumer of a loader's ring; private to its process. */
typedef struct she_loader {
    uint64_t announced;     /* batches announced so far */
    uint64_t taken;         /* those of them that were taken or discarded */
    uint64_t cancelled;     /* batches below this are discarded, not taken */
    uint64_t *uses;         /* by buffer: how often it was announced */
    she_announced *batches; /* by batch number % num_buffers */
} she_loader;
/* loader_state.c; called by she_consumer_open and she_consumer_free. NULL: no memory. */
she_loader *she_loader_state_new(const she_ring *ring);
void she_loader_state_free(she_loader *loader);

/* Announce a batch of `rows` rows, whose items are `indices`: row number first_row + i is to be
 * item indices[i]. SHE_OK and the ring batch that it lies in; SHE_FULL: no buffer is free;
 * SHE_E_CONFIG: no rows, or more than a batch has. */
int she_loader_announce(she_consumer *consumer, uint64_t first_row, uint32_t epoch,
                        const int64_t *indices, uint64_t rows, uint64_t *ring_batch);
/* SHE_OK if the next batch is complete, else SHE_FULL. Discards cancelled batches whose claims have
 * ended, which frees their buffers. */
int she_loader_ready(she_consumer *consumer);
/* Wait for the next batch. SHE_WOKEN means: look again, and announce, because a buffer may have
 * become free. With no batch announced it waits for she_wake_consumer. */
int she_loader_ready_wait(she_consumer *consumer, int64_t timeout_ns);
/* Take the next batch, in the order of the announcements. SHE_OK: the ring batch, for she_row (its
 * rows lie one after the other from slot 0 on) and she_release; its rows; the number of the first
 * one; and the number of runs whose status is not 0. SHE_FULL: it is not complete. */
int she_loader_take(she_consumer *consumer, uint64_t *ring_batch, uint64_t *rows,
                    uint64_t *first_row, uint32_t *errors);
/* Cancel every announced batch that is not taken: nothing of it is claimed or handed out any more.
 * Its buffer is free once its claims have ended and a later call has looked at it. Batches that are
 * announced after this call come next. */
void she_loader_cancel(she_consumer *consumer);

/* The first run of the awaited batch that is not finished. */
typedef struct {
    uint64_t slot, word; /* where it lies, and its state word */
    uint64_t row;        /* the row that its worker makes now, or its first row */
    int64_t index;       /* the item of that row */
    uint32_t owner;      /* the worker; SHE_NOBODY if the slot is not claimed */
} she_late_row;
#define SHE_NOBODY UINT32_MAX
/* False if no batch is awaited, or the awaited one is complete or cancelled. */
bool she_loader_straggler(const she_consumer *consumer, she_late_row *out);
/* The row that a worker makes now, or made when it died; false if none. */
bool she_loader_row_of(const she_ring *ring, uint32_t owner, uint64_t *row);
/* The item of a row of a batch that is announced and not taken; false if there is no such row. */
bool she_loader_index(const she_consumer *consumer, uint64_t row, int64_t *index);

typedef struct {
    uint64_t announced, taken; /* batches so far; discarded ones count as taken */
    uint64_t ready;            /* batches that are complete and not taken */
    uint64_t free_buffers;
} she_loader_view;
void she_loader_stats(const she_consumer *consumer, she_loader_view *out);

#endif
