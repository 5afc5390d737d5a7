/*
 * An echo server with a thread for each connection, as plain as they come. It says where it listens, and whenever it is asked how
 * many connections it has; it ends when its standard input does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static atomic_long open_connections;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int write_all(int fd, const char *bytes, ssize_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, bytes, (size_t)length);
        if (written < 0)
            return -1;
        bytes += written;
        length -= written;
    }
    return 0;
}

static void *converse(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char buffer[512];
    ssize_t got;
    while ((got = read(fd, buffer, sizeof buffer)) > 0)
        if (write_all(fd, buffer, got) < 0)
            break;
    close(fd);
    atomic_fetch_sub(&open_connections, 1);
    return NULL;
}

static void *serve(void *argument)
{
    int listener = (int)(intptr_t)argument;
    int yes = 1;
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        if (fd < 0 && errno == ECONNABORTED)
            continue;
        if (fd < 0)
            fail("accept");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        atomic_fetch_add(&open_connections, 1);
        errno = pthread_create(&thread, NULL, converse, (void *)(intptr_t)fd);
        if (errno != 0)
            fail("pthread_create");
        pthread_detach(thread);
    }
    return NULL;
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    struct rlimit limit;
    pthread_t thread;
    char line[64];
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 128) < 0)
        fail("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        fail("getsockname");
    errno = pthread_create(&thread, NULL, serve, (void *)(intptr_t)listener);
    if (errno != 0)
        fail("pthread_create");
    printf("{\"Listening\":\"127.0.0.1:%d\"}\n", ntohs(address.sin_port));
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        printf("{\"Count\":{\"open\":%ld,\"failed_accepts\":0}}\n", atomic_load(&open_connections));
        fflush(stdout);
    }
    _exit(0);
}
