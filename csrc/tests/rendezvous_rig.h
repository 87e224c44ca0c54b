/* A rendezvous with rows that show who wrote them, and when.
 *
 * Each mailbox has an action, written by the learner, and a row of two halves and an age, written
 * by its worker: the action, the action, and how many commands the worker's process has carried
 * out for this mailbox.
 */
#ifndef SHM_ECHO_RENDEZVOUS_RIG_H
#define SHM_ECHO_RENDEZVOUS_RIG_H

#include "processes.h"

#include <pthread.h>
#include <sys/mman.h>

#include "shm_echo/fault.h"
#include "shm_echo/rendezvous.h"
#include "shm_echo/ring.h"

#define RV_FOREVER (INT64_C(3600) * 1000000000)
#define RV_MOST 8
#define RV_OK 7 /* an answer's code */

typedef struct {
    uint64_t action, half, age, other_half;
} rv_row;

typedef struct {
    she_rv_config config;
    uint32_t worker_of[RV_MOST];
    uint8_t digest[32];
    uint64_t bytes;
    uint8_t *memory;
    rv_row *rows;
    she_rv_learner *learner;
    uint64_t given[RV_MOST]; /* commands to this incarnation */
    uint64_t expect[RV_MOST];
} rv_rig;

static inline void rv_open(rv_rig *rig, uint32_t workers, uint32_t mailboxes) {
    memset(rig, 0, sizeof *rig);
    CHECK(mailboxes <= RV_MOST);
    for (uint32_t m = 0; m < mailboxes; m++)
        rig->worker_of[m] = m % workers;
    rig->config = (she_rv_config){.num_workers = workers,
                                  .num_mailboxes = mailboxes,
                                  .row_bytes = mailboxes * sizeof(rv_row),
                                  .worker_of = rig->worker_of,
                                  .digest = rig->digest};
    rig->bytes = she_rv_bytes(&rig->config);
    CHECK(rig->bytes > 0);
    rig->memory = mmap(NULL, rig->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(rig->memory != MAP_FAILED);
    rig->rows = (rv_row *)(void *)(rig->memory + she_rv_rows_offset(&rig->config));
    CHECK_EQ(she_rv_create(rig->memory, rig->bytes, &rig->config, &rig->learner), SHE_OK);
}

static inline void rv_close(rv_rig *rig) {
    she_rv_learner_free(rig->learner);
    munmap(rig->memory, rig->bytes);
}

static inline she_rv_worker *rv_attach(rv_rig *rig, uint32_t number) {
    she_rv_worker *worker;
    CHECK_EQ(she_rv_attach(rig->memory, rig->bytes, &rig->config, number,
                           she_rv_incarnation(rig->learner, number), &worker),
             SHE_OK);
    return worker;
}

/* ---- the learner's side ---- */

static inline void rv_give(rv_rig *rig, uint32_t mailbox, uint64_t action) {
    CHECK(!she_rv_pending(rig->learner, mailbox));
    rig->rows[mailbox].action = action;
    rig->expect[mailbox] = action;
    rig->given[mailbox]++;
    CHECK_EQ(she_rv_command(rig->learner, mailbox, 1, 0, 0), SHE_OK);
}

/* Take an answer if it has come, and check the row. */
static inline bool rv_take(rv_rig *rig, uint32_t mailbox) {
    she_rv_word answer;
    if (she_rv_take(rig->learner, mailbox, &answer) != SHE_OK)
        return false;
    const rv_row *row = &rig->rows[mailbox];
    CHECK_EQ(answer.code, RV_OK);
    CHECK_EQ(row->half, rig->expect[mailbox]);
    CHECK_EQ(row->other_half, rig->expect[mailbox]);
    CHECK_EQ(row->age, rig->given[mailbox]);
    return true;
}

/* A worker's process has ended; another may be started. */
static inline void rv_replace(rv_rig *rig, uint32_t worker) {
    (void)she_rv_replace(rig->learner, worker);
    for (uint32_t m = 0; m < rig->config.num_mailboxes; m++)
        if (rig->worker_of[m] == worker) {
            rig->given[m] = 0;
            memset(&rig->rows[m], 0, sizeof rig->rows[m]);
        }
}

/* ---- the worker's side ---- */

static inline void rv_carry_out(rv_rig *rig, she_rv_worker *worker, uint32_t mailbox,
                                uint64_t *age) {
    rv_row *row = &rig->rows[mailbox];
    uint64_t action = row->action;
    she_rv_at(worker, mailbox + 1);
    row->half = action;
    SHE_FAULT(SHE_STEP_COPIED_HALF);
    row->age = ++age[mailbox];
    row->other_half = action;
    she_rv_answer(worker, mailbox, RV_OK, 0);
}

/* Work until the rendezvous is closed. */
static inline void rv_work(rv_rig *rig, uint32_t number) {
    she_rv_worker *worker = rv_attach(rig, number);
    uint64_t age[RV_MOST] = {0};
    for (;;) {
        uint32_t mailbox;
        she_rv_word command;
        int rc = she_rv_next(worker, &mailbox, &command, RV_FOREVER);
        if (rc == SHE_CLOSED)
            break;
        if (rc == SHE_OK)
            rv_carry_out(rig, worker, mailbox, age);
        else
            CHECK(rc == SHE_WOKEN || rc == SHE_INTERRUPTED);
    }
    she_rv_worker_free(worker);
}

/* ---- workers that may die ---- */

#define RV_WORKERS 3

typedef struct {
    rv_rig *rig;
    uint32_t number;
} rv_job;

static inline void rv_work_in_child(void *argument) {
    rv_job *job = argument;
    rv_work(job->rig, job->number);
}

static inline pid_t rv_start(rv_rig *rig, uint32_t number, void (*body)(void *)) {
    rv_job job = {rig, number};
    return child_start(body, &job);
}

/* A learner with a thread that watches its workers, as a program has. */
typedef struct {
    rv_rig rig;
    pid_t child[RV_WORKERS];
    she_atomic32 dead[RV_WORKERS]; /* set by the thread, which wakes the learner then */
    she_atomic32 over;
    pthread_t watcher;
} rv_world;

/* Continue a child that is stopped, and report one that has ended; false if there was neither. */
static inline bool rv_watch_once(rv_world *w) {
    siginfo_t event = {0};
    if (waitid(P_ALL, 0, &event, WSTOPPED | WNOHANG) == 0 && event.si_pid != 0) {
        CHECK_EQ(kill(event.si_pid, SIGCONT), 0);
        return true;
    }
    event.si_pid = 0;
    if (waitid(P_ALL, 0, &event, WEXITED | WNOHANG | WNOWAIT) != 0 || event.si_pid == 0)
        return false;
    for (uint32_t i = 0; i < w->rig.config.num_workers; i++)
        /* In this order: while a worker is marked dead, the learner writes its number anew. */
        if (!she_load32_acquire(&w->dead[i]) && w->child[i] == event.si_pid) {
            she_store32_seq(&w->dead[i], 1);
            she_rv_wake_learner(w->rig.learner);
            return true;
        }
    return false; /* it is reported, and not replaced yet */
}

static inline void *rv_watch(void *argument) {
    rv_world *w = argument;
    while (!she_load32_acquire(&w->over))
        if (!rv_watch_once(w))
            breathe();
    return NULL;
}

static inline void rv_begin(rv_world *w, uint32_t workers, uint32_t mailboxes,
                            void (*body)(void *)) {
    memset(w, 0, sizeof *w);
    rv_open(&w->rig, workers, mailboxes);
    for (uint32_t i = 0; i < workers; i++)
        w->child[i] = rv_start(&w->rig, i, i ? rv_work_in_child : body);
    CHECK_EQ(pthread_create(&w->watcher, NULL, rv_watch, w), 0);
}

/* Replace the workers that are known to be dead, and return how many. */
static inline uint64_t rv_replace_dead(rv_world *w) {
    uint64_t replaced = 0;
    for (uint32_t i = 0; i < w->rig.config.num_workers; i++) {
        if (!she_load32_acquire(&w->dead[i]))
            continue;
        (void)child_wait(w->child[i], 0);
        rv_replace(&w->rig, i);
        w->child[i] = rv_start(&w->rig, i, rv_work_in_child);
        she_store32_seq(&w->dead[i], 0);
        replaced++;
    }
    return replaced;
}

/* Give this step's command to each mailbox that has not got it, or whose worker was replaced. */
static inline void rv_give_all(rv_rig *rig, uint64_t action) {
    for (uint32_t m = 0; m < rig->config.num_mailboxes; m++)
        if (rig->given[m] == 0 || rig->expect[m] != action) {
            (void)rv_take(rig, m);
            rv_give(rig, m, action);
        }
    for (uint32_t i = 0; i < rig->config.num_workers; i++)
        she_rv_notify(rig->learner, i);
}

static inline void rv_end(rv_world *w) {
    she_rv_close(w->rig.learner);
    for (uint32_t i = 0; i < w->rig.config.num_workers; i++)
        while (!(process_state(w->child[i]) == 'Z' || process_state(w->child[i]) == 'X'))
            breathe(); /* one that is stopped is continued by the watcher */
    she_store32_seq(&w->over, 1);
    pthread_join(w->watcher, NULL);
    for (uint32_t i = 0; i < w->rig.config.num_workers; i++)
        (void)child_wait(w->child[i], 0);
    rv_close(&w->rig);
}

#endif
