/* Opens and closes the ingress. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ingress_parts.h"

/* ---- opening --------------------------------------------------------------------------------- */

/* The bytes of one sample; 0 if there are none, or too many. */
static uint64_t payload_of(const she_ring *ring) {
    uint64_t sum = 0;
    for (uint32_t leaf = 0; leaf < ring->num_leaves; leaf++)
        if (__builtin_add_overflow(sum, ring->leaves[leaf].row_bytes, &sum) || sum > INT64_MAX / 2)
            return 0;
    return sum;
}

static bool open_reader(she_ingress *g, uint32_t index) {
    reader *r = &g->readers[index];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = r};
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->scratch = large(g) ? NULL : malloc(SCRATCH_BYTES);
    return r->epoll >= 0 && r->wake >= 0 && (r->scratch || large(g)) &&
           epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->wake, &event) == 0 &&
           (index > 0 || accept_open(r) == 0) &&
           she_producer_open(g->ring, g->config.owners[index], &r->producer) == SHE_OK;
}

static bool start(pthread_t *thread, const char *name, uint32_t index, void *(*body)(void *),
                  void *argument) {
    char text[16];
    if (pthread_create(thread, NULL, body, argument) != 0)
        return false;
    snprintf(text, sizeof text, "she-%s-%u", name, index % 1000);
    (void)pthread_setname_np(*thread, text);
    return true;
}

/* The threads inherit the mask. Signals of the process go to its other threads; those of a thread's
 * own faults are not blocked, or the guard of the ring's memory could not handle them. */
static void block_signals(sigset_t *before) {
    static const int own[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_BLOCK, &all, before);
}

