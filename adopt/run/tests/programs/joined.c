/* The main thread exits, and is joined. The process goes on until the last of its threads has ended. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *joins(void *thread)
{
	void *result = 0;
	int error = pthread_join(*(pthread_t *)thread, &result);
	printf("joined: %d, %ld\n", error, (long)result);
	fflush(stdout);
	usleep(20000);
	puts("and goes on");
	return 0;
}

static void at_exit(void)
{
	puts("the process exits");
}

int main(int count, char **arguments)
{
	static pthread_t self;
	pthread_t thread;
	self = pthread_self();
	atexit(at_exit);
	if (pthread_create(&thread, 0, joins, &self))
		return 1;
	pthread_detach(thread);
	/* Joined before it exits, or afterwards. */
	if (count > 1)
		usleep(atoi(arguments[1]));
	pthread_exit((void *)7);
}
