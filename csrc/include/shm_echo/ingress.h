/* The ingress: threads that read samples from stream sockets and write them into the ring.
 *
 * A client's stream is raw samples, one after the other, without a frame; each is the rows of all
 * leaves in order. Answers are acknowledgements: a sample is acknowledged once it is in the ring or
 * in its connection's queue. What was acknowledged reaches the ring unless the server closes.
 *
 *     socket -> reader -> ring              the ring has room: no queue, no other thread
 *     socket -> reader -> queue -> drainer -> ring            the ring is full
 *
 * A connection stays with one reader for life and its queue is emptied in order, so the samples of
 * a connection are in the order in which they were sent. No claim of a slot waits for a peer: a
 * sample enters the ring only when it has arrived as a whole.
 *
 * Any thread may call any function here; she_ingress_free comes last. */
#ifndef SHM_ECHO_INGRESS_H
#define SHM_ECHO_INGRESS_H

#include <sys/socket.h>

#include "shm_echo/ring.h"

/* The acknowledgements: one byte 0x01 for each sample, as echo has them; or the number of samples
 * queued so far, uint64 little-endian, possibly repeated. */
enum she_wire { SHE_WIRE_ECHO = 1, SHE_WIRE_SHM = 2 };

typedef struct {
    uint32_t num_readers, num_drainers; /* threads */
    uint32_t queue_samples;             /* a connection's samples that are acknowledged and wait */
    uint32_t wire;                      /* enum she_wire */
    /* Bounds the memory of all queues and incomplete samples together. One read of each connection
     * may overshoot it, and so may samples whose turn it is while others have stopped half-way. */
    uint64_t ingress_bytes;
    /* num_readers + num_drainers owner ids of the ring, attached (she_reinstate), for this ingress
     * alone. */
    const uint32_t *owners;
    /* The k-th leaf in the stream is leaf leaf_order[k] of the ring; NULL: in the ring's order. */
    const uint32_t *leaf_order;
    const uint8_t *greeting; /* sent to each accepted connection, before anything else */
    uint64_t greeting_bytes;
    /* Of accepted and adopted TCP connections; 0: as the system has it. `user_timeout_ms`: a peer
     * that does not answer for so long is lost, even if acknowledgements are on their way to it; a
     * peer that is alive and does not read them is not. */
    uint32_t keepalive_idle_s, keepalive_interval_s, keepalive_count, user_timeout_ms;
    uint32_t detailed; /* with histograms */
} she_ingress_config;

typedef struct she_ingress she_ingress;

/* SHE_E_CONFIG: no thread, no queue, a wire or a leaf that does not exist, or a ring whose samples
 * have no bytes: a stream of nothing would hold endless samples. SHE_E_MEMORY: no memory, no
 * descriptor or no thread left. */
int she_ingress_open(she_ring *ring, const she_ingress_config *config, she_ingress **out);
/* Stop all threads and close all sockets. `dropped`: samples that were acknowledged and did not
 * reach the ring. Later calls of any function here find nothing to do. */
void she_ingress_close(she_ingress *ingress, uint64_t *dropped);
void she_ingress_free(she_ingress *ingress); /* closes it first, unless a fork made this process */
/* In the child of a fork, which has no threads of the ingress: close its copies of the sockets, or
 * it would keep the connections open after its parent's end. */
void she_ingress_after_fork(she_ingress *ingress);

/* Accept connections, too, from a listening socket, which is duplicated. 0, or an errno. */
int she_ingress_listen(she_ingress *ingress, int listening_fd);
/* Take over a connection whose handshake is done. `queued_before` samples of the same session came
 * by earlier connections, the last of them at ring position `position_before` - 1. 0, or an errno:
 * then the descriptor is still the caller's. */
int she_ingress_adopt(she_ingress *ingress, int fd, uint64_t queued_before,
                      uint64_t position_before, uint64_t *id);
/* End a connection as soon as its whole samples are in the ring. False if it is gone. */
bool she_ingress_kick(she_ingress *ingress, uint64_t id);

