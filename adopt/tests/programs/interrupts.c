/* Threads that others send signals and cancel, in each kind of wait. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int pipes[2], sockets[2], listener, epoll;
static pid_t child;
static sem_t semaphore;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_t sleeper;

/* What it is that a thread waits by. */
struct wait {
	int (*call)(void);
	pthread_t id;
	atomic_int is_back, has_cleaned_up, has_handled, on_another;
	int result, error;
};

static struct wait *current;

static int reads(void)
{
	char byte;
	return read(pipes[0], &byte, 1);
}

static int receives(void)
{
	char byte;
	return recv(sockets[0], &byte, 1, 0);
}

static int receives_a_message(void)
{
	char byte;
	struct iovec buffer = {&byte, 1};
	struct msghdr message = {.msg_iov = &buffer, .msg_iovlen = 1};
	return recvmsg(sockets[0], &message, 0);
}

static int accepts(void)
{
	return accept(listener, 0, 0);
}

static int polls(void)
{
	struct pollfd polled = {pipes[0], POLLIN, 0};
	return poll(&polled, 1, -1);
}

static int polls_for_a_while(void)
{
	struct pollfd polled = {pipes[0], POLLIN, 0};
	return poll(&polled, 1, 1000000);
}

static int selects(void)
{
	fd_set set;
	FD_ZERO(&set);
	FD_SET(pipes[0], &set);
	return select(pipes[0] + 1, &set, 0, 0, 0);
}

static int waits_by_epoll(void)
{
	struct epoll_event event;
	return epoll_wait(epoll, &event, 1, -1);
}

static int sleeps(void)
{
	struct timespec time = {1000, 0}, left = {0, 0};
	int result = nanosleep(&time, &left);
	return result && left.tv_sec > 900 && left.tv_sec <= 1000 ? result : 1;
}

static int sleeps_by_clock(void)
{
	struct timespec time = {1000, 0}, left = {0, 0};
	errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &time, &left);
	return errno && left.tv_sec > 900 && left.tv_sec <= 1000 ? -1 : 1;
}

static int sleeps_seconds(void)
{
	int left = sleep(1000);
	errno = 0;
	return left > 900 && left <= 1000 ? -1 : 1;
}

static int waits_for_a_semaphore(void)
{
	return sem_wait(&semaphore);
}

static int waits_for_a_semaphore_for_a_while(void)
{
	struct timespec time;
	clock_gettime(CLOCK_REALTIME, &time);
	time.tv_sec += 1000;
	return sem_timedwait(&semaphore, &time);
}

static int waits_for_a_child(void)
{
	return waitpid(child, 0, 0);
}

static int pauses(void)
{
	return pause();
}

static void unlock(void *lock)
{
	current->has_cleaned_up += pthread_mutex_unlock(lock) == 0;
}

/* It waits until it has handled a signal: what is woken for nothing goes on. */
static int waits_for_a_condition(void)
{
	pthread_mutex_lock(&mutex);
	pthread_cleanup_push(unlock, &mutex);
	while (!current->has_handled)
		pthread_cond_wait(&condition, &mutex);
	pthread_cleanup_pop(1);
	errno = 0;
	return -1;
}

static int joins(void)
{
	errno = pthread_join(sleeper, 0);
	return -1;
}

/* What waits on an OS thread. */

static char folder[] = "/tmp/roving-interrupts-XXXXXX", fifo[64];
static int locked, crowded;
static int empty_queue, full_queue;
static mqd_t empty_messages, full_messages;
static struct sockaddr_un crowded_address;
static sem_t shared_semaphore;
static const struct timespec long_time = {1000, 0};

static sigset_t of_usr2(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return set;
}

static int waits_for_a_signal(void)
{
	int signal;
	sigset_t set = of_usr2();
	return sigwait(&set, &signal);
}

static int waits_for_news_of_a_signal(void)
{
	sigset_t set = of_usr2();
	return sigwaitinfo(&set, 0);
}

static int waits_for_a_signal_for_a_while(void)
{
	sigset_t set = of_usr2();
	return sigtimedwait(&set, 0, &long_time);
}

static int suspends(void)
{
	sigset_t set = of_usr2();
	return sigsuspend(&set);
}

