// Threads that take turns, with what the C library has for that.
#include <dirent.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <unistd.h>

enum { THREADS = 200, ROUNDS = 5 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t shared = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_barrier_t barrier;
static sem_t places;
static int turn, made, written;

static int os_threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    int entries = 0;
    while (readdir(tasks))
        entries++;
    closedir(tasks);
    return entries - 2;
}

static void make(void) {
    usleep(20000);
    made++;
}

static void *takes_turns(void *number) {
    int mine = (int)(long)number;
    pthread_once(&once, make);
    if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
        fprintf(stderr, "OS threads: %d\n", os_threads());
    for (int round = 0; round < ROUNDS; round++) {
        pthread_mutex_lock(&lock);
        while (turn % THREADS != mine)
            pthread_cond_wait(&changed, &lock);
        turn++;
        // All at once, and one after another.
        if (mine % 50 == 49)
            usleep(100);
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    sem_wait(&places);
    usleep(1000);
    pthread_rwlock_wrlock(&shared);
    int seen = written;
    usleep(10);
    written = seen + 1;
    pthread_rwlock_unlock(&shared);
    sem_post(&places);
    pthread_rwlock_rdlock(&shared);
    int result = written <= THREADS;
    pthread_rwlock_unlock(&shared);
    return (void *)(long)result;
}

int main(void) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    sem_init(&places, 0, 10);
    for (long n = 0; n < THREADS; n++)
        if (pthread_create(&threads[n], NULL, takes_turns, (void *)n))
            return 1;
    long sum = 0;
    for (int n = 0; n < THREADS; n++) {
        void *left;
        if (pthread_join(threads[n], &left))
            return 2;
        sum += (long)left;
    }
    printf("%d %d %d %ld\n", turn, made, written, sum);
    return 3;
}
