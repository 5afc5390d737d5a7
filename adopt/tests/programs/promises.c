/* What functions promise beside what they are for: what becomes of a part, of the error, of the time that is left, of who ends. */
#define _GNU_SOURCE
#include <aio.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

/* Far more than there is room for in a socket or a pipe. */
enum { MUCH = 32 << 20 };

static char *much, byte;

/* Nobody has anything there. */
static void *volatile nowhere = (void *)8;

static pthread_t begin(void *(*start)(void *), void *argument)
{
	pthread_t id;
	if (pthread_create(&id, 0, start, argument))
		abort();
	return id;
}

static void sleep_ms(int milliseconds)
{
	struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
	while (nanosleep(&time, &time))
		;
}

static void handle(int signal)
{
	(void)signal;
}

static void have_handled(int signal, int flags)
{
	struct sigaction action = {.sa_handler = handle, .sa_flags = flags};
	sigaction(signal, &action, 0);
}

/* What it gives, or its error. */
static int or_error(long result)
{
	return result < 0 ? -errno : (int)result;
}

struct moving {
	long (*moves)(int);
	int end;
	long moved;
	atomic_int is_back;
};

static long receives_all(int end)
{
	char room[100];
	return recv(end, room, sizeof room, MSG_WAITALL);
}

static long receives_a_message(int end)
{
	char room[100];
	struct iovec parts[2] = {{room, 5}, {room + 5, 95}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	return recvmsg(end, &message, MSG_WAITALL);
}

static long peeks_at_all(int end)
{
	char room[100];
	return recv(end, room, sizeof room, MSG_WAITALL | MSG_PEEK);
}

static long sends(int end)
{
	long sent = send(end, much, MUCH, 0);
	return sent > 0 && sent < MUCH ? 1 : sent;
}

static long writes(int end)
{
	long sent = write(end, much, MUCH);
	return sent > 0 && sent < MUCH ? 1 : sent;
}

static long writes_in_parts(int end)
{
	struct iovec parts[2] = {{much, 5}, {much + 5, MUCH - 5}};
	long sent = writev(end, parts, 2);
	return sent > 0 && sent < MUCH ? 1 : sent;
}

static void *move(void *argument)
{
	struct moving *moving = argument;
	moving->moved = or_error(moving->moves(moving->end));
	moving->is_back = 1;
	return 0;
}

/* Who has moved a part when the handler of a signal runs ends with that, though the handler lets calls go on. */
int who_has_moved_a_part(int *told)
{
	static long (*const all[])(int) = {
		receives_all, receives_a_message, peeks_at_all, sends, writes, writes_in_parts, writes, writes_in_parts,
	};
	int count = 0;
	have_handled(SIGUSR1, SA_RESTART);
	much = calloc(1, MUCH);
	for (int n = 0; n < 8; n++) {
		int ends[2];
		if (n < 6 ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends))
			abort();
		struct moving moving = {.moves = all[n], .end = ends[n < 6 ? 0 : 1]};
		if (n < 3 && write(ends[1], much, 10) != 10)
			abort();
		pthread_t id = begin(move, &moving);
		while (!moving.is_back) {
			pthread_kill(id, SIGUSR1);
			sleep_ms(1);
		}
		pthread_join(id, 0);
		told[count++] = moving.moved;
		close(ends[0]);
		close(ends[1]);
	}
	free(much);
	return count;
}