static int takes_a_message(void)
{
	char bytes[16];
	return mq_receive(empty_messages, bytes, sizeof bytes, 0);
}

static int posts_a_message(void)
{
	return mq_send(full_messages, "", 1, 0);
}

struct message {
	long kind;
	char bytes[1024];
};

static int takes_from_a_queue(void)
{
	struct message message;
	return msgrcv(empty_queue, &message, sizeof message.bytes, 0, 0);
}

static int adds_to_a_queue(void)
{
	struct message message = {.kind = 1};
	return msgsnd(full_queue, &message, sizeof message.bytes, 0);
}

static int locks(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	return fcntl(locked, F_SETLKW, &lock);
}

static int locks_by_the_open_file(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	return fcntl(locked, F_OFD_SETLKW, &lock);
}

static int locks_a_part(void)
{
	return lockf(locked, F_LOCK, 0);
}

static int opens(void)
{
	return open(fifo, O_RDONLY);
}

static int waits_for_any_child(void)
{
	return wait(0);
}

static int waits_for_news_of_children(void)
{
	siginfo_t info;
	return waitid(P_ALL, 0, &info, WEXITED | WSTOPPED);
}

static int polls_with_a_mask(void)
{
	sigset_t set = of_usr2();
	struct pollfd polled = {pipes[0], POLLIN, 0};
	return ppoll(&polled, 1, 0, &set);
}

static int selects_with_a_mask(void)
{
	sigset_t mask = of_usr2();
	fd_set set;
	FD_ZERO(&set);
	FD_SET(pipes[0], &set);
	return pselect(pipes[0] + 1, &set, 0, 0, 0, &mask);
}

static int waits_by_epoll_with_a_mask(void)
{
	sigset_t set = of_usr2();
	struct epoll_event event;
	return epoll_pwait(epoll, &event, 1, -1, &set);
}

static int waits_for_a_shared_semaphore(void)
{
	return sem_wait(&shared_semaphore);
}

static int sleeps_by_time_of_the_cpu(void)
{
	return clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &long_time, 0);
}

static int connects_to_who_is_crowded(void)
{
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return connect(client, (struct sockaddr *)&crowded_address, sizeof crowded_address);
}

static int receives_messages_for_a_while(void)
{
	char byte;
	struct iovec buffer = {&byte, 1};
	struct mmsghdr message = {.msg_hdr = {.msg_iov = &buffer, .msg_iovlen = 1}};
	struct timespec time = long_time;
	return recvmmsg(sockets[0], &message, 1, 0, &time);
}

static int (*const calls_on_os_threads[])(void) = {
	pauses, waits_for_a_signal, waits_for_news_of_a_signal, waits_for_a_signal_for_a_while, suspends, takes_a_message,
	posts_a_message, takes_from_a_queue, adds_to_a_queue, locks, locks_by_the_open_file, locks_a_part, opens, waits_for_any_child,
	waits_for_news_of_children, polls_with_a_mask, selects_with_a_mask, waits_by_epoll_with_a_mask, waits_for_a_shared_semaphore,
	sleeps_by_time_of_the_cpu, connects_to_who_is_crowded, receives_messages_for_a_while,
};

enum { CALLS_ON_OS_THREADS = sizeof calls_on_os_threads / sizeof *calls_on_os_threads };

static int (*const calls[])(void) = {
	reads, receives, receives_a_message, accepts, polls, polls_for_a_while, selects, waits_by_epoll, sleeps, sleeps_by_clock,
	sleeps_seconds, waits_for_a_semaphore, waits_for_a_semaphore_for_a_while, waits_for_a_child, pauses, waits_for_a_condition, joins,
};

enum { CALLS = sizeof calls / sizeof *calls };

static void handle(int signal)
{
	(void)signal;
	current->on_another += !pthread_equal(pthread_self(), current->id);
	current->has_handled++;
}

static void clean_up(void *wait)
{
	((struct wait *)wait)->has_cleaned_up++;
}

static void *waits(void *argument)
{
	struct wait *wait = argument;
	pthread_cleanup_push(clean_up, wait);
	errno = 0;
	wait->result = wait->call();
	wait->error = errno;
	wait->is_back = 1;
	pthread_cleanup_pop(0);
	return (void *)3;
}

