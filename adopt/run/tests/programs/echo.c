// A server with a thread for each connection, and its clients, which are threads too.
#include <arpa/inet.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 200, ROUNDS = 20 };

static struct sockaddr_in address = {.sin_family = AF_INET};
static pthread_barrier_t connected;

static int os_threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    int entries = 0;
    while (readdir(tasks))
        entries++;
    closedir(tasks);
    return entries - 2;
}

static void *serve(void *descriptor) {
    int connection = (int)(long)descriptor;
    char buffer[64];
    ssize_t count;
    while ((count = read(connection, buffer, sizeof buffer)) > 0)
        if (write(connection, buffer, count) != count)
            break;
    close(connection);
    return NULL;
}

static void *listen_at(void *descriptor) {
    int listener = (int)(long)descriptor;
    for (int n = 0; n < CONNECTIONS; n++) {
        pthread_t thread;
        long connection = accept(listener, NULL, NULL);
        if (connection < 0 || pthread_create(&thread, NULL, serve, (void *)connection))
            return NULL;
        pthread_detach(thread);
    }
    return NULL;
}

static void *ask(void *number) {
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection, (struct sockaddr *)&address, sizeof address))
        perror("connect");
    if (pthread_barrier_wait(&connected) == PTHREAD_BARRIER_SERIAL_THREAD)
        fprintf(stderr, "OS threads: %d\n", os_threads());
    long answered = 0;
    for (int round = 0; round < ROUNDS; round++) {
        char question[32], answer[32];
        int length = snprintf(question, sizeof question, "%ld/%d", (long)number, round);
        if (send(connection, question, length, MSG_NOSIGNAL) != length)
            break;
        if (recv(connection, answer, length, MSG_WAITALL) != length || memcmp(question, answer, length))
            break;
        answered++;
    }
    close(connection);
    return (void *)answered;
}

int main(void) {
    long listener = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, CONNECTIONS) ||
        getsockname(listener, (struct sockaddr *)&address, &length))
        return 1;
    pthread_barrier_init(&connected, NULL, CONNECTIONS);
    pthread_t server, clients[CONNECTIONS];
    if (pthread_create(&server, NULL, listen_at, (void *)listener))
        return 2;
    for (long n = 0; n < CONNECTIONS; n++)
        if (pthread_create(&clients[n], NULL, ask, (void *)n))
            return 3;
    long sum = 0;
    for (int n = 0; n < CONNECTIONS; n++) {
        void *answered;
        pthread_join(clients[n], &answered);
        sum += (long)answered;
    }
    pthread_join(server, NULL);
    printf("%ld\n", sum);
    return 4;
}
