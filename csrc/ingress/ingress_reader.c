/* A reader's loop: it sleeps in epoll and serves the connections that have something to read. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "ingress_parts.h"

#define EVENTS 64
/* How soon a connection that found no memory tries again. */
#define STARVED_MS 5

/* ---- the loop's time-out --------------------------------------------------------------------- */

static int sooner(int a, int b) {
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    return a < b ? a : b;
}

/* Milliseconds to sleep at most; -1: until something happens. */
static int patience(reader *r) {
    int due = peers_due(r);
    if (due == 0) {
        peers_check(r);
        due = peers_due(r);
    }
    if (r->index == 0)
        due = sooner(due, accept_resume(r));
    for (const connection *c = r->retries; c; c = c->retry_next)
        if (!c->starved || c->vanished)
            return 0;
    return r->retries ? sooner(due, STARVED_MS) : due;
}

/* ---- what a turn serves ---------------------------------------------------------------------- */

static void serve_retries(reader *r) {
    /* The list as it is now: those who come back to it wait for the next turn. */
    connection *c = r->retries;
    r->retries = NULL;
    while (c) {
        connection *next = c->retry_next;
        c->retrying = false;
        if (next)
            next->retry_before = NULL;
        serve(r, c);
        c = next;
    }
}

static void on_socket(reader *r, connection *c, uint32_t events) {
    if (events & (EPOLLHUP | EPOLLERR) && (c->parked || c->ending)) {
        /* Reported again and again, asked for or not; the bytes that came before stay readable. */
        c->hung_up = true;
        watch_end(r, c);
    }
    if (c->ending)
        end_perhaps(r, c);
    else if (!c->parked && events & ~(uint32_t)EPOLLOUT)
        serve(r, c);
    else
        pay(r, c);
}

static void empty_eventfd(int fd) {
    uint64_t count;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

void *reader_main(void *argument) {
    reader *r = argument;
    she_ingress *g = r->ingress;
    struct epoll_event events[EVENTS];
    while (!closing(g)) {
        int n = epoll_wait(r->epoll, events, EVENTS, patience(r));
        for (int i = 0; i < n; i++) {
            void *of = events[i].data.ptr;
            if (of == r)
                empty_eventfd(r->wake);
            else if ((int *)of >= g->listeners && (int *)of < g->listeners + MAX_LISTENERS)
                accept_some(r, *(int *)of);
            else
                on_socket(r, of, events[i].events);
        }
        connection *c;
        uint32_t mail, returns;
        while (!closing(g) && (c = mail_take(r, &mail, &returns)))
            connection_mail(r, c, mail, returns);
        if (r->retries)
            serve_retries(r);
    }
    return NULL;
}
