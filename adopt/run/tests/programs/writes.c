// A thread that waits for a disk, as far as its runtime knows.
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

void *writes_out(void *file) {
    for (int n = 0; n < 15; n++)
        if (fsync(fileno(file)))
            return NULL;
    return file;
}

int main(void) {
    pthread_t thread;
    FILE *file = tmpfile();
    void *left = NULL;
    if (!file || pthread_create(&thread, NULL, writes_out, file) || pthread_join(thread, &left))
        return 1;
    return left != file;
}