static void *sleeps_long(void *argument)
{
	(void)argument;
	for (;;)
		usleep(100);
	return 0;
}

/* This process alone has its second end. */
static int life[2];

/* A child that lives as long as this process. */
static void lives(void)
{
	char byte;
	close(life[1]);
	while (read(life[0], &byte, 1))
		;
	_exit(1);
}

static void begin(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct epoll_event event = {.events = EPOLLIN};
	struct sigaction action = {.sa_handler = handle};
	sigaction(SIGUSR1, &action, 0);
	if (pipe(life) || pipe(pipes) || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
		abort();
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	/* Without a name it gets one. */
	if (bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)) || listen(listener, 5))
		abort();
	epoll = epoll_create1(0);
	epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[0], &event);
	sem_init(&semaphore, 0, 0);
	child = fork();
	if (!child)
		lives();
	pthread_create(&sleeper, 0, sleeps_long, 0);
}

static void end(void)
{
	kill(child, SIGKILL);
	waitpid(child, 0, 0);
	pthread_cancel(sleeper);
	pthread_join(sleeper, 0);
	close(life[0]);
	close(life[1]);
	close(pipes[0]);
	close(pipes[1]);
	close(sockets[0]);
	close(sockets[1]);
	close(listener);
	close(epoll);
}

/* Sends a signal to threads in each wait until it is back; which do not end by that (the last), are not tried. */
int who_gets_a_signal(int *told)
{
	begin();
	for (int n = 0; n < CALLS - 1; n++) {
		struct wait wait = {.call = calls[n]};
		void *left;
		current = &wait;
		if (pthread_create(&wait.id, 0, waits, &wait))
			abort();
		while (!wait.is_back) {
			if (pthread_kill(wait.id, SIGUSR1))
				abort();
			/* It waits for a signal. */
			if (wait.call == waits_for_a_condition) {
				pthread_cond_signal(&condition);
			}
			usleep(500);
		}
		pthread_join(wait.id, &left);
		*told++ = wait.result;
		*told++ = wait.error;
		*told++ = wait.has_handled > 0;
		*told++ = wait.on_another;
	}
	end();
	return 4 * (CALLS - 1);
}

/* Cancels threads in each of so many calls. They are given stacks, or are not. */
static int cancel_in(int (*const *all)(void), int size, int *told, int delay, int has_stack)
{
	enum { SIZE = 1 << 20 };
	int count = 0;
	void *stack = malloc(SIZE);
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	if (has_stack && pthread_attr_setstack(&attributes, stack, SIZE))
		abort();
	for (int n = 0; n < size; n++) {
		struct wait wait = {.call = all[n]};
		pthread_t id;
		void *left = 0;
		/* OS threads of a program that is adopted wait for these where the system does not see it. */
		if (has_stack && (wait.call == waits_for_a_condition || wait.call == joins))
			continue;
		current = &wait;
		if (pthread_create(&id, &attributes, waits, &wait))
			abort();
		usleep(delay);
		if (pthread_cancel(id))
			abort();
		pthread_join(id, &left);
		told[count++] = left == PTHREAD_CANCELED;
		told[count++] = wait.is_back;
		told[count++] = wait.has_cleaned_up;
	}
	pthread_attr_destroy(&attributes);
	free(stack);
	return count;
}

/* In each wait. */
int who_is_cancelled_in_a_wait(int *told, int delay, int has_stack)
{
	begin();
	int count = cancel_in(calls, CALLS, told, delay, has_stack);
	/* Its mutex is free. */
	told[count++] = pthread_mutex_trylock(&mutex);
	pthread_mutex_unlock(&mutex);
	end();
	return count;
}

/* What a lock is, and who has it: a child. */
static pid_t begin_to_lock(const char *path)
{
	int told[2];
	char byte;
	locked = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (locked < 0 || pipe(told))
		abort();
	pid_t holder = fork();
	if (!holder) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		fcntl(locked, F_SETLK, &lock);
		if (write(told[1], "x", 1) == 1)
			lives();
		_exit(1);
	}
	if (read(told[0], &byte, 1) != 1)
		abort();
	close(told[0]);
	close(told[1]);
	return holder;
}

