// Thread-locals of C code, linked into the tests and built as a library that they load.

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stddef.h>

__thread int locals_counter = 42;
static __thread int locals_zero;

// Counts with the thread's own counter.
int locals_next(void) {
    locals_zero++;
    return locals_counter++;
}

int locals_calls(void) {
    return locals_zero;
}

// Keeps the address of a thread-local while the callback suspends the thread.
int locals_across(void (*suspend)(void)) {
    int *kept = &locals_counter;
    ++*kept;
    suspend();
    ++*kept;
    return kept == &locals_counter ? *kept : -1;
}

// Keeps a value in errno while the callback suspends the thread.
int locals_errno_across(void (*suspend)(void), int value) {
    errno = value;
    suspend();
    return errno;
}

// The lowest address of the stack that the thread has, as the C library tells it, or null.
const char *locals_stack(size_t *size) {
    pthread_attr_t attributes;
    void *start = NULL;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) {
        return NULL;
    }
    pthread_attr_getstack(&attributes, &start, size);
    pthread_attr_destroy(&attributes);
    return start;
}
