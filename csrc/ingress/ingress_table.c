/* The connections by id, their events, and what others may see of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ingress_parts.h"

/* An id is a serial number and a place in the table: it is found at once, and not used again. */
#define PLACE_BITS 24
#define PLACE_MASK ((UINT64_C(1) << PLACE_BITS) - 1)

/* ---- the table; called with table_lock ------------------------------------------------------- */

static bool grow(she_ingress *g) {
    uint64_t more = g->num_slots ? 2 * g->num_slots : 64;
    connection **slots = more <= PLACE_MASK + 1 ? calloc(more, sizeof(connection *)) : NULL;
    if (!slots)
        return false;
    connection **old = g->slots;
    if (old)
        memcpy(slots, old, g->num_slots * sizeof *slots);
    /* In this order, for the child of a fork that happens here (she_ingress_after_fork). */
    g->slots = slots;
    g->next_slot = g->num_slots;
    g->num_slots = more;
    free(old);
    return true;
}

connection *table_find(const she_ingress *g, uint64_t id) {
    uint64_t place = id & PLACE_MASK;
    connection *c = place < g->num_slots ? g->slots[place] : NULL;
    return c && c->id == id ? c : NULL;
}

static void event_list(she_ingress *g, connection *c) {
    if (!c->event_listed) {
        c->event_listed = true;
        c->event_next = NULL;
        if (g->event_last)
            g->event_last->event_next = c;
        else
            g->event_first = c;
        g->event_last = c;
    }
    event_signal(g);
}

/* ---- connections come and go ----------------------------------------------------------------- */

/* Register a connection and give it to a reader. 0, or an errno. */
int table_add(she_ingress *g, connection *c, uint64_t *id) {
    pthread_mutex_lock(&g->table_lock);
    int error = g->closed || closing(g) ? ESHUTDOWN : 0;
    if (!error && g->num_records == g->num_slots && !grow(g))
        error = ENOMEM;
    if (!error) {
        while (g->slots[g->next_slot])
            g->next_slot = (g->next_slot + 1) % g->num_slots;
        *id = c->id = ++g->serial << PLACE_BITS | g->next_slot;
        c->reader = g->next_reader++ % g->config.num_readers;
        g->slots[g->next_slot] = c;
        g->num_records++;
        g->connections++;
        event_list(g, c);
        mail_post(g, c, MAIL_NEW);
    }
    pthread_mutex_unlock(&g->table_lock);
    return error;
}

/* The end of a connection. The next event frees its record. */
void event_ended(she_ingress *g, connection *c) {
    pthread_mutex_lock(&g->table_lock);
    c->ended = true;
    g->connections--;
    /* Relaxed: no thread works on it. */
    g->inserted_gone += she_load_relaxed(&c->inserted) - c->queued_before;
    event_list(g, c);
    pthread_mutex_unlock(&g->table_lock);
}

void event_refused(she_ingress *g, int error) {
    pthread_mutex_lock(&g->table_lock);
    g->refused_error = error;
    event_signal(g);
    pthread_mutex_unlock(&g->table_lock);
}

