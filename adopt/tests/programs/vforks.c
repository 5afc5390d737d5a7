#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern pid_t __vfork(void);

static volatile sig_atomic_t handled;

static void handles(int signal) { handled++; }

/* What a child does that has the memory of its parent: it waits in many ways, and takes the number of a descriptor that others of the
   parent wait for. Its status is 0, or tells what has gone wrong. */
static void is_child(int waited_for, int ready, int into, pid_t parent) {
	struct timespec moment = {0, 20000000};
	struct pollfd poll_for = {.fd = waited_for, .events = POLLIN};
	char byte = 0;
	if (getpid() == parent) _exit(1);
	if (usleep(20000) != 0 || nanosleep(&moment, NULL) != 0) _exit(2);
	if (poll(&poll_for, 1, 20) != 0) _exit(3);
	if (read(ready, &byte, 1) != 1 || byte != 7) _exit(4);
	sched_yield();
	if (write(into, &byte, 1) != 1) _exit(5);
	if (recv(waited_for, &byte, 1, MSG_DONTWAIT) != -1 || errno != EAGAIN) _exit(6);
	signal(SIGUSR2, handles);
	raise(SIGUSR2);
	if (dup2(ready, waited_for) != waited_for) _exit(7);
	if (read(waited_for, &byte, 1) != 1) _exit(8);
	if (close(waited_for) != 0 || close(ready) != 0 || close_range(into, into, 0) != 0) _exit(9);
	if (write(into, &byte, 1) != -1 || errno != EBADF) _exit(10);
	_exit(0);
}

/* Makes one, and gives its status. */
int vforks(int waited_for, int ready, int into, int by_old_name) {
	pid_t parent = getpid();
	int status;
	pid_t child = by_old_name ? __vfork() : vfork();
	if (child == 0) is_child(waited_for, ready, into, parent);
	if (child < 0 || waitpid(child, &status, 0) != child) return -1;
	return status;
}

/* The same of one that executes another program. */
int vforks_and_executes(void) {
	int status;
	pid_t child = vfork();
	if (child == 0) {
		usleep(1000);
		execlp("true", "true", (char *)NULL);
		_exit(1);
	}
	if (child < 0 || waitpid(child, &status, 0) != child) return -1;
	return status;
}
