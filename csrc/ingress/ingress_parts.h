/* Declarations that the files of the ingress share.
 *
 *     ingress.c           opens and closes it; the calls of other threads
 *     ingress_reader.c    a reader's loop: which connection is served when
 *     ingress_accept.c    listening sockets, and the making of connections
 *     ingress_receive.c   from a socket to the ring or the queue
 *     ingress_end.c       the end of a connection
 *     ingress_acks.c      acknowledgements
 *     ingress_fill.c      what a reader keeps: the write end of queues, incomplete samples
 *     ingress_drainer.c   from the queues to the ring
 *     ingress_insert.c    samples into the ring: claims, copies, commits
 *     ingress_peers.c     peers whose host has vanished
 *     ingress_watch.c     what a reader comes back to a connection for
 *     ingress_table.c     connections by id, events, views
 *     ingress_mail.c      what other threads have for a reader
 *     ingress_stream.c    a stream of bytes into samples, without sockets
 *     ingress_memory.c    blocks of memory for queues and incomplete samples
 *
 * Each calls only what stands below it.
 *
 * What a thread may touch of a connection: its reader everything but the fields of the drainers;
 * the drainer that has popped it from the work list the read end of its queue; others the words
 * that are atomic. `pending`, the number of samples in the queue, passes the queue's memory between
 * the two (SYNC ingress-queue). A reader that makes it non-zero hands the connection over to the
 * drainers; the one that makes it zero sends it back by the reader's mailbox. */
#ifndef SHM_ECHO_INGRESS_PARTS_H
#define SHM_ECHO_INGRESS_PARTS_H

#include <netinet/in.h>
#include <pthread.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "shm_echo/ingress.h"
#include "shm_echo/sigbus_guard.h"

/* A reader's own buffer, which stays in the second-level cache. */
#define SCRATCH_BYTES (256u * 1024)
/* Samples from this size on are not read through the scratch buffer: one more copy of them costs
 * more than one more system call saves. */
#define LARGE_BYTES (64u * 1024)
/* A queue grows by blocks of at least one sample and about this size. */
#define BLOCK_BYTES (64u * 1024)
/* Claims that are open at a time. The learner waits for none of them longer than for the copies. */
#define BURST 64u

/* ---- memory (ingress_memory.c) --------------------------------------------------------------- */

typedef struct block {
    struct block *next;
    uint8_t bytes[];
} block;

/* Blocks of one size. Free ones are kept, up to a number of bytes. */
typedef struct {
    pthread_mutex_t lock;
    block *free;
    uint64_t block_bytes, num_free, max_free;
    she_atomic64 *held; /* bytes in use in all pools of the ingress */
} pool;

void pool_open(pool *pool, uint64_t block_bytes, uint64_t kept_bytes, she_atomic64 *held);
void pool_close(pool *pool);
block *pool_get(pool *pool); /* NULL without memory */
void pool_put(pool *pool, block *block);

/* ---- the stream (ingress_stream.c) ----------------------------------------------------------- */

/* The place of a connection in its stream: `have` bytes of the next sample are at `fragment`. */
typedef struct {
    uint64_t payload;
    uint8_t *fragment; /* room for one sample; NULL if there is none yet, then have is 0 */
    uint64_t have;
} stream;

/* The samples that have arrived with one read. */
typedef struct {
    const uint8_t *first; /* the fragment, which is now whole, or NULL */
    const uint8_t *whole; /* num_whole samples, one behind the other */
    uint64_t num_whole;
    const uint8_t *tail; /* the beginning of the next one, tail_bytes < payload */
    uint64_t tail_bytes;
} arrival;

/* Where at most `limit` bytes of the stream go: the rest of the fragment's sample, then scratch.
 * Returns the number of entries written, at most 2. */
int stream_targets(const stream *s, uint8_t *scratch, uint64_t scratch_bytes, uint64_t limit,
                   struct iovec *targets);
/* `bytes` of the stream have arrived at stream_targets. */
void stream_arrived(stream *s, const uint8_t *scratch, uint64_t bytes, arrival *out);

/* ---- connections ----------------------------------------------------------------------------- */

enum mail {
    MAIL_NEW = 1,      /* a connection begins with this reader */
    MAIL_RETURNED = 2, /* a drainer has emptied the queue */
    MAIL_KICK = 4,
    MAIL_PROGRESS = 8,   /* a drainer has made room in the queue, and the reader wants to know */
    MAIL_DISCARDED = 16, /* the queue's samples can't go into the ring any more */
};

