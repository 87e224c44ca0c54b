/* Blocks of memory for queues and incomplete samples. After a warm-up they come from the pools'
 * lists: a sample costs no allocation. */
#include <stdlib.h>

#include "ingress_parts.h"

void pool_open(pool *p, uint64_t block_bytes, uint64_t kept_bytes, she_atomic64 *held) {
    pthread_mutex_init(&p->lock, NULL);
    p->free = NULL;
    p->block_bytes = block_bytes;
    p->num_free = 0;
    p->max_free = 1 + kept_bytes / (sizeof(block) + block_bytes);
    p->held = held;
}

void pool_close(pool *p) {
    while (p->free) {
        block *b = p->free;
        p->free = b->next;
        free(b);
    }
    pthread_mutex_destroy(&p->lock);
}

block *pool_get(pool *p) {
    pthread_mutex_lock(&p->lock);
    block *b = p->free;
    if (b) {
        p->free = b->next;
        p->num_free--;
    }
    pthread_mutex_unlock(&p->lock);
    if (!b)
        b = malloc(sizeof *b + p->block_bytes);
    if (b) {
        b->next = NULL;
        she_add_relaxed(p->held, p->block_bytes); /* relaxed: a bound that threads may overshoot */
    }
    return b;
}

void pool_put(pool *p, block *b) {
    she_add_relaxed(p->held, 0 - p->block_bytes); /* relaxed: as in pool_get */
    pthread_mutex_lock(&p->lock);
    if (p->num_free < p->max_free) {
        b->next = p->free;
        p->free = b;
        p->num_free++;
        b = NULL;
    }
    pthread_mutex_unlock(&p->lock);
    free(b);
}
