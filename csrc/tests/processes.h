/* Child processes for tests: none outlives its parent or hangs, and a test can see that one
 * sleeps. */
#ifndef SHM_ECHO_PROCESSES_H
#define SHM_ECHO_PROCESSES_H

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* Run body(argument) in a child; returning from it is success. */
static inline pid_t child_start(void (*body)(void *), void *argument) {
    pid_t parent = getpid();
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child > 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1); /* the parent died before the prctl */
    alarm(test_watchdog());
    body(argument);
    _exit(0);
}

static inline int child_wait(pid_t child, int options) {
    int status;
    pid_t ended;
    do
        ended = waitpid(child, &status, options);
    while (ended < 0 && errno == EINTR);
    CHECK_EQ(ended, child);
    return status;
}

/* Wait for a child; fail unless it succeeds. */
static inline void child_finish(pid_t child) {
    int status = child_wait(child, 0);
    if (WIFSIGNALED(status))
        FAIL("a child was ended by signal %d%s", WTERMSIG(status),
             WTERMSIG(status) == SIGALRM ? ": it hung" : "");
    if (WEXITSTATUS(status) != 0)
        FAIL("a child failed with status %d", WEXITSTATUS(status));
}

static inline void child_kill(pid_t child) {
    CHECK_EQ(kill(child, SIGKILL), 0);
    int status = child_wait(child, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* The state letter of a process or thread in /proc: R, S, T, Z, ... */
static inline char process_state(pid_t pid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 'X';
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *name_end = strrchr(text, ')');
    return name_end && name_end[1] == ' ' ? name_end[2] : 'X';
}

/* Let other processes run for a moment, while polling for a condition that has no event. */
static inline void breathe(void) {
    struct timespec moment = {.tv_nsec = 50000};
    nanosleep(&moment, NULL);
}

/* Wait until a process sleeps in a system call or has ended. The caller knows which call it is. */
static inline void until_asleep(pid_t pid) {
    while (strchr("SZX", process_state(pid)) == NULL)
        breathe();
}

#endif
