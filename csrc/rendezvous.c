/* The rendezvous of a learner and its workers: see rendezvous.h for the words and the rules. */
#include "shm_echo/rendezvous.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm_echo/fault.h"
#include "shm_echo/ring.h"

#define PAGE UINT64_C(4096)

/* Where the parts of a mapping lie: computed on both sides, never read from it. */
typedef struct {
    she_rv_header *header;
    she_rv_record *records;
    she_rv_mailbox *mailboxes;
    uint32_t num_workers, num_mailboxes;
    uint32_t *worker_of;
} places;

struct she_rv_learner {
    places at;
    uint16_t *incarnation; /* by worker */
    uint32_t *sequence;    /* by mailbox: of its last command */
    bool *out;             /* by mailbox: a command was given, and its answer not taken */
    bool *notify;          /* by worker: for she_rv_command_many */
    she_atomic32 nudged;   /* she_rv_wake_learner was called */
    she_adaptive_wait wait;
};

struct she_rv_worker {
    places at;
    uint32_t number;
    uint16_t incarnation;
    uint32_t first; /* mailbox to look at first */
    uint32_t *own;  /* its mailboxes */
    uint32_t num_own;
    bool *answered;     /* by mailbox: `sequence` was answered */
    uint32_t *sequence; /* by mailbox: of the command that it works on, or worked on */
    uint64_t begun_ns;
    she_adaptive_wait wait;
};

static bool is_valid(const she_rv_config *c) {
    if (c->num_workers == 0 || c->num_workers > c->num_mailboxes ||
        c->num_mailboxes > SHE_RV_MAX_MAILBOXES || c->row_bytes > (uint64_t)INT64_MAX / 2)
        return false;
    for (uint32_t m = 0; m < c->num_mailboxes; m++)
        if (c->worker_of[m] >= c->num_workers)
            return false;
    return true;
}

uint64_t she_rv_rows_offset(const she_rv_config *c) {
    uint64_t words = sizeof(she_rv_header) + c->num_workers * sizeof(she_rv_record) +
                     c->num_mailboxes * sizeof(she_rv_mailbox);
    return (words + PAGE - 1) & ~(PAGE - 1);
}

uint64_t she_rv_bytes(const she_rv_config *c) {
    if (!is_valid(c))
        return 0;
    return (she_rv_rows_offset(c) + c->row_bytes + PAGE - 1) & ~(PAGE - 1);
}

static int find_places(places *at, void *memory, const she_rv_config *c) {
    uint8_t *base = memory;
    at->header = memory;
    at->records = (she_rv_record *)(void *)(base + sizeof(she_rv_header));
    at->mailboxes = (she_rv_mailbox *)(void *)(at->records + c->num_workers);
    at->num_workers = c->num_workers;
    at->num_mailboxes = c->num_mailboxes;
    at->worker_of = malloc(c->num_mailboxes * sizeof *at->worker_of);
    if (!at->worker_of)
        return SHE_E_MEMORY;
    memcpy(at->worker_of, c->worker_of, c->num_mailboxes * sizeof *at->worker_of);
    return SHE_OK;
}

/* ---- the learner ----------------------------------------------------------------------------- */

int she_rv_create(void *memory, uint64_t bytes, const she_rv_config *c, she_rv_learner **out) {
    uint64_t need = she_rv_bytes(c);
    if (need == 0)
        return SHE_E_CONFIG;
    if (bytes < need)
        return SHE_E_SIZE;
    she_rv_learner *l = calloc(1, sizeof *l);
    if (!l)
        return SHE_E_MEMORY;
    l->incarnation = calloc(c->num_workers, sizeof *l->incarnation);
    l->notify = calloc(c->num_workers, sizeof *l->notify);
    l->sequence = calloc(c->num_mailboxes, sizeof *l->sequence);
    l->out = calloc(c->num_mailboxes, sizeof *l->out);
    if (!l->incarnation || !l->notify || !l->sequence || !l->out ||
        find_places(&l->at, memory, c) != SHE_OK) {
        she_rv_learner_free(l);
        return SHE_E_MEMORY;
    }
    for (uint32_t w = 0; w < c->num_workers; w++)
        l->incarnation[w] = 1; /* 0 stands in memory that no command was written to */
    she_rv_header *h = l->at.header;
    h->layout_version = SHE_RV_LAYOUT_VERSION;
    h->num_workers = c->num_workers;
    h->num_mailboxes = c->num_mailboxes;
    h->row_bytes = c->row_bytes;
    h->creator_pid = (uint64_t)getpid();
    memcpy(h->digest, c->digest, sizeof h->digest);
    /* SYNC ring-magic: pairs with the load in she_rv_attach; releases the identity. */
    she_store_release(&h->magic, SHE_RV_MAGIC);
    *out = l;
    return SHE_OK;
}