static mqd_t open_messages(const char *what)
{
	char name[64];
	struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 16};
	snprintf(name, sizeof name, "/roving-%s-%d", what, (int)getpid());
	mqd_t messages = mq_open(name, O_RDWR | O_CREAT, 0600, &attributes);
	mq_unlink(name);
	if (messages == (mqd_t)-1)
		abort();
	return messages;
}

/* In each call that waits on an OS thread. */
int who_is_cancelled_in_a_call(int *told, int delay, int has_stack)
{
	char path[64];
	struct message message = {.kind = 1};
	begin();
	strcpy(folder, "/tmp/roving-interrupts-XXXXXX");
	if (!mkdtemp(folder))
		abort();
	snprintf(fifo, sizeof fifo, "%s/fifo", folder);
	snprintf(path, sizeof path, "%s/file", folder);
	pid_t holder = begin_to_lock(path);
	empty_queue = msgget(IPC_PRIVATE, 0600);
	full_queue = msgget(IPC_PRIVATE, 0600);
	empty_messages = open_messages("empty");
	full_messages = open_messages("full");
	if (mkfifo(fifo, 0600) || empty_queue < 0 || full_queue < 0 || mq_send(full_messages, "", 1, 0))
		abort();
	while (!msgsnd(full_queue, &message, sizeof message.bytes, IPC_NOWAIT))
		;
	sem_init(&shared_semaphore, 1, 0);
	crowded = socket(AF_UNIX, SOCK_STREAM, 0);
	crowded_address.sun_family = AF_UNIX;
	snprintf(crowded_address.sun_path, sizeof crowded_address.sun_path, "%s/socket", folder);
	if (bind(crowded, (struct sockaddr *)&crowded_address, sizeof crowded_address) || listen(crowded, 0))
		abort();
	int first = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), second = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	connect(first, (struct sockaddr *)&crowded_address, sizeof crowded_address);
	if (!connect(second, (struct sockaddr *)&crowded_address, sizeof crowded_address) || errno != EAGAIN)
		abort();

	int count = cancel_in(calls_on_os_threads, CALLS_ON_OS_THREADS, told, delay, has_stack);

	kill(holder, SIGKILL);
	waitpid(holder, 0, 0);
	close(first);
	close(second);
	close(crowded);
	close(locked);
	mq_close(empty_messages);
	mq_close(full_messages);
	msgctl(empty_queue, IPC_RMID, 0);
	msgctl(full_queue, IPC_RMID, 0);
	unlink(crowded_address.sun_path);
	unlink(path);
	unlink(fifo);
	rmdir(folder);
	end();
	return count;
}

static atomic_int has_forbidden;

static void *takes_though_it_is_cancelled(void *argument)
{
	struct message message;
	int *told = argument;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, 0);
	has_forbidden = 1;
	told[0] = msgrcv(empty_queue, &message, sizeof message.bytes, 0, 0);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, 0);
	told[1] = 1;
	pause();
	told[1] = 2;
	return 0;
}

/* Who forbids it is not interrupted in such a call. */
int who_forbids_it_in_a_call(int *told)
{
	struct message message = {.kind = 1};
	pthread_t id;
	void *left = 0;
	has_forbidden = 0;
	empty_queue = msgget(IPC_PRIVATE, 0600);
	pthread_create(&id, 0, takes_though_it_is_cancelled, told);
	while (!has_forbidden)
		usleep(500);
	usleep(5000);
	pthread_cancel(id);
	usleep(50000);
	msgsnd(empty_queue, &message, 7, 0);
	pthread_join(id, &left);
	msgctl(empty_queue, IPC_RMID, 0);
	told[2] = left == PTHREAD_CANCELED;
	return 3;
}

static void *reads_again(void *argument)
{
	char byte;
	return (void *)(long)(read(pipes[0], &byte, 1) == 1 && byte == 'x' && argument == 0);
}

/* A handler that lets calls go on. */
int who_goes_on(void)
{
	struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
	struct wait wait = {0};
	void *left = 0;
	current = &wait;
	sigaction(SIGUSR1, &action, 0);
	if (pipe(pipes))
		abort();
	pthread_create(&wait.id, 0, reads_again, 0);
	while (wait.has_handled < 3) {
		pthread_kill(wait.id, SIGUSR1);
		usleep(500);
	}
	if (write(pipes[1], "x", 1) != 1)
		abort();
	pthread_join(wait.id, &left);
	close(pipes[0]);
	close(pipes[1]);
	return left == (void *)1 && !wait.on_another;
}

