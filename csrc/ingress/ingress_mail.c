/* The mailbox of a reader: what other threads have for its connections. */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "ingress_parts.h"

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

connection *mail_take(reader *r, uint32_t *mail, uint32_t *returns) {
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
