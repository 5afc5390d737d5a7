// Threads that sleep, and what they leave to whoever joins them.
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum { THREADS = 200 };

static int os_threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    int entries = 0;
    while (readdir(tasks))
        entries++;
    closedir(tasks);
    return entries - 2;
}

static void *sleeper(void *number) {
    usleep(100000);
    return number;
}

int main(void) {
    pthread_t threads[THREADS];
    for (long n = 0; n < THREADS; n++)
        if (pthread_create(&threads[n], NULL, sleeper, (void *)n))
            return 1;
    fprintf(stderr, "OS threads: %d\n", os_threads());
    long sum = 0;
    for (int n = 0; n < THREADS; n++) {
        void *left;
        if (pthread_join(threads[n], &left))
            return 2;
        sum += (long)left;
    }
    printf("%ld\n", sum);
    return 3;
}