/* Reads of a terminal that do not wait for input, and of its master, which do. */
int who_reads_from_a_terminal(int *told)
{
	static const int all[][3] = {{0, 0, 0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 2}, {1, 0, 1}, {3, 1, 1}, {3, 0, 3}};
	struct termios attributes;
	int master, terminal, count = 0;
	char room[8];
	struct iovec parts[2] = {{room, 1}, {room + 1, 3}};
	if (openpty(&master, &terminal, 0, 0, 0) || tcgetattr(terminal, &attributes))
		abort();
	cfmakeraw(&attributes);
	for (int n = 0; n < 7; n++) {
		attributes.c_cc[VMIN] = all[n][0];
		attributes.c_cc[VTIME] = all[n][1];
		tcsetattr(terminal, TCSANOW, &attributes);
		if (write(master, "abc", all[n][2]) != all[n][2])
			abort();
		told[count++] = or_error(n % 2 ? readv(terminal, parts, 2) : read(terminal, room, 4));
	}
	attributes.c_cc[VMIN] = attributes.c_cc[VTIME] = 0;
	tcsetattr(terminal, TCSANOW, &attributes);
	told[count++] = or_error(readv(terminal, parts, 2));
	if (write(terminal, "xy", 2) != 2)
		abort();
	told[count++] = or_error(read(master, room, 4));
	close(master);
	close(terminal);
	return count;
}

static void *write_later(void *end)
{
	sleep_ms(20);
	if (write(*(int *)end, "late", 4) != 4)
		abort();
	return 0;
}

/* Reads of a FIFO that somebody has opened to write, and that nobody has. */
int who_reads_from_a_fifo(int *told)
{
	char path[100], room[8] = "";
	struct iovec parts[2] = {{room, 1}, {room + 1, 3}};
	int count = 0, writer, reader, both;
	pthread_t id;
	snprintf(path, sizeof path, "/tmp/roving-fifo-%d", getpid());
	if (mkfifo(path, 0600))
		abort();
	reader = open(path, O_RDONLY | O_NONBLOCK);
	fcntl(reader, F_SETFL, 0);
	told[count++] = or_error(read(reader, room, 4));
	told[count++] = or_error(readv(reader, parts, 2));
	writer = open(path, O_WRONLY);
	for (int n = 0; n < 3; n++) {
		id = begin(write_later, &writer);
		told[count++] = or_error(n % 2 ? readv(reader, parts, 2) : read(reader, room, 4));
		told[count++] = memcmp(room, "late", 4);
		pthread_join(id, 0);
	}
	fcntl(reader, F_SETFL, O_NONBLOCK);
	told[count++] = or_error(read(reader, room, 4));
	fcntl(reader, F_SETFL, 0);
	if (write(writer, "abc", 3) != 3)
		abort();
	told[count++] = or_error(read(reader, nowhere, 4));
	told[count++] = or_error(read(reader, room, 4));
	close(writer);
	told[count++] = or_error(read(reader, room, 4));
	both = open(path, O_RDWR);
	id = begin(write_later, &both);
	told[count++] = or_error(read(both, room, 4));
	pthread_join(id, 0);
	unlink(path);
	close(both);
	close(reader);
	return count;
}