static atomic_int has_waited;

static void *waits_for_a_time(void *semaphore)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	int ended = sem_timedwait(semaphore, &until) == -1 && errno == EINTR;
	has_waited = 1;
	return (void *)(long)ended;
}

/* What has a time does not go on, whatever the handler lets. */
int who_waits_for_a_time(void)
{
	struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
	struct wait wait = {0};
	sem_t semaphore;
	void *left = 0;
	current = &wait;
	has_waited = 0;
	sigaction(SIGUSR1, &action, 0);
	sem_init(&semaphore, 0, 0);
	pthread_create(&wait.id, 0, waits_for_a_time, &semaphore);
	while (!has_waited) {
		pthread_kill(wait.id, SIGUSR1);
		usleep(500);
	}
	pthread_join(wait.id, &left);
	return left == (void *)1;
}

static atomic_int values[3], count_of_values;

static void take_value(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	if (info->si_code == SI_QUEUE && count_of_values < 3)
		values[count_of_values++] = info->si_value.sival_int;
}

static void *waits_for_values(void *argument)
{
	while (count_of_values < 3)
		usleep(500);
	return argument;
}

/* Signals of real time are queued, with their values. */
int who_gets_values(void)
{
	struct sigaction action = {.sa_sigaction = take_value, .sa_flags = SA_SIGINFO};
	pthread_t id;
	count_of_values = 0;
	sigaction(SIGRTMIN + 1, &action, 0);
	pthread_create(&id, 0, waits_for_values, 0);
	for (int n = 1; n <= 3; n++) {
		union sigval value = {.sival_int = n};
		if (pthread_sigqueue(id, SIGRTMIN + 1, value))
			abort();
	}
	pthread_join(id, 0);
	return values[0] * 100 + values[1] * 10 + values[2];
}

static atomic_int stage;

static void *forbids(void *argument)
{
	int before = -1;
	char *letters = argument;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	*letters++ = before == PTHREAD_CANCEL_ENABLE ? 'e' : '?';
	stage = 1;
	while (stage == 1)
		usleep(500);
	pthread_testcancel();
	*letters++ = 'd';
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
	*letters++ = before == PTHREAD_CANCEL_DISABLE ? 'a' : '?';
	*letters++ = pthread_setcancelstate(7, 0) == EINVAL && pthread_setcanceltype(7, 0) == EINVAL ? 'i' : '?';
	pthread_testcancel();
	*letters = '!';
	return 0;
}

/* Who forbids it is cancelled once it is allowed. */
int who_forbids_to_be_cancelled(char *letters)
{
	pthread_t id;
	void *left = 0;
	stage = 0;
	pthread_create(&id, 0, forbids, letters);
	while (!stage)
		usleep(500);
	pthread_cancel(id);
	stage = 2;
	pthread_join(id, &left);
	return left == PTHREAD_CANCELED;
}

static sigjmp_buf back;
static volatile sig_atomic_t may_jump;

static void jumps(int signal)
{
	if (may_jump) {
		may_jump = 0;
		siglongjmp(back, 1);
	}
}

struct jumper {
	pthread_t id;
	atomic_int is_done;
};

static void *sends(void *argument)
{
	struct jumper *jumper = argument;
	while (!jumper->is_done) {
		pthread_kill(jumper->id, SIGUSR1);
		sched_yield();
	}
	return NULL;
}

/* Handlers jump out of a call again and again, while signals come without a pause. Gives how often it was as before then. */
int who_jumps_out_of_calls(int times, int (*is_as_before)(void))
{
	struct jumper jumper = {pthread_self()};
	struct sigaction action = {.sa_handler = jumps};
	pthread_t sender;
	volatile int count = 0;
	sigaction(SIGUSR1, &action, NULL);
	if (pthread_create(&sender, NULL, sends, &jumper))
		return -1;
	while (count < times) {
		if (!sigsetjmp(back, 1)) {
			may_jump = 1;
			for (;;)
				pause();
		}
		if (!is_as_before())
			break;
		count++;
	}
	jumper.is_done = 1;
	pthread_join(sender, NULL);
	return count;
}
