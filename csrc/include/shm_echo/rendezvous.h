/* The rendezvous: a learner gives commands to workers and waits for their answers, in lock-step.
 *
 * The ring hands each slot to whichever producer comes next. Here every row belongs to one worker,
 * is due once per step, and nobody else may write it.
 *
 *     0      +-----------------------------------------------+
 *            | she_rv_header: identity | answered | awaited  |  one 128-byte line each
 *            +-----------------------------------------------+
 *            | she_rv_record[num_workers]                    |  two lines each
 *            +-----------------------------------------------+
 *            | she_rv_mailbox[num_mailboxes]                 |  two lines each
 *            +-----------------------------------------------+
 *            | the caller's rows                             |  page aligned
 *     total  +-----------------------------------------------+
 *
 * A *mailbox* holds one command and its answer. A worker has one for all its environments, or one
 * for each of them; a mailbox belongs to the same worker for good. The rows behind them, actions
 * and results, are plain memory whose layout both sides know: a command orders the learner's writes
 * before the worker's reads, an answer the worker's writes before the learner's reads.
 *
 *     learner: writes actions | command (release)       ... answer (acquire) | reads rows
 *     worker:              command (acquire) | reads actions, writes rows | answer (release)
 *
 * A worker has *incarnations*: the process that replaces a dead one has the next number. Commands
 * and answers carry a sequence number and the incarnation, so that nothing that an earlier process
 * left, or wrote late, is taken for the answer to a later command. A learner that has waited for
 * too long leaves the command pending, and takes its answer later.
 *
 * All-zero memory is a valid rendezvous. No value that is read from it is used as an address, a
 * length or an index.
 */
#ifndef SHM_ECHO_RENDEZVOUS_H
#define SHM_ECHO_RENDEZVOUS_H

#include "shm_echo/adaptive_wait.h"
#include "shm_echo/layout.h"

#define SHE_RV_MAGIC UINT64_C(0x5654454d4d4853) /* "SHMMETV" */
#define SHE_RV_LAYOUT_VERSION 1u
#define SHE_RV_MAX_MAILBOXES UINT32_C(65536)

/* ---- words ----------------------------------------------------------------------------------- */

/* A command to a worker, or its result. Command words and answer words have the same parts:
 * sequence << 32 | incarnation << 16 | set << 8 | code. */
typedef struct {
    uint32_t sequence;
    uint16_t incarnation;
    uint8_t set;   /* of a command: the set of rows that the worker writes */
    uint8_t code;  /* of a command: the operation; of an answer: how it ended. The caller's. */
    uint32_t text; /* bytes that were sent another way before this word, or 0 */
} she_rv_word;

static inline uint64_t she_rv_pack(const she_rv_word *word) {
    return (uint64_t)word->sequence << 32 | (uint64_t)word->incarnation << 16 |
           (uint64_t)word->set << 8 | word->code;
}
static inline she_rv_word she_rv_unpack(uint64_t word, uint32_t text) {
    return (she_rv_word){.sequence = (uint32_t)(word >> 32),
                         .incarnation = (uint16_t)(word >> 16),
                         .set = (uint8_t)(word >> 8),
                         .code = (uint8_t)word,
                         .text = text};
}

/* ---- the mapping ----------------------------------------------------------------------------- */

typedef struct {
    /* Identity: written once by the creator, `magic` last. */
    _Alignas(SHE_LINE) she_atomic64 magic;
    uint32_t layout_version;
    uint32_t num_workers;
    uint32_t num_mailboxes;
    uint32_t reserved;
    uint64_t row_bytes; /* of the caller's part */
    uint64_t creator_pid;
    uint8_t digest[32]; /* of whatever both sides must agree on */

    /* Answers so far, of all workers. A hint: the answers themselves say which have come. */
    _Alignas(SHE_LINE) she_atomic64 answered;

    /* Written by a learner that goes to sleep, read at every answer. */
    _Alignas(SHE_LINE) she_atomic64 awaited; /* the value of `answered` that wakes it; 0 for none */
    she_event_count done;
    she_atomic32 closed;
} she_rv_header;

typedef struct {
    _Alignas(SHE_LINE) she_event_count work; /* signalled by the learner */
    /* Written by the worker with plain stores, for messages and figures: no step depends on it. */
    _Alignas(SHE_LINE) she_atomic64 at; /* what it is at: the caller's number; 0 for nothing */
    she_atomic64 since_ns;              /* begin of the command that it works on; 0 if idle */
    she_atomic64 busy_ns;               /* time in commands that it has answered */
    she_atomic64 commands;              /* that it has answered */
} she_rv_record;

typedef struct {
    _Alignas(SHE_LINE) she_atomic64 command; /* written by the learner */
    she_atomic32 command_text;
    _Alignas(SHE_LINE) she_atomic64 answer; /* written by the worker */
    she_atomic32 answer_text;
} she_rv_mailbox;

