// Loads the library of its second argument, in ways that the first names, and then also in threads.
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { THREADS = 20 };

static const char *library;

static void *loads(void *nothing) {
    void *loaded = dlopen(library, RTLD_NOW);
    int *started = loaded ? dlsym(loaded, "started") : NULL;
    if (!started)
        return nothing;
    int has_started = *started;
    dlclose(loaded);
    return has_started ? (void *)1 : nothing;
}

int main(int count, char **arguments) {
    if (count != 3)
        return 1;
    library = arguments[2];
    if (!strcmp(arguments[1], "first") && !loads(NULL)) {
        fprintf(stderr, "%s\n", dlerror());
        return 2;
    }
    pthread_t threads[THREADS];
    for (int n = 0; n < THREADS; n++)
        if (pthread_create(&threads[n], NULL, loads, NULL))
            return 3;
    long sum = 0;
    for (int n = 0; n < THREADS; n++) {
        void *left;
        pthread_join(threads[n], &left);
        sum += (long)left;
    }
    printf("%ld\n", sum);
    return 4;
}
