/* Cuts a stream of bytes into samples of one size. Nothing here knows of sockets or threads. */
#include "ingress_parts.h"

int stream_targets(const stream *s, uint8_t *scratch, uint64_t scratch_bytes, uint64_t limit,
                   struct iovec *targets) {
    int n = 0;
    if (s->fragment) {
        uint64_t missing = s->payload - s->have;
        uint64_t bytes = missing < limit ? missing : limit;
        targets[n++] = (struct iovec){.iov_base = s->fragment + s->have, .iov_len = bytes};
        limit -= bytes;
    }
    uint64_t bytes = scratch_bytes < limit ? scratch_bytes : limit;
    if (bytes > 0)
        targets[n++] = (struct iovec){.iov_base = scratch, .iov_len = bytes};
    return n;
}

void stream_arrived(stream *s, const uint8_t *scratch, uint64_t bytes, arrival *out) {
    *out = (arrival){0};
    if (s->fragment) {
        uint64_t missing = s->payload - s->have;
        if (bytes < missing) {
            s->have += bytes;
            return;
        }
        bytes -= missing;
        out->first = s->fragment;
    }
    s->have = 0;
    if (bytes == 0) /* there may be no scratch */
        return;
    out->whole = scratch;
    out->num_whole = bytes / s->payload;
    out->tail = scratch + out->num_whole * s->payload;
    out->tail_bytes = bytes % s->payload;
}