/* ---- events ---------------------------------------------------------------------------------- */

enum she_ingress_event_kind {
    SHE_INGRESS_OPENED = 1,
    SHE_INGRESS_ENDED = 2, /* by its peer, at the edge of a sample; or by a kick */
    SHE_INGRESS_LOST = 3,  /* inside of a sample, or by an error of its socket */
    /* No memory for a connection, which was closed, or no descriptor but the last 64 or so of the
     * process, which are left to the rest of it; at most once a minute. */
    SHE_INGRESS_REFUSED = 4,
    SHE_INGRESS_CLOSED = 5, /* the last event of all: the ingress is closed */
};

typedef struct {
    uint64_t id;
    uint32_t kind;
    /* Of LOST and REFUSED: an errno, 0 for the end of the stream inside of a sample. ECANCELED: by
     * a kick; ESHUTDOWN: the ring is closed. */
    int32_t error;
    uint64_t queued;        /* samples ever queued in this session; in the ring unless ESHUTDOWN */
    uint64_t fragment;      /* bytes of an incomplete sample, which were dropped */
    uint64_t last_position; /* 1 + the highest ring position of the session's samples, or 0 */
    uint32_t peer_bytes;    /* of the address; 0 if it is not one of IPv4 or IPv6 */
    struct sockaddr_storage peer;
} she_ingress_event;

/* A descriptor that becomes readable with the next event (8 bytes, as eventfd has it). Read it,
 * then call she_ingress_next_event until it returns false. */
int she_ingress_event_fd(const she_ingress *ingress);
/* The end of a connection is reported when all its whole samples are in the ring, and the
 * connection is forgotten with it. */
bool she_ingress_next_event(she_ingress *ingress, she_ingress_event *out);

/* ---- observing ------------------------------------------------------------------------------- */

typedef struct {
    uint64_t id;
    uint64_t queued;        /* samples acknowledged in this session */
    uint64_t inserted;      /* samples in the ring */
    uint64_t in_queue;      /* samples that wait for room */
    uint64_t blocked_ns;    /* time in which the connection was not read, its queue being full */
    uint64_t last_seen_ns;  /* CLOCK_MONOTONIC, coarse: when bytes came last */
    uint64_t last_position; /* as in she_ingress_event */
    uint32_t peer_bytes;
    struct sockaddr_storage peer;
} she_ingress_view;

/* Fill `out` with the first `most` connections; returns how many there are. */
uint64_t she_ingress_connections(she_ingress *ingress, she_ingress_view *out, uint64_t most);

typedef struct {
    uint64_t connections;        /* open now */
    uint64_t queue_depth_sum;    /* samples in all queues, when a drainer last began a round */
    uint64_t queue_depth_max;    /* the longest queue then */
    uint64_t push_blocked_count; /* times that a connection was not read on, its queue being full */
    uint64_t inserted_total;     /* samples in the ring */
    uint64_t bytes_held;         /* memory of queues and incomplete samples */
    /* Empty unless detailed: rounds of readers and drainers that moved samples; per sample, the
     * time from complete to claimed. */
    she_hist_summary drain_round, queue_dwell;
} she_ingress_stats;

void she_ingress_get_stats(she_ingress *ingress, she_ingress_stats *out);
void she_ingress_reset_times(she_ingress *ingress);

/* 1 if the first `count` samples of the session have been handed to the learner, 0 if not, -1 if
 * the connection is gone: then she_ingress_position_taken answers for its last_position. */
int she_ingress_taken(she_ingress *ingress, uint64_t id, uint64_t count);
/* True if every sample below this position has been handed to the learner. */
bool she_ingress_position_taken(const she_ingress *ingress, uint64_t position);
/* Wait until the learner has taken a batch since the ticket, the ring is closed, or time is up. */
uint32_t she_ingress_taken_ticket(const she_ingress *ingress);
void she_ingress_taken_wait(const she_ingress *ingress, uint32_t ticket, int64_t timeout_ns);

#endif
