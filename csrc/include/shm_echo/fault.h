/* Fault injection, in test builds only.
 *
 * With SHE_FAULTS defined, the steps of claim, commit, abort, signal and wait call a hook. The hook
 * may stop or kill its process, or do in that moment what another process would do. Without
 * SHE_FAULTS, SHE_FAULT compiles to nothing. This header includes no other, so that every file of
 * the core can use it.
 */
#ifndef SHM_ECHO_FAULT_H
#define SHM_ECHO_FAULT_H

#ifdef SHE_FAULTS
extern void (*she_fault_hook)(int step);
#define SHE_FAULT(step) \
    do { \
        if (she_fault_hook) \
            she_fault_hook(step); \
    } while (0)
#else
#define SHE_FAULT(step) ((void)0)
#endif

enum she_fault_step {
    SHE_STEP_CLAIM_START = 1, /* nothing is claimed yet */
    SHE_STEP_CLAIM_SCAN,      /* a hole is about to be taken */
    SHE_STEP_CLAIM_HOLE,      /* a hole was taken */
    SHE_STEP_CLAIM_LOOKED,    /* write cursor and state word read */
    SHE_STEP_CLAIM_TAKEN,     /* the slot is claimed, the cursor not moved */
    SHE_STEP_CLAIM_MOVED,     /* the cursor was moved */
    SHE_STEP_COPIED_HALF,     /* for callers that copy: half of the bytes are written */
    SHE_STEP_COMMIT_START,    /* written, not committed */
    SHE_STEP_COMMITTED,       /* committed, `awaited` not read */
    SHE_STEP_COMMIT_BATON,    /* this sample is awaited: this producer has the baton */
    SHE_STEP_COMMIT_CHOSEN,   /* the next missing sample is found, the baton not passed */
    SHE_STEP_COMMIT_PASSED,   /* passed, the sample not checked again */
    SHE_STEP_COMMIT_SIGNAL,   /* the batch is complete, not signalled */
    SHE_STEP_SIGNAL_COUNTED,  /* an event count is incremented, its sleepers not woken */
    SHE_STEP_ABORT_START,     /* claimed, to be aborted */
    SHE_STEP_ABORT_HOLE,      /* the hole is made, hole_gen not incremented */
    SHE_STEP_ABORT_BUMPED,    /* hole_gen is incremented, no sleeper woken */
    SHE_STEP_COUNT, /* 1 + a producer's steps. The consumer's follow: its death ends the ring */
    SHE_STEP_WAIT_LOOKED,  /* the batch is not complete, `awaited` not written */
    SHE_STEP_WAIT_AWAITED, /* `awaited` is written, the state word not checked again */
    SHE_STEP_WAIT_SLEEP,   /* checked again: about to sleep */
    /* Of a loader's ring. The first is a worker's, the others its consumer's. */
    SHE_STEP_LOADER_GATE,   /* cursor and gate read, the queue's entry not */
    SHE_STEP_LOADER_ORDER,  /* an announcement: its orders are written, its entry is not */
    SHE_STEP_LOADER_QUEUED, /* its entry is written, the gate not moved */
    SHE_STEP_LOADER_OPENED, /* the gate is moved, space not signalled */
    /* Of a rendezvous. The first are a worker's, the others its learner's. */
    SHE_STEP_RV_LOOKED,    /* no command was there; about to sleep */
    SHE_STEP_RV_ACQUIRED,  /* a command is read, nothing done */
    SHE_STEP_RV_WRITTEN,   /* rows are written, the answer is not */
    SHE_STEP_RV_ANSWERED,  /* the answer is written, not counted */
    SHE_STEP_RV_COUNTED,   /* it is counted, `awaited` not read */
    SHE_STEP_RV_COMPLETE,  /* it completes what the learner awaits, not signalled */
    SHE_STEP_RV_COMMANDED, /* commands are written, no worker is woken */
    SHE_STEP_RV_BASE,      /* `answered` is read, the answers are not */
    SHE_STEP_RV_AWAITED,   /* `awaited` is written, the answers not checked again */
    SHE_STEP_RV_SLEEP,     /* checked again: about to sleep */
    SHE_STEP_END,          /* 1 + the last step */
};

#endif
