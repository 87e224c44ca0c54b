/* The reasons for which a reader comes back to a connection: events of its socket, or none. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>

#include "ingress_parts.h"

/* ---- events of the socket -------------------------------------------------------------------- */

/* Begin to watch a connection's socket. 0, or an errno: out of kernel memory, or over the user's
 * limit of watches. */
int watch_begin(reader *r, connection *c, uint32_t interest) {
    struct epoll_event event = {.events = interest, .data.ptr = c};
    c->interest = interest;
    c->registered = epoll_ctl(r->epoll, EPOLL_CTL_ADD, c->fd, &event) == 0;
    c->hung_up = !c->registered;
    return c->registered ? 0 : errno;
}

/* Ask for these events, unless its socket is not watched any more. */
void watch(reader *r, connection *c, uint32_t interest) {
    bool changed = interest != c->interest;
    struct epoll_event event = {.events = interest, .data.ptr = c};
    c->interest = interest;
    if (c->registered && changed)
        (void)epoll_ctl(r->epoll, EPOLL_CTL_MOD, c->fd, &event);
}

void watch_end(reader *r, connection *c) {
    if (c->registered)
        (void)epoll_ctl(r->epoll, EPOLL_CTL_DEL, c->fd, NULL);
    c->registered = false;
}

/* ---- without an event ------------------------------------------------------------------------ */

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