/* What another process sets is heeded by who waits from then on. */
int who_shares_a_descriptor(int *told)
{
	int count = 0;
	for (int n = 0; n < 2; n++) {
		int ends[2];
		char room[4];
		if (n ? pipe(ends) : socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
			abort();
		for (int times = 0; times < 3; times++) {
			pthread_t id = begin(write_later, &ends[1]);
			told[count++] = or_error(read(ends[0], room, 4));
			pthread_join(id, 0);
		}
		pid_t child = fork();
		if (!child) {
			fcntl(ends[0], F_SETFL, O_NONBLOCK);
			_exit(0);
		}
		waitpid(child, 0, 0);
		told[count++] = or_error(read(ends[0], room, 4));
		told[count++] = or_error(read(ends[0], room, 4));
		child = fork();
		if (!child) {
			fcntl(ends[0], F_SETFL, 0);
			_exit(0);
		}
		waitpid(child, 0, 0);
		pthread_t id = begin(write_later, &ends[1]);
		told[count++] = or_error(read(ends[0], room, 4));
		pthread_join(id, 0);
		close(ends[0]);
		close(ends[1]);
	}
	return count;
}

/* A mark below which there is nothing to be received. */
int who_wants_so_much(int *told)
{
	int ends[2], mark = 7, count = 0;
	char room[100];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		abort();
	setsockopt(ends[0], SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark);
	for (int n = 0; n < 2; n++) {
		if (write(ends[1], "abc", 3) != 3)
			abort();
		pthread_t id = begin(write_later, &ends[1]);
		told[count++] = or_error(n ? read(ends[0], room, 100) : recv(ends[0], room, 100, 0));
		pthread_join(id, 0);
	}
	if (write(ends[1], "abc", 3) != 3)
		abort();
	told[count++] = or_error(recv(ends[0], room, 3, 0));
	close(ends[0]);
	close(ends[1]);
	return count;
}

/* A call that succeeds leaves the error of one before, also if it has waited. */
int who_waits_keeps_an_error(int *told)
{
	int count = 0, ends[2], pipes[2], counter = eventfd(0, 0), epoll = epoll_create1(0), status;
	uint64_t one = 1;
	char room[100];
	fd_set set;
	pthread_t id;
	siginfo_t info;
	FILE *stream;
	struct epoll_event event = {.events = EPOLLIN};
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || pipe(pipes))
		abort();
	struct pollfd polled = {ends[0], POLLIN, 0};
	struct iovec part = {room, 100};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
#define AFTER(end, call)                   \
	id = begin(write_later, end);      \
	errno = 123;                       \
	told[count++] = (call) > 0;        \
	told[count++] = errno;             \
	pthread_join(id, 0)
	AFTER(&ends[1], read(ends[0], room, 100));
	AFTER(&ends[1], recv(ends[0], room, 4, MSG_WAITALL));
	AFTER(&ends[1], recvmsg(ends[0], &message, 0));
	AFTER(&pipes[1], read(pipes[0], room, 100));
	AFTER(&pipes[1], readv(pipes[0], &part, 1));
	AFTER(&ends[1], poll(&polled, 1, -1));
	AFTER(&ends[1], epoll_wait(epoll, &event, 1, -1));
	FD_ZERO(&set);
	FD_SET(pipes[0], &set);
	AFTER(&pipes[1], select(pipes[0] + 1, &set, 0, 0, 0));
#define KEPT(call)                         \
	errno = 123;                       \
	told[count++] = (call) >= 0;       \
	told[count++] = errno
	KEPT(write(counter, &one, 8));
	KEPT(read(counter, &one, 8));
	KEPT(usleep(1000));
	KEPT(poll(0, 0, 2));
	int null = open("/dev/null", O_RDWR), process = open("/proc/self/status", O_RDONLY);
	KEPT(write(null, room, 5));
	KEPT(read(null, room, 5));
	KEPT(read(process, room, 5));
	KEPT(close(null));
	close(process);
	for (int n = 0; n < 2; n++) {
		pid_t child = fork();
		if (!child) {
			usleep(20000);
			_exit(0);
		}
		KEPT(n ? waitid(P_PID, child, &info, WEXITED) : waitpid(child, &status, 0));
	}
	KEPT(system("sleep 0.02"));
	KEPT((stream = popen("sleep 0.02", "r")) ? 0 : -1);
	KEPT(pclose(stream));
	close(counter);
	close(epoll);
	for (int n = 0; n < 2; n++) {
		close(ends[n]);
		close(pipes[n]);
	}
	return count;
}

static void *sleep_for_a_while(void *left)
{
	*(int *)left = sleep(3);
	return 0;
}

