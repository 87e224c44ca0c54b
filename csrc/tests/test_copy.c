/* she_copy: every alignment, sizes around the streaming threshold, and blocks that end where the
 * mapping ends. */
#include "test.h"

#include <sys/mman.h>

#include "shm_echo/ring.h"

#define THRESHOLD (UINT64_C(512) << 10) /* around it streaming begins; each size must be right */
#define PAGE UINT64_C(4096)

/* Map `bytes` of memory, page aligned, between two pages that fault when they are touched. */
static uint8_t *fenced(uint64_t bytes) {
    uint64_t whole = (bytes + PAGE - 1) / PAGE * PAGE;
    uint8_t *memory = mmap(NULL, whole + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    CHECK_EQ(mprotect(memory + PAGE, whole, PROT_READ | PROT_WRITE), 0);
    return memory + PAGE;
}
static void unfence(uint8_t *memory, uint64_t bytes) {
    munmap(memory - PAGE, (bytes + PAGE - 1) / PAGE * PAGE + 2 * PAGE);
}

static void fill(uint8_t *to, uint64_t bytes) {
    uint64_t state = bytes;
    for (uint64_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(test_random(&state) | 1); /* never the byte of the surroundings */
}

/* Copy into the middle of zeros, and check 128 bytes on either side. */
static void check_copy(uint8_t *to, const uint8_t *from, uint64_t bytes) {
    memset(to - 128, 0, bytes + 256);
    she_copy(to, from, bytes);
    if (memcmp(to, from, bytes) != 0)
        FAIL("%" PRIu64 " bytes from alignment %u to %u: wrong", bytes,
             (unsigned)((uintptr_t)from % 64), (unsigned)((uintptr_t)to % 64));
    for (uint64_t i = 0; i < 128; i++)
        if (to[-1 - (int64_t)i] || to[bytes + i])
            FAIL("%" PRIu64 " bytes to alignment %u: wrote outside", bytes,
                 (unsigned)((uintptr_t)to % 64));
}

CASE(small_blocks_of_every_size_and_alignment_are_copied) {
    uint8_t *to = fenced(2 * PAGE), *from = fenced(2 * PAGE);
    fill(from, 2 * PAGE);
    for (uint64_t bytes = 0; bytes <= 200; bytes++)
        for (uint64_t at = 0; at < 64; at += 1 + bytes % 3)
            check_copy(to + 128 + at, from + (at * 7 + bytes) % 64, bytes);
    unfence(to, 2 * PAGE);
    unfence(from, 2 * PAGE);
}

CASE(large_blocks_of_every_alignment_are_copied) {
    const uint64_t room = THRESHOLD + 4 * PAGE;
    const int64_t around[] = {-65, -64, -1, 0, 1, 15, 63, 64, 65, 127, 4096};
    uint8_t *to = fenced(room), *from = fenced(room);
    fill(from, room);
    for (uint64_t at = 0; at < 64; at++)
        check_copy(to + 128 + at, from + (at * 13) % 64,
                   THRESHOLD + (uint64_t)around[at % (sizeof around / sizeof *around)]);
    for (uint64_t i = 0; i < sizeof around / sizeof *around; i++)
        check_copy(to + 128 + 64 + i, from + 3, THRESHOLD + (uint64_t)around[i]);
    unfence(to, room);
    unfence(from, room);
}

/* Reading or writing one byte beyond the block faults. */
CASE(a_block_may_begin_and_end_where_the_mapping_does) {
    const uint64_t room = THRESHOLD + 2 * PAGE;
    uint8_t *to = fenced(room), *from = fenced(room);
    fill(from, room);
    for (uint64_t bytes = room; bytes > room - 3 * 64; bytes -= 7) {
        she_copy(to, from + room - bytes, bytes);
        CHECK(memcmp(to, from + room - bytes, bytes) == 0);
        she_copy(to + room - bytes, from, bytes);
        CHECK(memcmp(to + room - bytes, from, bytes) == 0);
    }
    for (uint64_t bytes = 0; bytes < 300; bytes++) {
        she_copy(to + room - bytes, from + room - bytes, bytes);
        CHECK(memcmp(to + room - bytes, from + room - bytes, bytes) == 0);
    }
    unfence(to, room);
    unfence(from, room);
}

CASE(many_megabytes_are_copied) {
    const uint64_t room = 8u << 20;
    uint8_t *to = fenced(room), *from = fenced(room);
    fill(from, room);
    she_copy(to, from, room);
    CHECK(memcmp(to, from, room) == 0);
    she_copy(to + 1, from, room - 1);
    CHECK(memcmp(to + 1, from, room - 1) == 0);
    unfence(to, room);
    unfence(from, room);
}
