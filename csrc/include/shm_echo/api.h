/* The table of hot calls. Through it the CPython binding calls the one copy of the core, which is
 * linked into the cffi module. `version` changes with every change of the table or of a handle's
 * layout, so that two modules of different builds reject each other. */
#ifndef SHM_ECHO_API_H
#define SHM_ECHO_API_H

#include "shm_echo/ingress.h"
#include "shm_echo/loader_ring.h"
#include "shm_echo/ring.h"
#include "shm_echo/sigbus_guard.h"

#define SHE_API_VERSION 4u

typedef struct {
    uint32_t version;
    uint32_t bytes; /* of this table */
    int (*producer_open)(she_ring *, uint32_t, she_producer **);
    void (*producer_free)(she_producer *);
    void (*producer_stop)(she_producer *);
    int (*producer_status)(const she_producer *);
    int (*claim)(she_producer *, uint64_t *);
    int (*claim_wait)(she_producer *, uint32_t, int64_t);
    uint64_t (*wait_begin)(she_producer *);
    void (*wait_end)(she_producer *, uint64_t);
    int (*commit)(she_producer *, uint64_t);
    int (*commit_many)(she_producer *, const uint64_t *, uint64_t, uint64_t *);
    int (*abort)(she_producer *, uint64_t);
    int (*drained)(const she_producer *);
    int (*drain_wait)(she_producer *, int64_t);
    void (*drain_begin)(she_producer *);
    void (*drain_end)(she_producer *);
    void (*heartbeat)(she_producer *, uint64_t);
    void (*copied)(she_producer *, uint64_t);
    void (*copy)(void *restrict, const void *restrict, uint64_t);
    int (*consumer_open)(she_ring *, she_consumer **);
    void (*consumer_free)(she_consumer *);
    int (*ready)(she_consumer *);
    int (*ready_wait)(she_consumer *, int64_t);
    void (*take)(she_consumer *, uint64_t *, uint64_t *);
    void (*release)(she_ring *, uint64_t);
    void (*unseal)(she_consumer *);
    uint64_t (*skip)(she_consumer *);
    void (*wake_consumer)(she_consumer *);
    void (*poison)(she_ring *, uint64_t);
    void (*stats)(she_consumer *, she_ring_stats *);
    void (*time_summaries)(she_consumer *, she_hist_summary *, she_hist_summary *);
    void (*reset_times)(she_consumer *);
    void (*ring_free)(she_ring *);
    uint64_t (*now_ns)(void);
    uint64_t (*now_coarse_ns)(void);
    bool (*process_gone)(int);
    she_guard *(*guard_add)(void *, uint64_t);
    void (*guard_remove)(she_guard *);
    bool (*guard_renew)(void);
    int (*loader_claim)(she_producer *, uint64_t *);
    void (*loader_set_status)(she_producer *, uint64_t, uint32_t);
    void (*loader_at_row)(she_producer *, uint64_t);
    int (*loader_ready)(she_consumer *);
    int (*loader_ready_wait)(she_consumer *, int64_t);
    int (*loader_take)(she_consumer *, uint64_t *, uint64_t *, uint64_t *, uint32_t *);
    void (*ingress_stats)(she_ingress *, she_ingress_stats *);
} she_api;

const she_api *she_api_table(void);

#endif
