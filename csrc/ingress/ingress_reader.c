/* A reader's loop: it sleeps in epoll and serves the connections that have something to read. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ingress_parts.h"

#define EVENTS 64
/* How soon a connection that found no memory tries again. */
#define STARVED_MS 5

/* ---- which connections are served without an event of their socket --------------------------- */

void retry_add(reader *r, connection *c) {
    if (c->retrying)
        return;
    c->retrying = true;
    c->retry_before = NULL;
    c->retry_next = r->retries;
    if (r->retries)
        r->retries->retry_before = c;
    r->retries = c;
}

void retry_remove(reader *r, connection *c) {
    if (!c->retrying)
        return;
    c->retrying = false;
    if (c->retry_before)
        c->retry_before->retry_next = c->retry_next;
    else
        r->retries = c->retry_next;
    if (c->retry_next)
        c->retry_next->retry_before = c->retry_before;
}

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

/* ---- vanished peers -------------------------------------------------------------------------- */

/* Keep-alive probes find a host that vanishes while nothing is on its way to it. If something is,
 * the kernel sends it again for a quarter of an hour. TCP_USER_TIMEOUT would shorten that, but it
 * also ends the connection of a peer that is alive and does not read its acknowledgements for so
 * long. Such a peer answers; one that has vanished does not. So the reader looks itself, at four
 * moments of the time-out, and only while something is on its way. */

void sent_something(reader *r, connection *c) {
    uint64_t timeout = r->ingress->config.user_timeout_ms;
    if (!c->tcp || !timeout)
        return;
    c->unconfirmed = true;
    if (!r->check_ns)
        r->check_ns = she_now_coarse_ns() + timeout * 1000000 / 4;
}

/* Probes of a closed window come ever more rarely: a few without answer count, whatever the time.*/
#define LOST_PROBES 3

static bool silent(const connection *c, uint32_t timeout_ms) {
    struct tcp_info info;
    socklen_t bytes = sizeof info;
    memset(&info, 0, sizeof info);
    return getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) == 0 &&
           info.tcpi_last_ack_recv >= timeout_ms / 4 * 3 &&
           (info.tcpi_retransmits > 0 || info.tcpi_probes >= LOST_PROBES);
}

static void check_peers(reader *r) {
    she_ingress *g = r->ingress;
    bool unconfirmed = false;
    pthread_mutex_lock(&g->table_lock);
    for (uint64_t i = 0; i < g->num_slots; i++) {
        connection *c = g->slots[i];
        int left = 0;
        if (!c || c->reader != r->index || c->ended || !c->unconfirmed)
            continue;
        c->unconfirmed = ioctl(c->fd, SIOCOUTQ, &left) == 0 && left > 0;
        if (c->unconfirmed && silent(c, g->config.user_timeout_ms)) {
            c->vanished = true;
            retry_add(r, c);
        }
        unconfirmed |= c->unconfirmed;
    }
    pthread_mutex_unlock(&g->table_lock);
    uint64_t timeout = g->config.user_timeout_ms;
    r->check_ns = unconfirmed ? she_now_coarse_ns() + timeout * 1000000 / 4 : 0;
}

/* Milliseconds until the next look; -1: none is due. */
static int check_due(const reader *r) {
    uint64_t now = she_now_coarse_ns();
    if (!r->check_ns)
        return -1;
    return now >= r->check_ns ? 0 : (int)((r->check_ns - now) / 1000000) + 1;
}

/* ---- the loop's time-out --------------------------------------------------------------------- */

static int sooner(int a, int b) {
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    return a < b ? a : b;
}

/* Milliseconds to sleep at most; -1: until something happens. */
static int patience(reader *r) {
    int due = check_due(r);
    if (due == 0) {
        check_peers(r);
        due = check_due(r);
    }
    if (r->index == 0)
        due = sooner(due, accept_resume(r));
    for (const connection *c = r->retries; c; c = c->retry_next)
        if (!c->starved || c->vanished)
            return 0;
    return r->retries ? sooner(due, STARVED_MS) : due;
}

/* ---- epoll ----------------------------------------------------------------------------------- */

/* Ask for these events of a connection's socket. */
void watch(reader *r, connection *c, uint32_t interest) {
    bool changed = interest != c->interest;
    c->interest = interest;
    if (c->hung_up || (c->registered && !changed))
        return;
    struct epoll_event event = {.events = interest, .data.ptr = c};
    if (epoll_ctl(r->epoll, c->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event) == 0)
        c->registered = true;
    else if (!c->registered) {
        /* Out of kernel memory or over the user's limit of watches. */
        c->hung_up = true;
        begin_end(r, c, errno);
    }
}

static void on_socket(reader *r, connection *c, uint32_t events) {
    if (events & (EPOLLHUP | EPOLLERR) && (c->parked || c->ending)) {
        /* Reported again and again, asked for or not; the bytes that came before stay readable. */
        c->hung_up = true;
        c->registered = false;
        (void)epoll_ctl(r->epoll, EPOLL_CTL_DEL, c->fd, NULL);
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

/* ---- the mailbox ----------------------------------------------------------------------------- */

void reader_wake(const reader *r) {
    uint64_t one = 1;
    while (write(r->wake, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

void mail_post(she_ingress *g, connection *c, uint32_t mail) {
    reader *r = &g->readers[c->reader];
    bool wake = false;
    pthread_mutex_lock(&r->mail_lock);
    if (!c->mail_over) {
        c->mail |= mail;
        if (mail & MAIL_RETURNED)
            c->returns++;
        if (!c->mailed) {
            c->mailed = true;
            c->mail_next = NULL;
            wake = !r->mail_first;
            if (r->mail_last)
                r->mail_last->mail_next = c;
            else
                r->mail_first = c;
            r->mail_last = c;
        }
    }
    pthread_mutex_unlock(&r->mail_lock);
    if (wake)
        reader_wake(r);
}

static connection *mail_take(reader *r, uint32_t *mail, uint32_t *returns) {
    pthread_mutex_lock(&r->mail_lock);
    connection *c = r->mail_first;
    if (c) {
        r->mail_first = c->mail_next;
        if (!r->mail_first)
            r->mail_last = NULL;
        *mail = c->mail;
        *returns = c->returns;
        c->mail = c->returns = 0;
        c->mailed = false;
    }
    pthread_mutex_unlock(&r->mail_lock);
    return c;
}

/* No mail comes to this connection any more, and none is left. */
void mail_end(reader *r, connection *c) {
    pthread_mutex_lock(&r->mail_lock);
    c->mail_over = true;
    if (c->mailed) {
        connection *before = NULL, **at = &r->mail_first;
        while (*at != c) {
            before = *at;
            at = &before->mail_next;
        }
        *at = c->mail_next;
        if (r->mail_last == c)
            r->mail_last = before;
        c->mailed = false;
    }
    pthread_mutex_unlock(&r->mail_lock);
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