void she_rv_learner_free(she_rv_learner *l) {
    if (!l)
        return;
    free(l->incarnation);
    free(l->notify);
    free(l->sequence);
    free(l->out);
    free(l->at.worker_of);
    free(l);
}

int she_rv_command(she_rv_learner *l, uint32_t mailbox, uint8_t code, uint8_t set, uint32_t text) {
    if (mailbox >= l->at.num_mailboxes)
        return SHE_E_CONFIG;
    if (l->out[mailbox])
        return SHE_FULL;
    she_rv_mailbox *m = &l->at.mailboxes[mailbox];
    she_rv_word word = {.sequence = ++l->sequence[mailbox],
                        .incarnation = l->incarnation[l->at.worker_of[mailbox]],
                        .set = set,
                        .code = code};
    l->out[mailbox] = true;
    /* Relaxed: the release below orders it, and the worker has answered the command before. */
    she_store32_relaxed(&m->command_text, text);
    /* SYNC rv-command: pairs with the load in she_rv_next; releases the actions, and whatever the
     * learner did with the rows of this set before. */
    she_store_release(&m->command, she_rv_pack(&word));
    return SHE_OK;
}

void she_rv_notify(she_rv_learner *l, uint32_t worker) {
    if (worker < l->at.num_workers)
        she_ec_signal(&l->at.records[worker].work);
}

uint32_t she_rv_command_many(she_rv_learner *l, const uint32_t *mailboxes, uint32_t n, uint8_t code,
                             uint8_t set) {
    uint32_t given = 0;
    while (given < n && she_rv_command(l, mailboxes[given], code, set, 0) == SHE_OK)
        l->notify[l->at.worker_of[mailboxes[given++]]] = true;
    SHE_FAULT(SHE_STEP_RV_COMMANDED);
    for (uint32_t i = 0; i < given; i++) {
        uint32_t worker = l->at.worker_of[mailboxes[i]];
        if (l->notify[worker])
            she_rv_notify(l, worker);
        l->notify[worker] = false;
    }
    return given;
}

/* The answer to the last command of a mailbox, if it has come. */
static bool look(const she_rv_learner *l, uint32_t mailbox, she_rv_word *answer) {
    const she_rv_mailbox *m = &l->at.mailboxes[mailbox];
    /* SYNC rv-answer: pairs with the store in she_rv_answer; acquires the rows.
     * SYNC rv-awaited: sequentially consistent, for the look after the store of `awaited`. */
    uint64_t word = she_load_seq(&m->answer);
    *answer = she_rv_unpack(word, 0);
    return answer->sequence == l->sequence[mailbox] &&
           answer->incarnation == l->incarnation[l->at.worker_of[mailbox]];
}

bool she_rv_pending(const she_rv_learner *l, uint32_t mailbox) {
    she_rv_word answer;
    return mailbox < l->at.num_mailboxes && l->out[mailbox] && !look(l, mailbox, &answer);
}

int she_rv_take(she_rv_learner *l, uint32_t mailbox, she_rv_word *answer) {
    if (mailbox >= l->at.num_mailboxes || !l->out[mailbox] || !look(l, mailbox, answer))
        return SHE_FULL;
    /* Relaxed: written before the answer that `look` acquired, and not again before a command. */
    answer->text = she_load32_relaxed(&l->at.mailboxes[mailbox].answer_text);
    l->out[mailbox] = false;
    return SHE_OK;
}

