/* Listening sockets, and connections from accept or adopt to the mailbox of their reader. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ingress_parts.h"

/* Connections that are accepted before others have their turn. */
#define ACCEPT_BUDGET 64
/* Without a descriptor accept fails at once: the next attempt has to wait. */
#define PAUSE_NS UINT64_C(100000000)
#define TOLD_EVERY_NS UINT64_C(60000000000)
/* Descriptors that connections leave to the rest of the process, at most, and of a low limit one in
 * so many: strangers must not keep the learner from opening a file. */
#define DESCRIPTORS_LEFT 64u
#define DESCRIPTORS_PART 16u

/* ---- options of sockets ---------------------------------------------------------------------- */

static void set_option(int fd, int level, int name, uint32_t value) {
    if (value) {
        int number = (int)value;
        (void)setsockopt(fd, level, name, &number, sizeof number);
    }
}

/* A failure is none of the connection: it works without. */
static void set_options(const she_ingress *g, connection *c) {
    const she_ingress_config *f = &g->config;
    if (c->peer.any.sa_family != AF_INET && c->peer.any.sa_family != AF_INET6)
        return;
    c->tcp = true;
    set_option(c->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(c->fd, SOL_SOCKET, SO_KEEPALIVE, f->keepalive_idle_s != 0);
    set_option(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, f->keepalive_idle_s);
    set_option(c->fd, IPPROTO_TCP, TCP_KEEPINTVL, f->keepalive_interval_s);
    set_option(c->fd, IPPROTO_TCP, TCP_KEEPCNT, f->keepalive_count);
    if (!large(g) || g->payload > INT32_MAX)
        return;
    /* Large samples are received as a whole if the kernel grants to keep so much of them. */
    int want = (int)g->payload, granted = 0;
    socklen_t bytes = sizeof granted;
    if (setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &want, sizeof want) == 0 &&
        getsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &granted, &bytes) == 0 && granted > 0) {
        c->direct = granted == want;
        c->lowat = c->lowat_most = (uint32_t)granted;
    }
}

static void read_peer(connection *c) {
    socklen_t bytes = sizeof c->peer;
    if (getpeername(c->fd, &c->peer.any, &bytes) != 0 ||
        (c->peer.any.sa_family != AF_INET && c->peer.any.sa_family != AF_INET6))
        bytes = 0;
    c->peer_bytes = bytes;
}

/* ---- making ---------------------------------------------------------------------------------- */

/* Hand a socket over to a reader. 0, or an errno; the descriptor is the caller's then. */
int connection_make(she_ingress *g, int fd, bool greeted, uint64_t queued_before,
                    uint64_t position_before, uint64_t *id) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return errno;
    connection *c = calloc(1, sizeof *c);
    if (!c)
        return ENOMEM;
    c->fd = fd;
    c->in.payload = g->payload;
    c->greeting_sent = greeted ? g->config.greeting_bytes : 0;
    c->whole = c->acked = c->queued_before = queued_before;
    /* Relaxed: the mailbox's lock hands the record over. */
    she_store_relaxed(&c->queued, queued_before);
    she_store_relaxed(&c->inserted, queued_before);
    she_store_relaxed(&c->last_position, position_before);
    she_store_relaxed(&c->last_seen_ns, she_now_coarse_ns());
    read_peer(c);
    set_options(g, c);
    int error = table_add(g, c, id);
    if (error)
        free(c);
    return error;
}

/* ---- accepting ------------------------------------------------------------------------------- */

int accept_open(reader *r) {
    r->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return r->spare < 0 ? errno : 0;
}

static void refused(reader *r, int error) {
    uint64_t now = she_now_ns();
    if (r->refused_told_ns && now - r->refused_told_ns < TOLD_EVERY_NS)
        return;
    r->refused_told_ns = now;
    event_refused(r->ingress, error);
}

static void watch_listeners(const reader *r, uint32_t events) {
    she_ingress *g = r->ingress;
    pthread_mutex_lock(&g->table_lock);
    for (uint32_t i = 0; i < g->num_listeners; i++) {
        struct epoll_event event = {.events = events, .data.ptr = &g->listeners[i]};
        (void)epoll_ctl(r->epoll, EPOLL_CTL_MOD, g->listeners[i], &event);
    }
    pthread_mutex_unlock(&g->table_lock);
}

/* There is no descriptor left. Accept with the spare one and close at once, so that the peer learns
 * of it and is not waiting in the queue of the listening socket for good; then pause. */
static void without_descriptors(reader *r, int listener, int error) {
    if (r->spare >= 0) {
        close(r->spare);
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            close(fd);
        (void)accept_open(r);
    }
    refused(r, error);
    r->accept_again_ns = she_now_ns() + PAUSE_NS;
    watch_listeners(r, 0);
}

/* True if a new descriptor is one of those that are left to others: it has the lowest number that
 * was free. */
static bool one_of_the_last(int fd) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return false;
    rlim_t left = limit.rlim_cur / DESCRIPTORS_PART;
    return (rlim_t)fd >= limit.rlim_cur - (left < DESCRIPTORS_LEFT ? left : DESCRIPTORS_LEFT);
}

void accept_some(reader *r, int listener) {
    for (int i = 0; i < ACCEPT_BUDGET; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            uint64_t id;
            int error =
                one_of_the_last(fd) ? EMFILE : connection_make(r->ingress, fd, false, 0, 0, &id);
            if (error) {
                close(fd);
                refused(r, error);
            }
            continue;
        }
        switch (errno) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            without_descriptors(r, listener, errno);
            return;
        case EAGAIN:
            return;
        default: /* the peer is gone already, or a network error of its connection */
            break;
        }
    }
}

int accept_resume(reader *r) {
    if (!r->accept_again_ns)
        return -1;
    uint64_t now = she_now_ns();
    if (now < r->accept_again_ns)
        return (int)((r->accept_again_ns - now) / 1000000) + 1;
    r->accept_again_ns = 0;
    watch_listeners(r, EPOLLIN);
    return -1;
}

int she_ingress_listen(she_ingress *g, int listening_fd) {
    int fd = fcntl(listening_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return errno;
    int flags = fcntl(fd, F_GETFL), error = 0;
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        error = errno;
        close(fd);
        return error;
    }
    pthread_mutex_lock(&g->table_lock);
    if (g->closed || g->num_listeners == MAX_LISTENERS) {
        error = g->closed ? ESHUTDOWN : EMFILE;
    } else {
        g->listeners[g->num_listeners] = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &g->listeners[g->num_listeners]};
        if (epoll_ctl(g->readers[0].epoll, EPOLL_CTL_ADD, fd, &event) == 0)
            g->num_listeners++;
        else
            error = errno;
    }
    pthread_mutex_unlock(&g->table_lock);
    if (error)
        close(fd);
    return error;
}

int she_ingress_adopt(she_ingress *g, int fd, uint64_t queued_before, uint64_t position_before,
                      uint64_t *id) {
    return connection_make(g, fd, true, queued_before, position_before, id);
}
