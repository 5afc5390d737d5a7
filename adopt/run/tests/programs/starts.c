// A library that makes a thread as it is loaded, and waits for it; or is just there, if it is QUIET.
#include <pthread.h>
#include <unistd.h>

#ifdef QUIET
int started = 1;
#else
int started;

static void *starts(void *nothing) {
    usleep(1000);
    started = 1;
    return nothing;
}

__attribute__((constructor)) static void begin(void) {
    pthread_t thread;
    if (!pthread_create(&thread, NULL, starts, NULL))
        pthread_join(thread, NULL);
}
#endif
