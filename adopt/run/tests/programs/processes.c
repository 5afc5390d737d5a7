// What becomes of a process that has threads, in the ways that its argument names.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 50 };

static int told[2];

static void *sleeper(void *number) {
    char byte = 0;
    usleep(20000);
    if (read(told[0], &byte, 1) != 1 || byte != 'x')
        return NULL;
    return number;
}

// Gives 0 if all threads have been made, told to go on, and joined.
static int threads(void) {
    pthread_t threads[THREADS];
    if (pipe(told))
        return 1;
    for (long n = 0; n < THREADS; n++)
        if (pthread_create(&threads[n], NULL, sleeper, (void *)(n + 1)))
            return 2;
    // Most wait by now.
    usleep(50000);
    for (long n = 0; n < THREADS; n++)
        if (write(told[1], "x", 1) != 1)
            return 3;
    for (long n = 0; n < THREADS; n++) {
        void *left;
        if (pthread_join(threads[n], &left) || (long)left != n + 1)
            return 4;
    }
    close(told[0]);
    close(told[1]);
    return 0;
}

static int wait_for(pid_t child) {
    int status;
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return 66;
    printf("the child has exited with %d\n", WEXITSTATUS(status));
    return threads();
}

static int executes_in_child(void) {
    pid_t child = fork();
    if (child == 0) {
        execlp("sh", "sh", "-c", "exit 4", (char *)NULL);
        _exit(99);
    }
    return wait_for(child);
}

static int goes_on_in_child(void) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        exit(threads());
    return wait_for(child);
}

static sigset_t awaited;

static void *waits_for_signal(void *nothing) {
    int number;
    sigwait(&awaited, &number);
    printf("the signal %d has come\n", number);
    return nothing;
}

// As a server does that ends in order: the signal is blocked in all threads, and one waits for it.
static int is_told_to_end(void) {
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &awaited, NULL);
    pthread_t waiter;
    if (threads() || pthread_create(&waiter, NULL, waits_for_signal, NULL))
        return 77;
    kill(getpid(), SIGTERM);
    pthread_join(waiter, NULL);
    return threads();
}

int main(int count, char **arguments) {
    const char *way = count > 1 ? arguments[1] : "";
    if (!strcmp(way, "forks first"))
        return goes_on_in_child();
    if (!strcmp(way, "is told to end"))
        return is_told_to_end();
    if (!strcmp(way, "daemon")) {
        if (daemon(1, 1))
            return 77;
        int result = threads();
        printf("the daemon has had its threads: %d\n", result);
        return result;
    }
    if (threads())
        return 77;
    if (!strcmp(way, "exits"))
        exit(5);
    if (!strcmp(way, "exits at once")) {
        printf("this is never written");
        _exit(9);
    }
    if (!strcmp(way, "is killed"))
        raise(SIGTERM);
    if (!strcmp(way, "aborts"))
        abort();
    if (!strcmp(way, "executes"))
        execlp("sh", "sh", "-c", "echo executed; exit 6", (char *)NULL);
    if (!strcmp(way, "executes in a child"))
        return executes_in_child();
    if (!strcmp(way, "goes on in a child"))
        return goes_on_in_child();
    if (!strcmp(way, "closes all")) {
        closefrom(3);
        int result = threads();
        printf("closed: %d\n", result);
        return result;
    }
    return 78;
}