typedef struct connection {
    /* The reader's. */
    struct connection *retry_next, *retry_before; /* in the reader's list `retries` */
    uint64_t id, queued_before;
    int fd;
    uint32_t reader;
    stream in;
    block *fragment;     /* holds in.fragment */
    block *write_block;  /* the queue's write end */
    uint32_t write_next; /* samples in it */
    uint32_t lent;       /* hand-overs to drainers minus returns */
    uint32_t lowat;      /* SO_RCVLOWAT as it is set */
    uint32_t lowat_most; /* the most that the kernel grants; 0: it is left alone */
    uint64_t starved_ns; /* since when there is no memory for its next sample */
    uint32_t interest;   /* epoll events asked for */
    bool registered, parked, retrying, direct, hung_up, deaf, starved, ending;
    bool tcp, unconfirmed;  /* what was sent may not have arrived yet */
    bool vanished;          /* its peer does not answer */
    int32_t error;          /* why it ends */
    uint64_t whole;         /* samples received in this session */
    uint64_t acked;         /* acknowledgements sent, or their count */
    uint64_t greeting_sent; /* bytes */
    uint64_t partial_count; /* a count of which partial_left bytes are not sent */
    uint32_t partial_left;  /* of 8 */

    /* The drainers'; guarded by work_lock, or by holding the connection. */
    struct connection *work_next;
    block *read_block;
    uint32_t read_next;

    /* Shared. */
    she_atomic64 pending;         /* samples in the queue */
    she_atomic64 queued;          /* acknowledged */
    she_atomic64 inserted;        /* in the ring */
    she_atomic64 last_position;   /* 1 + the highest position of an inserted sample */
    she_atomic32 awaits_progress; /* see want_progress */
    she_atomic64 last_seen_ns, blocked_ns, blocked_since_ns; /* 0: not parked */

    /* The mailbox of its reader; guarded by mail_lock. */
    struct connection *mail_next;
    uint32_t mail, returns;
    bool mailed, mail_over;

    /* Events and views; guarded by table_lock. */
    struct connection *event_next;
    bool event_listed, opened_told, ended;
    uint64_t mark_count, mark_position; /* see she_ingress_taken */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } peer;
    uint32_t peer_bytes;
} connection;

/* ---- threads --------------------------------------------------------------------------------- */

#define MAX_LISTENERS 16u

typedef struct {
    she_ingress *ingress;
    uint32_t index;
    bool started;
    pthread_t thread;
    she_producer *producer;
    int epoll, wake; /* an eventfd */
    uint8_t *scratch;
    connection *retries; /* served without an event of their socket */
    pthread_mutex_t mail_lock;
    connection *mail_first, *mail_last;
    uint64_t check_ns; /* when to look for vanished peers; 0: there is no reason to */
    /* Of reader 0. */
    uint64_t accept_again_ns; /* accepting pauses until then; 0 if it does not */
    uint64_t refused_told_ns;
    int spare; /* a descriptor to give up when there is no other left */
} reader;

typedef struct {
    she_ingress *ingress;
    bool started;
    pthread_t thread;
    she_producer *producer;
} drainer;

struct she_ingress {
    she_ring *ring;
    const she_guard *guard; /* of the ring's memory, or NULL */
    she_ingress_config config;
    uint64_t payload, stride, block_samples;
    pid_t pid;
    uint8_t *greeting;
    uint32_t *leaf_order; /* the ring's leaf by its place in the stream */
    reader *readers;
    drainer *drainers;
    she_atomic32 closing;
    she_atomic64 dropped, push_blocked, depth_sum, depth_max, held;
    she_atomic64 busy_queues; /* connections with samples in their queues */
    pool blocks, fragments;

    /* The connections with samples in their queues that no drainer holds. */
    pthread_mutex_t work_lock;
    pthread_cond_t work_came;
    bool room_awaited; /* a drainer sleeps until the ring has room; it goes on with the list */
    connection *work_first, *work_last;

    pthread_mutex_t table_lock;
    connection **slots;
    uint64_t num_slots, num_records, connections, serial;
    uint64_t inserted_gone; /* by connections that have ended */
    uint64_t next_slot;     /* where the search for a free one begins */
    uint32_t next_reader;
    connection *event_first, *event_last;
    int event_fd;
    bool event_told; /* event_fd was written since the last end of the events */
    bool closed, closed_told;
    int refused_error; /* of an event REFUSED, or 0 */
    int listeners[MAX_LISTENERS];
    uint32_t num_listeners;