/* Called with table_lock. */
void event_signal(she_ingress *g) {
    uint64_t one = 1;
    if (g->event_told)
        return;
    g->event_told = true;
    while (write(g->event_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

int she_ingress_event_fd(const she_ingress *g) { return g->event_fd; }

static void describe(const connection *c, she_ingress_event *out) {
    out->id = c->id;
    /* Relaxed: no thread works on it after its end, and before that they are figures. */
    out->queued = she_load_relaxed(&c->queued);
    out->last_position = she_load_relaxed(&c->last_position);
    out->peer_bytes = c->peer_bytes;
    memcpy(&out->peer, &c->peer, sizeof c->peer);
}

/* The event of the first connection in the list; then the connection that is to be freed. */
static connection *event_of_first(she_ingress *g, she_ingress_event *out) {
    connection *c = g->event_first;
    describe(c, out);
    if (!c->opened_told) {
        c->opened_told = true;
        out->kind = SHE_INGRESS_OPENED;
        if (c->ended)
            return NULL; /* its end comes next */
    } else {
        bool clean =
            c->in.have == 0 && (c->error == 0 || c->error == ECANCELED || c->error == ESHUTDOWN);
        out->kind = clean ? SHE_INGRESS_ENDED : SHE_INGRESS_LOST;
        out->error = c->error;
        out->fragment = c->in.have;
    }
    g->event_first = c->event_next;
    if (!g->event_first)
        g->event_last = NULL;
    c->event_listed = false;
    if (!c->ended)
        return NULL;
    g->slots[c->id & PLACE_MASK] = NULL;
    g->num_records--;
    return c;
}

bool she_ingress_next_event(she_ingress *g, she_ingress_event *out) {
    connection *gone = NULL;
    bool any = true;
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&g->table_lock);
    if (g->refused_error) {
        out->kind = SHE_INGRESS_REFUSED;
        out->error = g->refused_error;
        g->refused_error = 0;
    } else if (g->event_first) {
        gone = event_of_first(g, out);
    } else if (g->closed && !g->closed_told) {
        out->kind = SHE_INGRESS_CLOSED;
        g->closed_told = true;
    } else {
        any = g->event_told = false;
    }
    pthread_mutex_unlock(&g->table_lock);
    free(gone);
    return any;
}

bool she_ingress_kick(she_ingress *g, uint64_t id) {
    pthread_mutex_lock(&g->table_lock);
    connection *c = table_find(g, id);
    bool there = c && !c->ended;
    if (there)
        mail_post(g, c, MAIL_KICK);
    pthread_mutex_unlock(&g->table_lock);
    return there;
}

/* ---- views ----------------------------------------------------------------------------------- */

static void view(const connection *c, she_ingress_view *out) {
    memset(out, 0, sizeof *out);
    out->id = c->id;
    /* Relaxed: figures. */
    out->queued = she_load_relaxed(&c->queued);
    out->inserted = she_load_relaxed(&c->inserted);
    out->in_queue = she_load_relaxed(&c->pending);
    out->blocked_ns = she_load_relaxed(&c->blocked_ns);
    uint64_t since = she_load_relaxed(&c->blocked_since_ns), now = she_now_coarse_ns();
    if (since && now > since)
        out->blocked_ns += now - since;
    out->last_seen_ns = she_load_relaxed(&c->last_seen_ns);
    out->last_position = she_load_relaxed(&c->last_position);
    out->peer_bytes = c->peer_bytes;
    memcpy(&out->peer, &c->peer, sizeof c->peer);
}

uint64_t she_ingress_connections(she_ingress *g, she_ingress_view *out, uint64_t most) {
    uint64_t found = 0;
    pthread_mutex_lock(&g->table_lock);
    for (uint64_t i = 0; i < g->num_slots; i++) {
        if (!g->slots[i] || g->slots[i]->ended)
            continue;
        if (found < most)
            view(g->slots[i], &out[found]);
        found++;
    }
    pthread_mutex_unlock(&g->table_lock);
    return found;
}

static void summarise(she_ingress *g, const she_histogram *of, const she_hist_totals *before,
                      she_hist_summary *out) {
    she_hist_clear(g->sum);
    she_hist_add(g->sum, of);
    she_hist_summarise(g->sum, before, out);
}

void she_ingress_get_stats(she_ingress *g, she_ingress_stats *out) {
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&g->table_lock);
    out->connections = g->connections;
    out->inserted_total = g->inserted_gone;
    for (uint64_t i = 0; i < g->num_slots; i++)
        if (g->slots[i] && !g->slots[i]->ended)
            /* Relaxed: a figure. */
            out->inserted_total +=
                she_load_relaxed(&g->slots[i]->inserted) - g->slots[i]->queued_before;
    if (g->config.detailed) {
        summarise(g, g->rounds, g->rounds_before, &out->drain_round);
        summarise(g, g->dwell, g->dwell_before, &out->queue_dwell);
    }
    pthread_mutex_unlock(&g->table_lock);
    /* Relaxed: figures. */
    out->queue_depth_sum = she_load_relaxed(&g->depth_sum);
    out->queue_depth_max = she_load_relaxed(&g->depth_max);
    out->push_blocked_count = she_load_relaxed(&g->push_blocked);
    out->bytes_held = she_load_relaxed(&g->held);
}

void she_ingress_reset_times(she_ingress *g) {
    pthread_mutex_lock(&g->table_lock);
    if (g->config.detailed) {
        she_hist_clear(g->rounds_before);
        she_hist_add(g->rounds_before, g->rounds);
        she_hist_clear(g->dwell_before);
        she_hist_add(g->dwell_before, g->dwell);
    }
    pthread_mutex_unlock(&g->table_lock);
}

/* ---- what the learner has taken -------------------------------------------------------------- */

/* Each sample's position is not kept: one pair (number of samples, highest position among them) is.
 * While its samples are not taken, more than them are not either; once they are, a later pair takes
 * its place. So the answer for a fixed number comes even if the connection goes on sending. */
int she_ingress_taken(she_ingress *g, uint64_t id, uint64_t count) {
    int taken = -1;
    pthread_mutex_lock(&g->table_lock);
    connection *c = table_find(g, id);
    if (c && !c->ended) {
        if (count > c->mark_count && she_ingress_position_taken(g, c->mark_position)) {
            /* SYNC ingress-inserted: pairs with the store in note_inserted; acquires
             * last_position, which may already be that of later samples. */
            c->mark_count = she_load_acquire(&c->inserted);
            c->mark_position = she_load_relaxed(&c->last_position); /* relaxed: see above */
        }
        taken = count <= c->mark_count && she_ingress_position_taken(g, c->mark_position);
    }
    pthread_mutex_unlock(&g->table_lock);
    return taken;
}

bool she_ingress_position_taken(const she_ingress *g, uint64_t position) {
    /* SYNC taken: pairs with the stores in she_take and she_skip. */
    return she_load_acquire(&g->ring->header->taken_cursor) >= position;
}

uint32_t she_ingress_taken_ticket(const she_ingress *g) {
    return she_ec_ticket(&g->ring->header->taken);
}

void she_ingress_taken_wait(const she_ingress *g, uint32_t ticket, int64_t timeout_ns) {
    if (!she_ring_closed(g->ring))
        (void)she_ec_wait(&g->ring->header->taken, ticket, timeout_ns);
}