_Static_assert(sizeof(she_rv_header) == 3 * SHE_LINE, "header: three lines");
_Static_assert(sizeof(she_rv_record) == 2 * SHE_LINE, "worker: two lines");
_Static_assert(sizeof(she_rv_mailbox) == 2 * SHE_LINE, "mailbox: two lines");

typedef struct {
    uint32_t num_workers, num_mailboxes;
    uint64_t row_bytes;
    const uint32_t *worker_of; /* by mailbox */
    const uint8_t *digest;     /* 32 bytes */
} she_rv_config;

/* Bytes of a segment, and the offset of the rows in it; 0 if a size is zero or too large. */
uint64_t she_rv_bytes(const she_rv_config *config);
uint64_t she_rv_rows_offset(const she_rv_config *config);

/* ---- the learner ----------------------------------------------------------------------------- */

/* One thread uses it at a time, except for she_rv_wake_learner, which any may call. */
typedef struct she_rv_learner she_rv_learner;

/* Write the identity into all-zero memory, and open it. SHE_OK, or SHE_E_CONFIG, SHE_E_SIZE,
 * SHE_E_MEMORY. */
int she_rv_create(void *memory, uint64_t bytes, const she_rv_config *config, she_rv_learner **out);
void she_rv_learner_free(she_rv_learner *learner);

/* Give a command. SHE_OK, or SHE_FULL: the last command of this mailbox is not answered, and its
 * worker may still read and write the rows. The worker may sleep until she_rv_notify. */
int she_rv_command(she_rv_learner *learner, uint32_t mailbox, uint8_t code, uint8_t set,
                   uint32_t text);
/* Wake a worker, after the commands for it. */
void she_rv_notify(she_rv_learner *learner, uint32_t worker);
/* The same for many mailboxes: a command for each, then one wake for each of their workers. Returns
 * how many commands were given: it stops at a mailbox whose last one is not answered. */
uint32_t she_rv_command_many(she_rv_learner *learner, const uint32_t *mailboxes, uint32_t n,
                             uint8_t code, uint8_t set);

/* True while a command of this mailbox has no answer. */
bool she_rv_pending(const she_rv_learner *learner, uint32_t mailbox);
/* The answer of a mailbox. SHE_OK once for each command, and then the rows are the learner's;
 * SHE_FULL before that. */
int she_rv_take(she_rv_learner *learner, uint32_t mailbox, she_rv_word *answer);
/* Wait until `needed` of these mailboxes have answers that were not taken. SHE_OK; SHE_TIMEOUT,
 * SHE_INTERRUPTED, or SHE_WOKEN: something happened, look again. Mailboxes without a pending
 * command do not count. */
int she_rv_await(she_rv_learner *learner, const uint32_t *mailboxes, uint32_t n, uint32_t needed,
                 int64_t timeout_ns);

/* A worker's process is known to have ended: void its commands, and return the incarnation of the
 * next process. Answers of the dead one count no longer, and no process may be started for it
 * before this call. */
uint16_t she_rv_replace(she_rv_learner *learner, uint32_t worker);
uint16_t she_rv_incarnation(const she_rv_learner *learner, uint32_t worker);
/* End the wait of the learner: any thread that knows that a worker has ended. */
void she_rv_wake_learner(she_rv_learner *learner);
/* Make every worker's next look return SHE_CLOSED. */
void she_rv_close(she_rv_learner *learner);

typedef struct {
    uint64_t at, since_ns, busy_ns, commands;
} she_rv_report;
void she_rv_look_at(const she_rv_learner *learner, uint32_t worker, she_rv_report *report);

/* ---- a worker -------------------------------------------------------------------------------- */

/* One thread uses it. */
typedef struct she_rv_worker she_rv_worker;

/* SHE_OK, or SHE_E_MAGIC, SHE_E_VERSION, SHE_E_MISMATCH, SHE_E_SIZE, SHE_E_CONFIG, SHE_E_MEMORY. */
int she_rv_attach(void *memory, uint64_t bytes, const she_rv_config *config, uint32_t number,
                  uint16_t incarnation, she_rv_worker **out);
void she_rv_worker_free(she_rv_worker *worker);
/* The next command of any of its mailboxes, the longest unserved first. SHE_OK; SHE_CLOSED,
 * SHE_TIMEOUT, SHE_INTERRUPTED, or SHE_WOKEN: look again. */
int she_rv_next(she_rv_worker *worker, uint32_t *mailbox, she_rv_word *command, int64_t timeout_ns);
/* Say what it is at. */
void she_rv_at(she_rv_worker *worker, uint64_t what);
/* Answer the command of a mailbox: rows and texts are written. */
void she_rv_answer(she_rv_worker *worker, uint32_t mailbox, uint8_t code, uint32_t text);

#endif
