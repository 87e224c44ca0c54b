/* Clocks, and the death of peers. */
#define _GNU_SOURCE
#include <poll.h>
#include <time.h>

#include "shm_echo/ring.h"

static uint64_t read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t she_now_ns(void) { return read_clock(CLOCK_MONOTONIC); }
uint64_t she_now_coarse_ns(void) { return read_clock(CLOCK_MONOTONIC_COARSE); }

bool she_process_gone(int pidfd) {
    /* A pidfd becomes readable when its process ends, even before its parent reaps it. */
    struct pollfd peer = {.fd = pidfd, .events = POLLIN};
    return poll(&peer, 1, 0) > 0;
}