/* The answers that one wait is for. */
typedef struct {
    const she_rv_learner *learner;
    const uint32_t *mailboxes;
    uint32_t n, needed;
    uint64_t answered; /* the count at the last look */
} awaited_answers;

/* Return the number of those that are there. */
static uint32_t count(const awaited_answers *a) {
    uint32_t there = 0;
    she_rv_word answer;
    for (uint32_t i = 0; i < a->n && there < a->needed; i++)
        if (a->learner->out[a->mailboxes[i]] && look(a->learner, a->mailboxes[i], &answer))
            there++;
    return there;
}

/* For a spin: one word tells whether looking at the answers is worth while. */
static bool have_come(void *awaited) {
    awaited_answers *a = awaited;
    /* SYNC rv-answered: pairs with the increment in she_rv_answer, which follows the answer. */
    uint64_t answered = she_load_acquire(&a->learner->at.header->answered);
    if (answered == a->answered)
        return false;
    a->answered = answered;
    return count(a) >= a->needed;
}

static bool was_nudged(she_rv_learner *l) {
    /* SYNC rv-nudged: pairs with the store in she_rv_wake_learner. */
    return she_exchange32_seq(&l->nudged, 0) != 0;
}

static int sleep_until_come(she_rv_learner *l, awaited_answers *a, int64_t timeout_ns) {
    she_rv_header *h = l->at.header;
    uint32_t ticket = she_ec_ticket(&h->done);
    /* After the ticket: a later call of she_rv_wake_learner moves it. */
    if (was_nudged(l))
        return SHE_WOKEN;
    /* SYNC rv-answered: before the look at the answers, so that each answer that is missing there
     * is counted later than this. */
    uint64_t base = she_load_seq(&h->answered);
    SHE_FAULT(SHE_STEP_RV_BASE);
    uint32_t there = count(a);
    if (there >= a->needed)
        return SHE_OK;
    /* The worker whose answer makes the count reach this signals; answers that were there and were
     * not counted yet make one come early, and the caller looks again. One that is never counted
     * belongs to a worker that died in between, whose end wakes this wait too.
     * SYNC rv-awaited: pairs with the load in she_rv_answer. `awaited` is written; now look at the
     * answers again. */
    she_store_seq(&h->awaited, base + a->needed - there);
    SHE_FAULT(SHE_STEP_RV_AWAITED);
    int woken = SHE_WAIT_WOKEN;
    if (count(a) < a->needed) {
        SHE_FAULT(SHE_STEP_RV_SLEEP);
        woken = she_ec_wait(&h->done, ticket, timeout_ns);
    }
    /* Relaxed: a worker that reads the old value signals once more than it must. */
    she_store_relaxed(&h->awaited, 0);
    if (count(a) >= a->needed)
        return SHE_OK;
    switch (woken) {
    case SHE_WAIT_TIMEOUT:
        return SHE_TIMEOUT;
    case SHE_WAIT_INTERRUPTED:
        return SHE_INTERRUPTED;
    default:
        return SHE_WOKEN;
    }
}

int she_rv_await(she_rv_learner *l, const uint32_t *mailboxes, uint32_t n, uint32_t needed,
                 int64_t timeout_ns) {
    uint32_t out = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (mailboxes[i] >= l->at.num_mailboxes)
            return SHE_E_CONFIG;
        out += l->out[mailboxes[i]];
    }
    awaited_answers a = {.learner = l,
                         .mailboxes = mailboxes,
                         .n = n,
                         .needed = needed < out ? needed : out,
                         .answered = she_load_acquire(&l->at.header->answered)};
    if (count(&a) >= a.needed || she_adaptive_spin(&l->wait, have_come, &a, she_now_ns))
        return SHE_OK;
    return sleep_until_come(l, &a, timeout_ns);
}

uint16_t she_rv_replace(she_rv_learner *l, uint32_t worker) {
    for (uint32_t m = 0; m < l->at.num_mailboxes; m++)
        if (l->at.worker_of[m] == worker)
            l->out[m] = false;
    she_rv_record *record = &l->at.records[worker];
    /* Relaxed: figures. The dead process writes no more, and the next is not started yet. */
    she_store_relaxed(&record->at, 0);
    she_store_relaxed(&record->since_ns, 0);
    if (++l->incarnation[worker] == 0)
        l->incarnation[worker] = 1;
    return l->incarnation[worker];
}