    she_histogram *rounds, *dwell; /* NULL unless detailed */
    she_hist_totals *rounds_before, *dwell_before, *sum;
};

/* Large samples are read one by one into a block of the queue's kind, which the queue can take as
 * it is; small ones through the scratch buffer. */
static inline bool large(const she_ingress *g) { return g->payload >= LARGE_BYTES; }

static inline uint64_t leaf_bytes(const she_ingress *g, uint32_t place) {
    return g->ring->leaves[g->leaf_order[place]].row_bytes;
}
static inline void *leaf_row(const she_ingress *g, uint32_t place, uint64_t position) {
    return she_row(g->ring, g->leaf_order[place], position);
}

static inline bool closing(const she_ingress *g) {
    /* SYNC ingress-closing: pairs with the store in she_ingress_close, which wakes all threads
     * after it. Carries nothing else. */
    return she_load32_acquire(&g->closing) != 0;
}

/* The bytes of a queued sample; in front of them its time, if the ingress is detailed. */
static inline uint8_t *queued_sample(const she_ingress *g, block *b, uint32_t index) {
    return b->bytes + index * g->stride + (g->config.detailed ? sizeof(uint64_t) : 0);
}

/* ---- between the files ----------------------------------------------------------------------- */

/* Insert samples that lie one behind the other, `stride` bytes apart. Returns how many are in the
 * ring; `result` says why it is not all of them: SHE_FULL with the ticket for a wait, or SHE_CLOSED
 * for any reason that does not pass. `complete_ns`: when they were complete, if the ingress is
 * detailed; STAMPED if each has its time in front of it. */
#define STAMPED UINT64_MAX
uint64_t insert_samples(she_ingress *g, she_producer *p, connection *c, const uint8_t *first,
                        uint64_t stride, uint64_t n, uint64_t complete_ns, uint32_t *ticket,
                        int *result);
void note_inserted(connection *c, uint64_t n, uint64_t last);
/* True if the ring's memory was truncated: nothing that is written there reaches the learner. */
static inline bool ring_broken(const she_ingress *g) {
    return g->guard && she_guard_broken(g->guard);
}

void *reader_main(void *argument);
void *drainer_main(void *argument);
void work_add(she_ingress *g, connection *c);

void mail_post(she_ingress *g, connection *c, uint32_t mail);
connection *mail_take(reader *r, uint32_t *mail, uint32_t *returns); /* NULL: there is none */
void mail_end(reader *r, connection *c);
void reader_wake(const reader *r);

void accept_some(reader *r, int listener);
int accept_open(reader *r);   /* the spare descriptor; 0 or an errno */
int accept_resume(reader *r); /* milliseconds until the end of a pause; -1: there is none */
int connection_make(she_ingress *g, int fd, bool greeted, uint64_t queued_before,
                    uint64_t position_before, uint64_t *id);

int watch_begin(reader *r, connection *c, uint32_t interest);
void watch(reader *r, connection *c, uint32_t interest);
void watch_end(reader *r, connection *c);
void retry_add(reader *r, connection *c);
void retry_remove(reader *r, connection *c);

void sent_something(reader *r, connection *c);
void peers_check(reader *r);
int peers_due(const reader *r);

void serve(reader *r, connection *c);
void connection_mail(reader *r, connection *c, uint32_t mail, uint32_t returns);

uint64_t enqueue(she_ingress *g, connection *c, const uint8_t *from, uint64_t n, uint64_t now);
void release_queue(she_ingress *g, connection *c);
bool get_fragment(she_ingress *g, connection *c);
void put_fragment(she_ingress *g, connection *c);
bool out_of_memory(const she_ingress *g);

bool in_debt(const she_ingress *g, const connection *c);
uint64_t acknowledgeable(const she_ingress *g, const connection *c); /* whole samples, by now */
uint64_t want_progress(connection *c);
void pay(reader *r, connection *c);

void count_blocked(connection *c); /* the end of a pause in reading */
void begin_end(reader *r, connection *c, int32_t error);
void end_perhaps(reader *r, connection *c);
void connection_drop(she_ingress *g, connection *c);

int table_add(she_ingress *g, connection *c, uint64_t *id);
connection *table_find(const she_ingress *g, uint64_t id);
void event_ended(she_ingress *g, connection *c);
void event_refused(she_ingress *g, int error);
void event_signal(she_ingress *g);

#endif