/* How much is left of a time, and which are none. */
int who_is_told_of_a_time(int *told)
{
	static const struct timespec times[] = {{0, -1}, {0, 1000000000}, {-1, 0}, {0, 0}};
	static const int operations[] = {
		FUTEX_WAIT | FUTEX_PRIVATE_FLAG,
		FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG,
		FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME,
	};
	static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI, CLOCK_PROCESS_CPUTIME_ID, 99};
	static int word;
	int count = 0, left = 0, ends[2];
	fd_set set;
	for (int n = 0; n < 4; n++) {
		told[count++] = or_error(nanosleep(&times[n], 0));
		told[count++] = thrd_sleep(&times[n], 0);
		for (int clock = 0; clock < 6; clock++) {
			told[count++] = clock_nanosleep(clocks[clock], 0, &times[n], 0);
			told[count++] = clock_nanosleep(clocks[clock], TIMER_ABSTIME, &times[n], 0);
		}
		for (int way = 0; way < 3; way++)
			told[count++] = or_error(syscall(SYS_futex, &word, operations[way], 0, &times[n], 0, -1));
	}
	told[count++] = or_error(nanosleep(nowhere, 0));
	told[count++] = clock_nanosleep(CLOCK_MONOTONIC, 0, nowhere, 0);
	if (pipe(ends) || write(ends[1], "x", 1) != 1)
		abort();
	static const long seconds[] = {LONG_MAX, 1L << 40, 1000};
	for (int n = 0; n < 3; n++) {
		struct timeval time = {seconds[n], 0};
		FD_ZERO(&set);
		FD_SET(ends[0], &set);
		told[count++] = or_error(select(ends[0] + 1, &set, 0, 0, &time));
		told[count++] = time.tv_sec > seconds[n] / 2;
	}
	close(ends[0]);
	close(ends[1]);
	/* It is interrupted within the first second. */
	have_handled(SIGUSR1, 0);
	while (!left) {
		pthread_t id = begin(sleep_for_a_while, &left);
		sleep_ms(200);
		pthread_kill(id, SIGUSR1);
		pthread_join(id, 0);
	}
	told[count++] = left;
	return count;
}

/* Points of cancellation, and what is none. */
static int file, queue, ends[2];
static struct timespec no_time;
static struct iovec part = {&byte, 1};
static pthread_t other;
static sem_t semaphore;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

#define POINTS(X)                                                                                                  \
	X(close, close(-1))                                                                                          \
	X(creat, creat("/dev/null", 0600))                                                                           \
	X(fcntl, struct flock lock = {.l_type = F_RDLCK}; fcntl(file, F_SETLKW, &lock))                              \
	X(fdatasync, fdatasync(file))                                                                                \
	X(fsync, fsync(file))                                                                                        \
	X(lockf, lockf(file, F_LOCK, 1))                                                                             \
	X(msgrcv, struct { long kind; char byte; } message; msgrcv(queue, &message, 1, 0, IPC_NOWAIT))               \
	X(msgsnd, struct { long kind; char byte; } message = {1, 2}; msgsnd(queue, &message, 1, IPC_NOWAIT))         \
	X(msync, msync(0, 0, MS_SYNC))                                                                               \
	X(open, open("/dev/null", O_RDONLY))                                                                         \
	X(openat, openat(AT_FDCWD, "/none", O_RDONLY))                                                               \
	X(pread, pread(file, &byte, 1, 0))                                                                           \
	X(pwrite, pwrite(file, &byte, 1, 0))                                                                         \
	X(preadv, preadv(file, &part, 1, 0))                                                                         \
	X(pwritev, pwritev(file, &part, 1, 0))                                                                       \
	X(preadv2, preadv2(file, &part, 1, 0, 0))                                                                    \
	X(read, read(file, &byte, 1))                                                                                \
	X(readv, readv(file, &part, 1))                                                                              \
	X(write, write(file, &byte, 1))                                                                              \
	X(writev, writev(file, &part, 1))                                                                            \
	X(recv, recv(ends[0], &byte, 1, MSG_DONTWAIT))                                                               \
	X(send, send(ends[0], &byte, 1, MSG_DONTWAIT))                                                               \
	X(accept, accept(-1, 0, 0))                                                                                  \
	X(connect, connect(-1, 0, 0))                                                                                \
	X(poll, poll(0, 0, 0))                                                                                       \
	X(select, select(0, 0, 0, 0, &(struct timeval){0, 0}))                                                       \
	X(pselect, pselect(0, 0, 0, 0, &no_time, 0))                                                                 \
	X(epoll_wait, epoll_wait(-1, 0, 1, 0))                                                                       \
	X(nanosleep, nanosleep(&no_time, 0))                                                                         \
	X(clock_nanosleep, clock_nanosleep(CLOCK_MONOTONIC, 0, &no_time, 0))                                         \
	X(sleep, sleep(0))                                                                                           \
	X(usleep, usleep(0))                                                                                         \
	X(sem_wait, sem_post(&semaphore); sem_wait(&semaphore))                                                      \
	X(sem_timedwait, sem_timedwait(&semaphore, &no_time))                                                        \
	X(pthread_testcancel, pthread_testcancel())                                                                  \
	X(wait, wait(0))                                                                                             \
	X(waitpid, waitpid(-1, 0, WNOHANG))                                                                          \
	X(waitid, waitid(P_ALL, 0, 0, WEXITED | WNOHANG))                                                            \
	X(tcdrain, tcdrain(file))                                                                                    \
	X(sendfile, sendfile(-1, file, 0, 0)) \
	X(semop, semop(-1, 0, 0))                                                                                    \
	X(flock, flock(file, LOCK_SH))                                                                               \
	X(fcntl_get, fcntl(file, F_GETFL))                                                                           \
	X(lockf_test, lockf(file, F_TEST, 1))                                                                        \
	X(dup2, dup2(file, file))                                                                                    \
	X(lio_listio, lio_listio(LIO_WAIT, 0, 0, 0))                                                                 \
	X(pthread_mutex_trylock, pthread_mutex_trylock(&mutex))                                                      \
	X(sched_yield, sched_yield())