uint16_t she_rv_incarnation(const she_rv_learner *l, uint32_t worker) {
    return l->incarnation[worker];
}

void she_rv_wake_learner(she_rv_learner *l) {
    /* SYNC rv-nudged: pairs with the exchange in was_nudged; stored before the signal. */
    she_store32_seq(&l->nudged, 1);
    /* A worker that died after it had counted may have cleared the sleeper bit without a wake. */
    she_ec_signal_for_dead(&l->at.header->done);
}

void she_rv_close(she_rv_learner *l) {
    /* SYNC closed: pairs with the load in she_rv_next; stored before the signals. */
    she_store32_release(&l->at.header->closed, 1);
    for (uint32_t w = 0; w < l->at.num_workers; w++)
        she_ec_signal(&l->at.records[w].work);
}

void she_rv_look_at(const she_rv_learner *l, uint32_t worker, she_rv_report *report) {
    const she_rv_record *record = &l->at.records[worker];
    /* Relaxed: figures and the texts of messages. */
    report->at = she_load_relaxed(&record->at);
    report->since_ns = she_load_relaxed(&record->since_ns);
    report->busy_ns = she_load_relaxed(&record->busy_ns);
    report->commands = she_load_relaxed(&record->commands);
}

/* ---- a worker -------------------------------------------------------------------------------- */

static int check_identity(const she_rv_header *h, const she_rv_config *c) {
    /* SYNC ring-magic: pairs with the store in she_rv_create; acquires the identity. */
    if (she_load_acquire(&h->magic) != SHE_RV_MAGIC)
        return SHE_E_MAGIC;
    if (h->layout_version != SHE_RV_LAYOUT_VERSION)
        return SHE_E_VERSION;
    if (h->num_workers != c->num_workers || h->num_mailboxes != c->num_mailboxes ||
        h->row_bytes != c->row_bytes || memcmp(h->digest, c->digest, sizeof h->digest) != 0)
        return SHE_E_MISMATCH;
    return SHE_OK;
}

int she_rv_attach(void *memory, uint64_t bytes, const she_rv_config *c, uint32_t number,
                  uint16_t incarnation, she_rv_worker **out) {
    uint64_t need = she_rv_bytes(c);
    if (need == 0 || number >= c->num_workers)
        return SHE_E_CONFIG;
    if (bytes < need)
        return SHE_E_SIZE;
    int rc = check_identity(memory, c);
    if (rc != SHE_OK)
        return rc;
    she_rv_worker *w = calloc(1, sizeof *w);
    if (!w)
        return SHE_E_MEMORY;
    w->number = number;
    w->incarnation = incarnation;
    w->own = calloc(c->num_mailboxes, sizeof *w->own);
    w->answered = calloc(c->num_mailboxes, sizeof *w->answered);
    w->sequence = calloc(c->num_mailboxes, sizeof *w->sequence);
    if (!w->own || !w->answered || !w->sequence || find_places(&w->at, memory, c) != SHE_OK) {
        she_rv_worker_free(w);
        return SHE_E_MEMORY;
    }
    for (uint32_t m = 0; m < c->num_mailboxes; m++) {
        w->answered[m] = true;
        if (c->worker_of[m] == number)
            w->own[w->num_own++] = m;
    }
    *out = w;
    return SHE_OK;
}

void she_rv_worker_free(she_rv_worker *w) {
    if (!w)
        return;
    free(w->own);
    free(w->answered);
    free(w->sequence);
    free(w->at.worker_of);
    free(w);
}

/* A command that is meant for this process and not answered. */
static bool find_command(she_rv_worker *w, uint32_t *mailbox, she_rv_word *command) {
    for (uint32_t i = 0; i < w->num_own; i++) {
        uint32_t m = w->own[(w->first + i) % w->num_own];
        const she_rv_mailbox *box = &w->at.mailboxes[m];
        /* SYNC rv-command: pairs with the store in she_rv_command; acquires the actions. */
        *command = she_rv_unpack(she_load_acquire(&box->command), 0);
        bool is_new = w->answered[m] && command->sequence != w->sequence[m];
        if (command->incarnation != w->incarnation || !is_new)
            continue;
        /* Relaxed: written before the command, and not again before its answer. */
        command->text = she_load32_relaxed(&box->command_text);
        *mailbox = m;
        w->first = (w->first + i + 1) % w->num_own;
        return true;
    }
    return false;
}

