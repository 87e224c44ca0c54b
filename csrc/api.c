#include "shm_echo/api.h"

static const she_api table = {
    .version = SHE_API_VERSION,
    .bytes = sizeof(she_api),
    .producer_open = she_producer_open,
    .producer_free = she_producer_free,
    .producer_stop = she_producer_stop,
    .claim = she_claim,
    .claim_wait = she_claim_wait,
    .blocked = she_blocked,
    .unblocked = she_unblocked,
    .commit = she_commit,
    .abort = she_abort,
    .drained = she_drained,
    .drain_wait = she_drain_wait,
    .seen = she_seen,
    .copied = she_copied,
    .copy = she_copy,
    .consumer_open = she_consumer_open,
    .consumer_free = she_consumer_free,
    .ready = she_ready,
    .ready_wait = she_ready_wait,
    .take = she_take,
    .release = she_release,
    .poison = she_poison,
    .stats = she_stats,
    .ring_free = she_ring_free,
    .now_ns = she_now_ns,
    .now_coarse_ns = she_now_coarse_ns,
    .process_gone = she_process_gone,
};

const she_api *she_api_table(void) { return &table; }
