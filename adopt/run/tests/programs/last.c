/* The main thread exits, and the process when the last of its threads has ended. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int ended;

static void *sleeps(void *argument)
{
	usleep(1000 * (long)argument);
	pthread_mutex_lock(&lock);
	ended++;
	pthread_mutex_unlock(&lock);
	return 0;
}

static void *makes_others(void *argument)
{
	pthread_t thread;
	usleep(20000);
	for (long n = 0; n < 10; n++)
		if (!pthread_create(&thread, 0, sleeps, (void *)(10 + n)))
			pthread_detach(thread);
	return sleeps(argument);
}

static void cleans_up(void *argument)
{
	(void)argument;
	puts("main has exited");
	fflush(stdout);
}

static void at_exit(void) __attribute__((destructor));
static void at_exit(void)
{
	printf("%d have ended\n", ended);
}

int main(void)
{
	pthread_t thread;
	if (pthread_create(&thread, 0, makes_others, (void *)1))
		return 1;
	pthread_detach(thread);
	pthread_cleanup_push(cleans_up, 0);
	pthread_exit(0);
	pthread_cleanup_pop(0);
}