typedef struct {
    const she_event_count *work;
    uint32_t ticket;
} awaited_signal;

static bool was_signalled(void *awaited) {
    awaited_signal *a = awaited;
    return she_ec_ticket(a->work) != a->ticket;
}

int she_rv_next(she_rv_worker *w, uint32_t *mailbox, she_rv_word *command, int64_t timeout_ns) {
    she_rv_record *record = &w->at.records[w->number];
    uint32_t ticket = she_ec_ticket(&record->work);
    /* SYNC closed: pairs with the store in she_rv_close. */
    if (she_load32_acquire(&w->at.header->closed))
        return SHE_CLOSED;
    if (find_command(w, mailbox, command)) {
        w->sequence[*mailbox] = command->sequence;
        w->answered[*mailbox] = false;
        w->begun_ns = she_now_ns();
        she_store_relaxed(&record->since_ns, w->begun_ns); /* relaxed: a figure */
        SHE_FAULT(SHE_STEP_RV_ACQUIRED);
        return SHE_OK;
    }
    SHE_FAULT(SHE_STEP_RV_LOOKED);
    awaited_signal a = {&record->work, ticket};
    if (timeout_ns <= 0)
        return SHE_TIMEOUT;
    if (she_adaptive_spin(&w->wait, was_signalled, &a, she_now_ns))
        return SHE_WOKEN;
    switch (she_ec_wait(&record->work, ticket, timeout_ns)) {
    case SHE_WAIT_TIMEOUT:
        return SHE_TIMEOUT;
    case SHE_WAIT_INTERRUPTED:
        return SHE_INTERRUPTED;
    default:
        return SHE_WOKEN;
    }
}

void she_rv_at(she_rv_worker *w, uint64_t what) {
    she_store_relaxed(&w->at.records[w->number].at, what); /* relaxed: for messages */
}

void she_rv_answer(she_rv_worker *w, uint32_t mailbox, uint8_t code, uint32_t text) {
    if (mailbox >= w->at.num_mailboxes || w->answered[mailbox])
        return; /* nothing was asked */
    she_rv_header *h = w->at.header;
    she_rv_mailbox *m = &w->at.mailboxes[mailbox];
    she_rv_record *record = &w->at.records[w->number];
    she_rv_word word = {
        .sequence = w->sequence[mailbox], .incarnation = w->incarnation, .code = code};
    w->answered[mailbox] = true;
    /* Relaxed: figures, of which this process is the only writer. */
    she_store_relaxed(&record->busy_ns,
                      she_load_relaxed(&record->busy_ns) + she_now_ns() - w->begun_ns);
    she_store_relaxed(&record->commands, she_load_relaxed(&record->commands) + 1);
    she_store_relaxed(&record->since_ns, 0);
    SHE_FAULT(SHE_STEP_RV_WRITTEN);
    /* Relaxed: the answer releases it. */
    she_store32_relaxed(&m->answer_text, text);
    /* SYNC rv-answer: pairs with the load in look; releases the rows.
     * SYNC rv-awaited: the answer is written; `awaited` is read below. */
    she_store_seq(&m->answer, she_rv_pack(&word));
    SHE_FAULT(SHE_STEP_RV_ANSWERED);
    /* SYNC rv-answered: pairs with the loads in have_come and sleep_until_come. */
    uint64_t answered = she_add_seq(&h->answered, 1) + 1;
    SHE_FAULT(SHE_STEP_RV_COUNTED);
    /* SYNC rv-awaited: pairs with the store in sleep_until_come. */
    uint64_t awaited = she_load_seq(&h->awaited);
    if (awaited == 0 || answered < awaited)
        return;
    SHE_FAULT(SHE_STEP_RV_COMPLETE);
    she_ec_signal(&h->done);
}