/* OS threads of a program that is adopted wait for these where the system does not see it. */
#define WAITS(X)                                                                                                    \
	X(pthread_join, pthread_join(other, 0))                                                                      \
	X(thrd_join, thrd_join(other, 0))                                                                            \
	X(pthread_cond_timedwait, pthread_mutex_lock(&mutex); pthread_cond_timedwait(&condition, &mutex, &no_time))

#define DEFINE(name, ...)              \
	static void reach_##name(void) \
	{                              \
		__VA_ARGS__;           \
	}
POINTS(DEFINE)
WAITS(DEFINE)

enum { STACK = 1 << 18 };

typedef void Point(void);

struct reaching {
	Point *point;
	atomic_int is_back, has_cleaned_up;
};

static void clean_up(void *reaching)
{
	((struct reaching *)reaching)->has_cleaned_up++;
}

/* It is cancelled by the time that it allows that. */
static void *reach(void *argument)
{
	struct reaching *reaching = argument;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, 0);
	pthread_cancel(pthread_self());
	pthread_cleanup_push(clean_up, reaching);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, 0);
	reaching->point();
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, 0);
	pthread_cleanup_pop(0);
	reaching->is_back = 1;
	return 0;
}

static atomic_int has_been_awaited;

static void *live_on(void *argument)
{
	while (!has_been_awaited)
		usleep(500);
	return argument;
}

static void *give_back(void *argument)
{
	return argument;
}

/* Those that are given stacks are OS threads. */
static int is_cancelled(Point *point, void *stack)
{
	struct reaching reaching = {.point = point};
	void *left = 0;
	pthread_t id;
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	if ((stack && pthread_attr_setstack(&attributes, stack, STACK)) || pthread_create(&id, &attributes, reach, &reaching))
		abort();
	pthread_join(id, &left);
	pthread_mutex_trylock(&mutex);
	pthread_mutex_unlock(&mutex);
	return (left == PTHREAD_CANCELED) * 100 + reaching.has_cleaned_up * 10 + reaching.is_back;
}

