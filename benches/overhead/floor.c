/*
 * The least that running evaluations costs, and the one way in which every tool is measured.
 *
 *   floor spawn BASH ENVIRONMENT SCRIPT NUMBER JOBS   run a script so often, so many at a time
 *   floor measure REPORT COMMAND...                   run a command, write what it took to a file
 *
 * `spawn` gives each bash what run-scenarios gives it: the variables in the file ENVIRONMENT (NUL
 * after each), nothing to read, two pipes that are read to their end, the directory that it stands
 * in itself, a process group of its own. It parses nothing, keeps nothing and has no deadline.
 *
 * `measure` writes microseconds of wall clock and of CPU, user and system of the whole tree, the
 * kilobytes of the largest process in it, and the exit code.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *bash;
static char *script;
static char **environment;
static long number;
static int nothing;
static atomic_long begun;

static void fail(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(3);
}

static void read_environment(const char *path)
{
    static char text[1 << 20];
    FILE *file = fopen(path, "rb");
    if (!file)
        fail(path);
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    environment = calloc(length + 1, sizeof *environment);
    char **next = environment;
    for (char *at = text; at < text + length; at += strlen(at) + 1)
        *next++ = at;
}

static void new_pipe(int pipe_of[2])
{
#ifdef __linux__
    if (pipe2(pipe_of, O_CLOEXEC))
        fail("pipe");
#else
    if (pipe(pipe_of) || fcntl(pipe_of[0], F_SETFD, FD_CLOEXEC)
        || fcntl(pipe_of[1], F_SETFD, FD_CLOEXEC))
        fail("pipe");
#endif
}

static void run_one(void)
{
    char *const arguments[] = {bash, "-c", script, "bash", NULL};
    int out[2], err[2];
    new_pipe(out);
    new_pipe(err);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, nothing, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setpgroup(&attributes, 0);
    pid_t child;
    errno = posix_spawn(&child, bash, &actions, &attributes, arguments, environment);
    if (errno)
        fail(bash);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    close(err[1]);
    struct pollfd both[] = {{.fd = out[0], .events = POLLIN}, {.fd = err[0], .events = POLLIN}};
    while (both[0].fd >= 0 || both[1].fd >= 0) {
        char text[4096];
        if (poll(both, 2, -1) < 0 && errno != EINTR)
            fail("poll");
        for (int i = 0; i < 2; i++)
            if (both[i].fd >= 0 && both[i].revents && read(both[i].fd, text, sizeof text) <= 0) {
                close(both[i].fd);
                both[i].fd = -1;
            }
    }
    int status;
    if (waitpid(child, &status, 0) < 0)
        fail("waitpid");
    if (status) {
        fprintf(stderr, "floor: bash ended with status %d\n", status);
        exit(3);
    }
}

static void *worker(void *unused)
{
    while (atomic_fetch_add(&begun, 1) < number)
        run_one();
    return unused;
}

static int spawn(char **arguments)
{
    pthread_t threads[64];
    bash = arguments[0];
    read_environment(arguments[1]);
    script = arguments[2];
    number = atol(arguments[3]);
    int jobs = atoi(arguments[4]);
    if (jobs < 1 || jobs > 64)
        return 2;
    nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing < 0)
        fail("/dev/null");
    for (int i = 1; i < jobs; i++)
        if (pthread_create(&threads[i], NULL, worker, NULL))
            fail("pthread_create");
    worker(NULL);
    for (int i = 1; i < jobs; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

static long long microseconds(struct timeval time)
{
    return time.tv_sec * 1000000LL + time.tv_usec;
}

static int measure(char **arguments)
{
    struct timespec before, after;
    struct rusage used;
    int status;
    clock_gettime(CLOCK_MONOTONIC, &before);
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    if (child == 0) {
        execvp(arguments[1], arguments + 1);
        perror(arguments[1]);
        _exit(127);
    }
    while (wait4(child, &status, 0, &used) < 0)
        if (errno != EINTR)
            fail("wait4");
    clock_gettime(CLOCK_MONOTONIC, &after);
    FILE *report = fopen(arguments[0], "w");
    if (!report)
        fail(arguments[0]);
    long long wall = (after.tv_sec - before.tv_sec) * 1000000LL
        + (after.tv_nsec - before.tv_nsec) / 1000;
    long kilobytes = used.ru_maxrss;
#ifdef __APPLE__
    kilobytes /= 1024;
#endif
    fprintf(report, "%lld %lld %ld %d\n", wall,
        microseconds(used.ru_utime) + microseconds(used.ru_stime), kilobytes,
        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return fclose(report) ? 3 : 0;
}

int main(int count, char **arguments)
{
    if (count == 7 && !strcmp(arguments[1], "spawn"))
        return spawn(arguments + 2);
    if (count > 3 && !strcmp(arguments[1], "measure"))
        return measure(arguments + 2);
    fprintf(stderr, "usage: floor spawn BASH ENVIRONMENT SCRIPT NUMBER JOBS\n"
                    "       floor measure REPORT COMMAND...\n");
    return 2;
}
