/* The end of a connection: what is whole is delivered and acknowledged first. */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ingress_parts.h"

void count_blocked(connection *c) {
    c->parked = false;
    /* Relaxed: figures. */
    uint64_t since = she_load_relaxed(&c->blocked_since_ns);
    she_store_relaxed(&c->blocked_since_ns, 0);
    she_add_relaxed(&c->blocked_ns, she_now_coarse_ns() - since);
}

/* No more of this connection is read. What is whole is delivered and acknowledged. A connection
 * that is ending well may still get an error: a kick, or a peer that has vanished meanwhile. */
void begin_end(reader *r, connection *c, int32_t error) {
    if (!c->error)
        c->error = error;
    if (c->ending)
        return;
    c->ending = true;
    if (c->parked)
        count_blocked(c);
    put_fragment(r->ingress, c);
    watch(r, c, c->interest & ~(uint32_t)EPOLLIN);
}

/* Finish an ending connection, unless drainers have samples of it or it can still be told how many
 * of them were queued. Afterwards the record may be gone. */
void end_perhaps(reader *r, connection *c) {
    she_ingress *g = r->ingress;
    pay(r, c);
    if (c->lent) {
        /* A client that waits for the end of the stream has all its acknowledgements: it need not
         * wait until the learner has made room for the samples. Relaxed: stored by this thread. */
        if (c->error == 0 && !in_debt(g, c) && she_load_relaxed(&c->queued) == c->whole)
            (void)shutdown(c->fd, SHUT_WR);
        return;
    }
    release_queue(g, c);
    if (c->error == 0 && !c->deaf && !c->hung_up && in_debt(g, c))
        return; /* EPOLLOUT, or the end of the socket, goes on */
    retry_remove(r, c);
    mail_end(r, c);
    /* Closing the socket is not enough: while the child of a fork has a copy of the descriptor,
     * epoll would go on to report events of a connection that is forgotten. */
    watch_end(r, c);
    connection_drop(g, c);
}

/* Close the socket without a reset, which could overtake the last acknowledgements: a socket that
 * is closed with unread bytes sends one. */
static void close_gently(int fd) {
    (void)shutdown(fd, SHUT_WR);
    char scrap[4096];
    for (int i = 0; i < 1024 && recv(fd, scrap, sizeof scrap, MSG_DONTWAIT) > 0; i++) {
    }
    close(fd);
}

/* The end of a connection that no thread works on. */
void connection_drop(she_ingress *g, connection *c) {
    int fd = c->fd;
    /* Relaxed: no thread works on it. */
    uint64_t queued = she_load_relaxed(&c->queued), inserted = she_load_relaxed(&c->inserted);
    if (queued > inserted)
        she_add_relaxed(&g->dropped, queued - inserted);
    else
        she_store_relaxed(&c->queued, inserted); /* not acknowledged, but there */
    while (c->read_block) {
        block *next = c->read_block->next;
        pool_put(&g->blocks, c->read_block);
        c->read_block = next;
    }
    c->write_block = NULL;
    put_fragment(g, c);
    c->fd = -1; /* first: a fork's child closes what is in the table */
    close_gently(fd);
    event_ended(g, c);
}
