/* Peers whose host has vanished. */
#define _GNU_SOURCE
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>

#include "ingress_parts.h"

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

void peers_check(reader *r) {
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
int peers_due(const reader *r) {
    uint64_t now = she_now_coarse_ns();
    if (!r->check_ns)
        return -1;
    return now >= r->check_ns ? 0 : (int)((r->check_ns - now) / 1000000) + 1;
}
