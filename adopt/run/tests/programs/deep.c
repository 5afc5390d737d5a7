// A thread that has been asked for with attributes which say nothing of its stack, and uses much of it.
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static void *goes_deep(void *nothing) {
    volatile char used[1 << 20];
    memset((char *)used, 1, sizeof used);
    return used[100] == 1 ? (void *)1 : nothing;
}

int main(void) {
    pthread_attr_t attributes;
    pthread_t threads[2];
    pthread_attr_init(&attributes);
    if (pthread_create(&threads[0], &attributes, goes_deep, NULL) || pthread_create(&threads[1], NULL, goes_deep, NULL))
        return 1;
    for (int n = 0; n < 2; n++) {
        void *left;
        if (pthread_join(threads[n], &left) || !left)
            return 2;
    }
    puts("deep");
    return 3;
}
