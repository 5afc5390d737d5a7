// A program with a pthread_create of its own.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    puts("a thread");
    return next(thread, attributes, start, argument);
}

static void *does_nothing(void *left) {
    return left;
}

int main(void) {
    pthread_t thread;
    void *left;
    if (pthread_create(&thread, NULL, does_nothing, (void *)3) || pthread_join(thread, &left))
        return 1;
    return (int)(long)left;
}
