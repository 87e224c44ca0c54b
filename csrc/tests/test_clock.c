/* Clocks go forward, and the end of a process is noticed. */
#include "processes.h"

#include <poll.h>
#include <sys/syscall.h>

#include "shm_echo/ring.h"

CASE(the_fine_clock_never_goes_back) {
    uint64_t before = she_now_ns();
    for (int i = 0; i < 10000; i++) {
        uint64_t now = she_now_ns();
        CHECK(now >= before);
        before = now;
    }
}

CASE(the_coarse_clock_is_the_fine_one_a_little_earlier) {
    for (int i = 0; i < 1000; i++) {
        uint64_t coarse = she_now_coarse_ns(), fine = she_now_ns();
        CHECK(coarse <= fine);
    }
    uint64_t start = she_now_coarse_ns();
    while (she_now_coarse_ns() == start) { /* if it does not move, the watchdog ends this case */
    }
}

static void until_told(void *argument) {
    char byte;
    CHECK_EQ(read(((int *)argument)[0], &byte, 1), 1);
}

CASE(a_process_is_gone_once_it_has_ended_reaped_or_not) {
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    pid_t child = child_start(until_told, ends);
    int pidfd = (int)syscall(SYS_pidfd_open, child, 0);
    if (pidfd < 0 && errno == ENOSYS)
        test_skip("this kernel has no pidfds");
    CHECK(pidfd >= 0);
    CHECK(!she_process_gone(pidfd));
    CHECK_EQ(kill(child, SIGSTOP), 0);
    CHECK(WIFSTOPPED(child_wait(child, WUNTRACED)));
    CHECK(!she_process_gone(pidfd)); /* stopped is not gone */
    CHECK_EQ(kill(child, SIGCONT), 0);
    CHECK_EQ(write(ends[1], "x", 1), 1);
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    CHECK_EQ(poll(&ended, 1, -1), 1);
    CHECK(she_process_gone(pidfd)); /* a zombie */
    child_finish(child);
    CHECK(she_process_gone(pidfd)); /* and reaped */
    close(pidfd);
    close(ends[0]);
    close(ends[1]);
}