static bool start_threads(she_ingress *g) {
    sigset_t before;
    bool ok = true;
    block_signals(&before);
    for (uint32_t i = 0; ok && i < g->config.num_readers; i++) {
        reader *r = &g->readers[i];
        ok = r->started = start(&r->thread, "read", i, reader_main, r);
    }
    for (uint32_t i = 0; ok && i < g->config.num_drainers; i++) {
        drainer *d = &g->drainers[i];
        ok = d->started = start(&d->thread, "drain", i, drainer_main, d);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

static bool open_histograms(she_ingress *g) {
    if (!g->config.detailed)
        return true;
    g->rounds = calloc(1, sizeof *g->rounds);
    g->dwell = calloc(1, sizeof *g->dwell);
    g->rounds_before = calloc(1, sizeof *g->rounds_before);
    g->dwell_before = calloc(1, sizeof *g->dwell_before);
    g->sum = calloc(1, sizeof *g->sum);
    return g->rounds && g->dwell && g->rounds_before && g->dwell_before && g->sum;
}

static bool open_parts(she_ingress *g) {
    const she_ingress_config *f = &g->config;
    for (uint32_t i = 0; i < f->num_readers; i++)
        if (!open_reader(g, i))
            return false;
    for (uint32_t i = 0; i < f->num_drainers; i++)
        if (she_producer_open(g->ring, f->owners[f->num_readers + i], &g->drainers[i].producer) !=
            SHE_OK)
            return false;
    g->event_fd = eventfd(0, EFD_CLOEXEC);
    return g->event_fd >= 0 && open_histograms(g);
}

/* A copy of the order, or the ring's own. NULL without memory, or if it is no permutation. */
static uint32_t *take_order(const she_ring *ring, const uint32_t *order, bool *wrong) {
    uint32_t n = ring->num_leaves;
    uint32_t *copy = calloc(n, sizeof *copy);
    uint8_t *seen = calloc(n, 1);
    *wrong = false;
    for (uint32_t i = 0; copy && seen && i < n; i++) {
        copy[i] = order ? order[i] : i;
        *wrong = *wrong || copy[i] >= n || seen[copy[i]]++;
    }
    if (!seen || *wrong) {
        free(copy);
        copy = NULL;
    }
    free(seen);
    return copy;
}

static bool take_config(she_ingress *g, const she_ingress_config *f) {
    uint32_t threads = f->num_readers + f->num_drainers;
    uint32_t *owners = calloc(threads, sizeof *owners);
    g->config = *f;
    g->config.owners = owners;
    g->greeting = malloc(f->greeting_bytes + 1);
    g->readers = calloc(f->num_readers, sizeof *g->readers);
    g->drainers = calloc(f->num_drainers, sizeof *g->drainers);
    if (!owners || !g->greeting || !g->readers || !g->drainers)
        return false;
    memcpy(owners, f->owners, threads * sizeof *owners);
    if (f->greeting_bytes)
        memcpy(g->greeting, f->greeting, f->greeting_bytes);
    for (uint32_t i = 0; i < f->num_readers; i++) {
        g->readers[i] = (reader){.ingress = g, .index = i, .epoll = -1, .wake = -1, .spare = -1};
        pthread_mutex_init(&g->readers[i].mail_lock, NULL);
    }
    for (uint32_t i = 0; i < f->num_drainers; i++)
        g->drainers[i].ingress = g;
    return true;
}

static void open_memory(she_ingress *g) {
    uint64_t stamp = g->config.detailed ? sizeof(uint64_t) : 0;
    g->stride = g->payload + stamp;
    g->block_samples = large(g) ? 1 : BLOCK_BYTES / g->payload;
    if (g->block_samples > g->config.queue_samples)
        g->block_samples = g->config.queue_samples;
    uint64_t kept = g->config.ingress_bytes / 8;
    pool_open(&g->blocks, g->stride * g->block_samples, kept, &g->held);
    pool_open(&g->fragments, g->payload, large(g) ? 0 : kept, &g->held);
    pthread_mutex_init(&g->work_lock, NULL);
    pthread_cond_init(&g->work_came, NULL);
    pthread_mutex_init(&g->table_lock, NULL);
}

int she_ingress_open(she_ring *ring, const she_ingress_config *f, she_ingress **out) {
    uint64_t payload = payload_of(ring);
    if (payload == 0 || f->num_readers == 0 || f->num_drainers == 0 || f->queue_samples == 0 ||
        (f->wire != SHE_WIRE_ECHO && f->wire != SHE_WIRE_SHM) || f->num_readers > 1024 ||
        f->num_drainers > 1024)
        return SHE_E_CONFIG;
    bool wrong;
    uint32_t *order = take_order(ring, f->leaf_order, &wrong);
    she_ingress *g = order ? calloc(1, sizeof *g) : NULL;
    if (!g) {
        free(order);
        return wrong ? SHE_E_CONFIG : SHE_E_MEMORY;
    }
    g->leaf_order = order;
    g->ring = ring;
    g->guard = she_guard_of(ring->base);
    g->payload = payload;
    g->pid = getpid();
    g->event_fd = -1;
    bool ok = take_config(g, f);
    open_memory(g);
    if (!ok || !open_parts(g) || !start_threads(g)) {
        she_ingress_free(g);
        return SHE_E_MEMORY;
    }
    *out = g;
    return SHE_OK;
}

/* ---- closing --------------------------------------------------------------------------------- */

static bool forked(const she_ingress *g) { return g->pid != getpid(); }

static void close_fd(int *fd) {
    int number = *fd;
    *fd = -1;
    if (number >= 0)
        close(number);
}

static void stop_threads(she_ingress *g) {
    /* SYNC ingress-closing: pairs with the load in closing; before everything that wakes. */
    she_store32_release(&g->closing, 1);
    for (uint32_t i = 0; i < g->config.num_readers; i++) {
        if (g->readers[i].producer)
            she_producer_stop(g->readers[i].producer);
        if (g->readers[i].wake >= 0)
            reader_wake(&g->readers[i]);
    }
    for (uint32_t i = 0; i < g->config.num_drainers; i++)
        if (g->drainers[i].producer)
            she_producer_stop(g->drainers[i].producer);
    pthread_mutex_lock(&g->work_lock);
    pthread_cond_broadcast(&g->work_came);
    pthread_mutex_unlock(&g->work_lock);
    for (uint32_t i = 0; i < g->config.num_readers; i++)
        if (g->readers[i].started)
            pthread_join(g->readers[i].thread, NULL);
    for (uint32_t i = 0; i < g->config.num_drainers; i++)
        if (g->drainers[i].started)
            pthread_join(g->drainers[i].thread, NULL);
}

static void close_descriptors(she_ingress *g) {
    for (uint32_t i = 0; i < g->num_listeners; i++)
        close_fd(&g->listeners[i]);
    for (uint32_t i = 0; i < g->config.num_readers; i++) {
        close_fd(&g->readers[i].epoll);
        close_fd(&g->readers[i].wake);
        close_fd(&g->readers[i].spare);
    }
}

void she_ingress_close(she_ingress *g, uint64_t *dropped) {
    *dropped = 0;
    if (forked(g))
        return;
    pthread_mutex_lock(&g->table_lock);
    bool again = g->closed;
    g->closed = true; /* no new connection or listener */
    pthread_mutex_unlock(&g->table_lock);
    if (again)
        return;
    stop_threads(g);
    for (uint64_t i = 0; i < g->num_slots; i++) { /* the table does not grow any more */
        /* With the lock: a thread that takes events may be freeing one that has ended. */
        pthread_mutex_lock(&g->table_lock);
        connection *c = g->slots[i];
        bool open = c && !c->ended;
        pthread_mutex_unlock(&g->table_lock);
        if (open) {
            c->error = c->error ? c->error : ESHUTDOWN;
            connection_drop(g, c);
        }
    }
    close_descriptors(g);
    /* Relaxed: the threads have ended. */
    *dropped = she_load_relaxed(&g->dropped);
    pthread_mutex_lock(&g->table_lock);
    event_signal(g);
    pthread_mutex_unlock(&g->table_lock);
}

void she_ingress_after_fork(she_ingress *g) {
    for (uint64_t i = 0; i < g->num_slots; i++)
        if (g->slots[i])
            close_fd(&g->slots[i]->fd);
    close_descriptors(g);
}

void she_ingress_free(she_ingress *g) {
    uint64_t dropped;
    if (!g)
        return;
    she_ingress_close(g, &dropped);
    for (uint64_t i = 0; i < g->num_slots; i++)
        free(g->slots[i]);
    free(g->slots);
    close_fd(&g->event_fd);
    for (uint32_t i = 0; g->readers && i < g->config.num_readers; i++) {
        free(g->readers[i].scratch);
        she_producer_free(g->readers[i].producer);
    }
    for (uint32_t i = 0; g->drainers && i < g->config.num_drainers; i++)
        she_producer_free(g->drainers[i].producer);
    if (!forked(g)) { /* a lock may be held by a thread that this process does not have */
        pool_close(&g->blocks);
        pool_close(&g->fragments);
    }
    free((void *)(uintptr_t)g->config.owners);
    free(g->greeting);
    free(g->leaf_order);
    free(g->readers);
    free(g->drainers);
    free(g->rounds);
    free(g->dwell);
    free(g->rounds_before);
    free(g->dwell_before);
    free(g->sum);
    free(g);
}