int who_is_cancelled_at_a_point(int *told)
{
	int count = 0;
	char path[] = "/tmp/roving-points-XXXXXX";
	file = mkstemp(path);
	unlink(path);
	queue = msgget(IPC_PRIVATE, 0600);
	sem_init(&semaphore, 0, 0);
	if (file < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		abort();
	has_been_awaited = 0;
	other = begin(live_on, 0);
	void *stack = malloc(STACK);
#define REACH(name, ...)                                     \
	told[count++] = is_cancelled(reach_##name, 0);       \
	told[count++] = is_cancelled(reach_##name, stack);
	POINTS(REACH)
#define WAIT(name, ...) told[count++] = is_cancelled(reach_##name, 0);
	WAITS(WAIT)
	free(stack);
	has_been_awaited = 1;
	pthread_join(other, 0);
	msgctl(queue, IPC_RMID, 0);
	close(file);
	close(ends[0]);
	close(ends[1]);
	return count;
}

static void *run_command(void *status)
{
	*(int *)status = system("exec sleep 1000");
	return 0;
}

/* The command of who is cancelled is killed, and nobody has to wait for it. */
int who_is_cancelled_in_a_command(int *told)
{
	int status = -7;
	void *left = 0;
	pthread_t id = begin(run_command, &status);
	sleep_ms(50);
	pthread_cancel(id);
	pthread_join(id, &left);
	told[0] = left == PTHREAD_CANCELED;
	told[1] = status;
	told[2] = or_error(waitpid(-1, 0, WNOHANG));
	return 3;
}

/* Robust mutexes of each type. */
enum { TYPES = 3 };
static pthread_mutex_t *robust;
static atomic_int are_owned, may_end;

static void *own(void *argument)
{
	for (int n = 0; n < TYPES; n++)
		if (pthread_mutex_lock(&robust[n]))
			abort();
	if (pthread_mutex_lock(&robust[TYPES - 1]))
		abort();
	are_owned = 1;
	while (!may_end)
		usleep(500);
	return argument;
}

static void *take(void *mutex)
{
	int error = pthread_mutex_lock(mutex);
	if (error == EOWNERDEAD)
		pthread_mutex_consistent(mutex);
	pthread_mutex_unlock(mutex);
	return (void *)(long)(error == EOWNERDEAD);
}

static pthread_t begin_to_own(int ends)
{
	are_owned = 0;
	may_end = ends;
	pthread_t id = begin(own, 0);
	while (!are_owned)
		usleep(500);
	return id;
}

/* Who locks a robust mutex whose owner has ended is told so. */
int who_comes_after_an_owner(int *told)
{
	static const int types[TYPES] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_RECURSIVE};
	int count = 0;
	robust = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int shared = 0; shared < 2; shared++) {
		pthread_t id, takers[3];
		for (int n = 0; n < TYPES; n++) {
			pthread_mutexattr_t attributes;
			pthread_mutexattr_init(&attributes);
			pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
			pthread_mutexattr_settype(&attributes, types[n]);
			pthread_mutexattr_setpshared(&attributes, shared ? PTHREAD_PROCESS_SHARED : PTHREAD_PROCESS_PRIVATE);
			pthread_mutex_init(&robust[n], &attributes);
		}
		/* They lock it after its owner has ended; or wait until then; or it was cancelled. */
		pthread_join(begin_to_own(1), 0);
		for (int n = 0; n < TYPES; n++) {
			told[count++] = pthread_mutex_trylock(&robust[n]);
			told[count++] = pthread_mutex_consistent(&robust[n]);
			told[count++] = pthread_mutex_unlock(&robust[n]);
			told[count++] = pthread_mutex_lock(&robust[n]);
			told[count++] = pthread_mutex_unlock(&robust[n]);
		}
		id = begin_to_own(0);
		for (int n = 0; n < 3; n++)
			takers[n] = begin(take, &robust[1]);
		sleep_ms(20);
		may_end = 1;
		pthread_join(id, 0);
		int dead = 0;
		for (int n = 0; n < 3; n++) {
			void *is_told;
			pthread_join(takers[n], &is_told);
			dead += is_told != 0;
		}
		told[count++] = dead;
		for (int n = 0; n < TYPES; n += 2)
			told[count++] = take(&robust[n]) != 0;
		id = begin_to_own(0);
		pthread_cancel(id);
		pthread_join(id, 0);
		told[count++] = pthread_mutex_lock(&robust[0]);
		told[count++] = pthread_mutex_unlock(&robust[0]);
		told[count++] = pthread_mutex_lock(&robust[0]);
		for (int n = 1; n < TYPES; n++)
			told[count++] = take(&robust[n]) != 0;
		/* One that comes after it has owned nothing. */
		pthread_join(begin(give_back, 0), 0);
	}
	munmap(robust, 4096);
	return count;
}
