/* Threads with masks of signals of their own. Each function tells numbers, and gives how many. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static void pass_time(int microseconds)
{
	struct timespec time = {0, microseconds * 1000};
	nanosleep(&time, 0);
}

static sigset_t only(int signal)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, signal);
	return set;
}

static int blocks(int signal)
{
	sigset_t set;
	pthread_sigmask(SIG_BLOCK, 0, &set);
	return sigismember(&set, signal);
}

/* Which of some signals are blocked, as bits. */
static int blocked(void)
{
	int signals[] = {SIGUSR1, SIGUSR2, SIGTERM, SIGHUP, SIGRTMIN, SIGRTMIN + 7, SIGPIPE, SIGCHLD}, bits = 0;
	for (int n = 0; n < 8; n++)
		bits |= blocks(signals[n]) << n;
	return bits;
}

static int is_pending(int signal)
{
	sigset_t set;
	sigemptyset(&set);
	sigpending(&set);
	return sigismember(&set, signal);
}

static void block(int signal)
{
	sigset_t set = only(signal);
	pthread_sigmask(SIG_BLOCK, &set, 0);
}

static void unblock(int signal)
{
	sigset_t set = only(signal);
	pthread_sigmask(SIG_UNBLOCK, &set, 0);
}

static void handle(int signal, void (*handler)(int), int flags)
{
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_handler = handler;
	action.sa_flags = flags;
	sigaction(signal, &action, 0);
}

static pthread_t start(void *(*begin)(void *), void *argument)
{
	pthread_t id;
	if (pthread_create(&id, 0, begin, argument))
		abort();
	return id;
}

static void wait_for(atomic_int *flag, int value)
{
	while (atomic_load(flag) < value)
		pass_time(200);
}

/* Some have masks and others have none, and all wait all the time. */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int wrong;

static void *keeps(void *argument)
{
	int n = (long)argument;
	int signals[] = {SIGUSR1, SIGUSR2, SIGTERM, SIGHUP, SIGRTMIN, SIGRTMIN + 7, SIGPIPE, SIGCHLD};
	for (int bit = 0; bit < 8; bit++)
		if (n & 1 << bit)
			block(signals[bit]);
	for (int round = 0; round < 40; round++) {
		switch (round % 3) {
		case 0:
			pass_time(100 + n);
			break;
		case 1:
			sched_yield();
			break;
		default:
			pthread_mutex_lock(&lock);
			pass_time(1);
			pthread_mutex_unlock(&lock);
		}
		wrong += blocked() != n;
	}
	return 0;
}

int who_has_a_mask(int *told)
{
	pthread_t threads[32];
	wrong = 0;
	for (int n = 0; n < 32; n++)
		threads[n] = start(keeps, (void *)(long)(n % 2 ? (n * 8 - 1) & 255 : 0));
	for (int n = 0; n < 32; n++)
		pthread_join(threads[n], 0);
	told[0] = wrong;
	told[1] = blocked();
	return 2;
}

/* A thread has what its maker has, or what its attributes say. */

static void *tells(void *told)
{
	pass_time(500);
	*(int *)told = blocked();
	return 0;
}

static void *inherits(void *argument)
{
	int *told = argument;
	pthread_t child;
	block(SIGUSR2);
	child = start(tells, told);
	/* That it changes its mind is of no concern to the child. */
	unblock(SIGUSR2);
	pthread_join(child, 0);
	child = start(tells, told + 1);
	pthread_join(child, 0);
	sigset_t set = only(SIGTERM);
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setsigmask_np(&attributes, &set);
	block(SIGHUP);
	pthread_create(&child, &attributes, tells, told + 2);
	pthread_join(child, 0);
	pthread_attr_destroy(&attributes);
	told[3] = blocked();
	return 0;
}

int who_inherits_a_mask(int *told)
{
	block(SIGUSR1);
	pthread_t child = start(inherits, told);
	unblock(SIGUSR1);
	pthread_join(child, 0);
	child = start(tells, told + 4);
	pthread_join(child, 0);
	return 5;
}

/* What is blocked is pending for that thread alone. */

static atomic_int stage, handled, on_another;
static pthread_t target;
static int values[8];
static atomic_int count;

static void notes(int signal)
{
	(void)signal;
	handled++;
	on_another += !pthread_equal(pthread_self(), target);
}

static void notes_value(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)context;
	int is_told = info->si_code == SI_QUEUE && info->si_pid == getpid() && info->si_uid == getuid();
	values[count++] = is_told ? info->si_value.sival_int : -1;
}

static void *holds_back(void *argument)
{
	int *told = argument;
	struct timespec time = {0, 20000000};
	block(SIGUSR1);
	block(SIGUSR2);
	block(SIGRTMIN);
	told[0] = is_pending(SIGUSR1);
	stage = 1;
	/* Nothing of it ends a wait. */
	told[1] = nanosleep(&time, 0);
	wait_for(&stage, 2);
	pass_time(1000);
	told[2] = handled;
	told[3] = is_pending(SIGUSR1) + 2 * is_pending(SIGUSR2) + 4 * is_pending(SIGRTMIN);
	told[4] = count;
	stage = 3;
	wait_for(&stage, 4);
	unblock(SIGUSR1);
	told[5] = handled;
	told[6] = is_pending(SIGUSR1);
	unblock(SIGRTMIN);
	told[7] = count;
	/* It has no handler: it would be the end. */
	sigset_t set = only(SIGUSR2);
	told[8] = sigwait(&set, &told[9]);
	told[10] = is_pending(SIGUSR2);
	unblock(SIGUSR2);
	told[11] = blocked();
	return 0;
}

int what_is_blocked_is_pending(int *told)
{
	struct timespec now = {0, 0};
	sigset_t set = only(SIGUSR1);
	stage = handled = on_another = count = 0;
	handle(SIGUSR1, notes, 0);
	handle(SIGUSR2, SIG_DFL, 0);
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_sigaction = notes_value;
	action.sa_flags = SA_SIGINFO;
	sigaction(SIGRTMIN, &action, 0);
	target = start(holds_back, told);
	wait_for(&stage, 1);
	for (int n = 0; n < 3; n++) {
		pthread_kill(target, SIGUSR1);
		pthread_kill(target, SIGUSR2);
		pthread_sigqueue(target, SIGRTMIN, (union sigval){.sival_int = 10 + n});
	}
	stage = 2;
	wait_for(&stage, 3);
	/* It is nobody else's. */
	told[12] = is_pending(SIGUSR1);
	block(SIGUSR1);
	told[13] = is_pending(SIGUSR1);
	told[14] = sigtimedwait(&set, 0, &now);
	told[15] = errno;
	unblock(SIGUSR1);
	stage = 4;
	pthread_join(target, 0);
	told[16] = on_another;
	memcpy(told + 17, values, 3 * sizeof *values);
	return 20;
}

/* What waits for a signal, or lets it come as long, finds what was pending. */

static void *waits(void *argument)
{
	int *told = argument;
	sigset_t set = only(SIGUSR1), none;
	siginfo_t info;
	sigemptyset(&none);
	block(SIGUSR1);
	for (int n = 1; n <= 6; n++) {
		struct timespec time = {100, 0};
		stage = 2 * n - 1;
		/* It is sent before, or meanwhile. */
		if (n % 2)
			wait_for(&stage, 2 * n);
		errno = 0;
		switch (n) {
		case 1:
		case 2:
			*told++ = sigsuspend(&none);
			break;
		case 3:
		case 4:
			*told++ = ppoll(0, 0, &time, &none);
			break;
		default:
			*told++ = sigtimedwait(&set, &info, &time);
			*told++ = info.si_code;
		}
		*told++ = errno;
		*told++ = handled;
		wait_for(&stage, 2 * n);
		*told++ = blocked();
	}
	return 0;
}

int who_waits_finds_what_is_pending(int *told)
{
	stage = handled = on_another = 0;
	handle(SIGUSR1, notes, SA_RESTART);
	target = start(waits, told);
	for (int n = 1; n <= 6; n++) {
		wait_for(&stage, 2 * n - 1);
		if (n % 2 == 0)
			pass_time(10000);
		pthread_kill(target, SIGUSR1);
		stage = 2 * n;
	}
	pthread_join(target, 0);
	told[26] = on_another;
	return 27;
}

/* What a thread sends itself, and what the system sends it for what it does. */

int who_raises_waits_and_handles(int *told)
{
	int pipes[2];
	stage = handled = on_another = 0;
	target = pthread_self();
	handle(SIGUSR1, notes, 0);
	handle(SIGPIPE, SIG_DFL, 0);
	block(SIGUSR1);
	raise(SIGUSR1);
	pass_time(2000);
	told[0] = handled;
	told[1] = is_pending(SIGUSR1);
	pthread_kill(pthread_self(), SIGUSR1);
	sched_yield();
	pass_time(100);
	unblock(SIGUSR1);
	told[2] = handled;
	block(SIGPIPE);
	if (pipe(pipes))
		abort();
	close(pipes[0]);
	told[3] = write(pipes[1], "", 1);
	told[4] = errno;
	close(pipes[1]);
	for (int n = 0; n < 10; n++)
		pass_time(300);
	told[5] = is_pending(SIGPIPE);
	sigset_t set = only(SIGPIPE);
	told[6] = sigwait(&set, &told[7]);
	told[8] = is_pending(SIGPIPE);
	unblock(SIGPIPE);
	pass_time(100);
	told[9] = blocked();
	told[10] = on_another;
	return 11;
}

/* Jumps restore a mask, or do not. */

static sigjmp_buf place;

static void jumps(int signal)
{
	siglongjmp(place, signal);
}

static void sets_for_its_context(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)info;
	sigaddset(&((ucontext_t *)context)->uc_sigmask, SIGHUP);
}

static ucontext_t outside, within;

static void switches(void)
{
	pass_time(100);
	block(SIGTERM);
	pass_time(100);
	swapcontext(&within, &outside);
}

int who_jumps_has_the_mask_of_the_place(int *told)
{
	int n = 0;
	handle(SIGUSR1, jumps, 0);
	block(SIGTERM);
	if (!sigsetjmp(place, 1)) {
		unblock(SIGTERM);
		block(SIGUSR2);
		pass_time(100);
		siglongjmp(place, 1);
	}
	pass_time(100);
	told[n++] = blocked();
	unblock(SIGTERM);
	if (!sigsetjmp(place, 1))
		pthread_kill(pthread_self(), SIGUSR1);
	pass_time(100);
	told[n++] = blocked();
	if (!sigsetjmp(place, 0))
		raise(SIGUSR1);
	pass_time(100);
	told[n++] = blocked();
	unblock(SIGUSR1);
	pass_time(100);
	told[n++] = blocked();
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_sigaction = sets_for_its_context;
	action.sa_flags = SA_SIGINFO;
	sigaction(SIGUSR1, &action, 0);
	raise(SIGUSR1);
	pass_time(100);
	told[n++] = blocked();
	unblock(SIGHUP);
	static char stack[64 << 10];
	getcontext(&within);
	within.uc_stack.ss_sp = stack;
	within.uc_stack.ss_size = sizeof stack;
	within.uc_link = &outside;
	makecontext(&within, switches, 0);
	block(SIGUSR2);
	swapcontext(&outside, &within);
	pass_time(100);
	told[n++] = blocked();
	unblock(SIGUSR2);
	swapcontext(&outside, &within);
	pass_time(100);
	told[n++] = blocked();
	handle(SIGUSR1, SIG_DFL, 0);
	return n;
}

/* All other ways to change a mask, and a child. */

int who_changes_it_otherwise(int *told)
{
	int n = 0;
	sigset_t set = only(SIGUSR2);
	sighold(SIGUSR1);
	pass_time(100);
	told[n++] = blocked();
	sigrelse(SIGUSR1);
	pass_time(100);
	told[n++] = blocked();
	told[n++] = sigset(SIGUSR1, SIG_HOLD) == SIG_HOLD;
	pass_time(100);
	told[n++] = blocked();
	sigset(SIGUSR1, SIG_DFL);
	pass_time(100);
	told[n++] = blocked();
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, 0, 8);
	pass_time(100);
	told[n++] = blocked();
	told[n++] = sigprocmask(SIG_SETMASK, 0, 0);
	told[n++] = sigprocmask(1000, &set, 0);
	told[n++] = errno;
	told[n++] = pthread_sigmask(1000, &set, 0);
	pid_t child = fork();
	if (!child) {
		pass_time(100);
		_exit(blocked() + 64 * is_pending(SIGUSR1));
	}
	int status;
	waitpid(child, &status, 0);
	told[n++] = WEXITSTATUS(status);
	child = vfork();
	if (!child) {
		unblock(SIGUSR2);
		_exit(blocked());
	}
	waitpid(child, &status, 0);
	told[n++] = WEXITSTATUS(status);
	pass_time(100);
	told[n++] = blocked();
	unblock(SIGUSR2);
	pass_time(100);
	told[n++] = blocked();
	return n;
}

/* All have blocked it but for one thread, which waits. */

static siginfo_t infos[4];

static void notes_info(int signal, siginfo_t *info, void *context)
{
	(void)context;
	notes(signal);
	infos[count++] = *info;
}

static void *lets_come(void *argument)
{
	int *told = argument;
	struct timespec time = {100, 0};
	unblock(SIGUSR1);
	for (int n = 0; n < 2; n++) {
		stage = 2 * n + 1;
		told[2 * n] = nanosleep(&time, 0);
		told[2 * n + 1] = errno;
	}
	block(SIGUSR1);
	stage = 5;
	wait_for(&stage, 6);
	return 0;
}

int who_lets_a_signal_come(int *told)
{
	struct timespec time = {100, 0};
	sigset_t set = only(SIGUSR1);
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_sigaction = notes_info;
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	stage = handled = on_another = count = 0;
	sigaction(SIGUSR1, &action, 0);
	target = start(lets_come, told);
	wait_for(&stage, 1);
	pass_time(20000);
	kill(getpid(), SIGUSR1);
	wait_for(&stage, 3);
	pass_time(20000);
	sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 77});
	wait_for(&stage, 5);
	kill(getpid(), SIGUSR1);
	told[4] = sigtimedwait(&set, 0, &time);
	stage = 6;
	pthread_join(target, 0);
	told[5] = handled;
	told[6] = on_another;
	told[7] = infos[0].si_code;
	told[8] = infos[0].si_pid == getpid() && infos[0].si_uid == getuid();
	told[9] = infos[1].si_code;
	told[10] = infos[1].si_pid == getpid() && infos[1].si_uid == getuid();
	told[11] = infos[1].si_value.sival_int;
	/* That which has no handler ends the process. */
	handle(SIGUSR1, SIG_DFL, 0);
	return 12;
}

int who_lets_its_end_come(int *told)
{
	(void)told;
	handle(SIGUSR1, SIG_DFL, 0);
	stage = 0;
	target = start(lets_come, told);
	wait_for(&stage, 1);
	pass_time(20000);
	kill(getpid(), SIGUSR1);
	pthread_join(target, 0);
	return 0;
}

/* Threads that do not wait while a signal is on the way to them. Their maker is an OS thread. */

static void exits(int signal)
{
	pthread_exit((void *)(long)signal);
}

/* Without waiting. */
static void spin_for(int value)
{
	while (atomic_load(&stage) < value)
		;
}

static void *computes(void *is_to_exit)
{
	stage = 1;
	spin_for(2);
	if (is_to_exit)
		pthread_exit(0);
	return 0;
}

/* Whether a thread that returns, or exits, has handled what was sent to it before; and whether the handler may exit then. */
int who_ends_has_handled_all(int *told)
{
	int n = 0;
	for (int is_to_exit = 0; is_to_exit < 2; is_to_exit++) {
		for (int exits_in_handler = 0; exits_in_handler < 2; exits_in_handler++) {
			void *left = 0;
			stage = handled = on_another = 0;
			handle(SIGUSR1, exits_in_handler ? exits : notes, 0);
			target = start(computes, (void *)(long)is_to_exit);
			wait_for(&stage, 1);
			pthread_kill(target, SIGUSR1);
			pass_time(1000);
			stage = 2;
			pthread_join(target, &left);
			told[n++] = exits_in_handler ? (int)(long)left : handled;
			told[n++] = on_another;
		}
	}
	return n;
}

/* What is asked for by the number of a system call. */

static void *asks_by_number(void *argument)
{
	int *told = argument;
	struct timespec time = {100, 0};
	sigset_t set = only(SIGUSR1), none;
	siginfo_t info;
	unsigned long pending = 0;
	sigemptyset(&none);
	block(SIGUSR1);
	stage = 1;
	spin_for(2);
	syscall(SYS_rt_sigpending, &pending, 8);
	told[0] = pending >> (SIGUSR1 - 1) & 1;
	told[1] = syscall(SYS_rt_sigtimedwait, &set, &info, &time, 8);
	stage = 3;
	spin_for(4);
	told[2] = syscall(SYS_rt_sigtimedwait, &set, &info, &time, 8);
	stage = 5;
	spin_for(6);
	told[3] = syscall(SYS_rt_sigsuspend, &none, 8);
	told[4] = errno;
	told[5] = handled;
	told[6] = blocked();
	return 0;
}

static void *exits_by_number(void *lets_come)
{
	sigset_t set = only(SIGUSR1);
	if (lets_come) {
		syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, 0, 8);
		syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), SIGUSR1);
		sched_yield();
		syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &set, 0, 8);
	} else {
		syscall(SYS_tgkill, getpid(), (pid_t)syscall(SYS_gettid), SIGUSR1);
	}
	return 0;
}

int who_asks_by_number(int *told)
{
	stage = handled = on_another = 0;
	handle(SIGUSR1, notes, 0);
	target = start(asks_by_number, told);
	for (int n = 1; n <= 5; n += 2) {
		wait_for(&stage, n);
		pthread_kill(target, SIGUSR1);
		stage = n + 1;
	}
	pthread_join(target, 0);
	told[7] = on_another;
	handle(SIGUSR1, exits, 0);
	for (int n = 0; n < 2; n++) {
		void *left = 0;
		pthread_join(start(exits_by_number, (void *)(long)n), &left);
		told[8 + n] = (int)(long)left;
	}
	handle(SIGUSR1, SIG_DFL, 0);
	return 10;
}

/* All have it blocked but for a thread that ends, in a wait that no signal ends. */

static void waits_for_the_lock(void *value)
{
	(void)value;
	stage = 1;
	pthread_mutex_lock(&lock);
	pthread_mutex_unlock(&lock);
}

static void *ends_late(void *key)
{
	unblock(SIGUSR1);
	pthread_setspecific(*(pthread_key_t *)key, key);
	return 0;
}

/* How often what was sent to the process was handled or is found by who waits for it, and with what is told of it. */
int who_ends_leaves_what_is_for_all(int *told)
{
	struct timespec time = {100, 0};
	sigset_t set = only(SIGUSR1);
	siginfo_t info;
	pthread_key_t key;
	stage = handled = on_another = 0;
	handle(SIGUSR1, notes, 0);
	pthread_key_create(&key, waits_for_the_lock);
	pthread_mutex_lock(&lock);
	target = start(ends_late, &key);
	wait_for(&stage, 1);
	pass_time(20000);
	sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 78});
	/* Somebody has taken it. */
	while (is_pending(SIGUSR1))
		pass_time(200);
	pthread_mutex_unlock(&lock);
	pthread_join(target, 0);
	pthread_key_delete(key);
	told[0] = handled;
	told[1] = 78;
	if (!handled) {
		told[0] = sigtimedwait(&set, &info, &time) == SIGUSR1;
		told[1] = info.si_value.sival_int;
	}
	handle(SIGUSR1, SIG_DFL, 0);
	return 2;
}

/* All have it blocked but for a thread that is sent some, and then blocks it, or ends. */

static atomic_int handled_before;

static void *lets_go(void *argument)
{
	int round = (int)(long)argument;
	unblock(SIGRTMIN);
	stage = 1;
	if (round & 1) {
		pthread_mutex_lock(&lock);
		pthread_mutex_unlock(&lock);
	} else {
		while (stage < 2)
			sched_yield();
	}
	if (round & 2) {
		block(SIGRTMIN);
		handled_before = handled;
	}
	return 0;
}

/* How many rounds there were, and in how many not all was handled until then. */
int who_lets_go_has_handled_what_was_for_all(int *told)
{
	enum { ROUNDS = 400, SENT = 5 };
	handle(SIGRTMIN, notes, SA_RESTART);
	told[0] = ROUNDS;
	told[1] = on_another = 0;
	for (int round = 0; round < ROUNDS; round++) {
		stage = handled = handled_before = 0;
		pthread_mutex_lock(&lock);
		target = start(lets_go, (void *)(long)round);
		wait_for(&stage, 1);
		for (int n = 0; n < SENT; n++)
			sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = n});
		stage = 2;
		pthread_mutex_unlock(&lock);
		pthread_join(target, 0);
		told[1] += (round & 2 ? handled_before : handled) != SENT;
	}
	told[2] = on_another;
	return 3;
}

/* What is told of a child's end, and of what a program says more of than the C library knows. */

static void *sleeps(void *lets_come)
{
	struct timespec time = {100, 0};
	unblock((int)(long)lets_come);
	stage = 1;
	nanosleep(&time, 0);
	return 0;
}

static void start_sleeping(int lets_come)
{
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_sigaction = notes_info;
	action.sa_flags = SA_SIGINFO;
	sigaction(lets_come, &action, 0);
	stage = 0;
	target = start(sleeps, (void *)(long)lets_come);
	wait_for(&stage, 1);
	pass_time(20000);
}

int who_is_told_of_signals(int *told)
{
	struct timespec now = {0, 0};
	sigset_t set = only(SIGCHLD);
	union {
		siginfo_t info;
		int words[sizeof(siginfo_t) / sizeof(int)];
	} more;
	/* Of those before nobody has been told. */
	sigtimedwait(&set, 0, &now);
	handled = on_another = count = 0;
	start_sleeping(SIGCHLD);
	pid_t child = fork();
	if (!child)
		_exit(7);
	pthread_join(target, 0);
	waitpid(child, 0, 0);
	told[0] = infos[0].si_code;
	told[1] = infos[0].si_pid == child && infos[0].si_uid == getuid();
	told[2] = infos[0].si_status;
	start_sleeping(SIGUSR1);
	memset(&more, 0, sizeof more);
	more.info.si_code = SI_ASYNCIO;
	for (int n = 4; n < 12; n++)
		more.words[n] = n;
	syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &more);
	pthread_join(target, 0);
	more.info = infos[1];
	told[3] = more.info.si_code;
	told[4] = 0;
	for (int n = 4; n < 12; n++)
		told[4] += more.words[n] == n;
	told[5] = handled;
	told[6] = on_another;
	handle(SIGCHLD, SIG_DFL, 0);
	handle(SIGUSR1, SIG_DFL, 0);
	return 7;
}

static atomic_int has_begun;

static void *begins(void *argument)
{
	has_begun = 1;
	return argument;
}

/* A signal is pending for the process, and all have it blocked but for a thread that is about to begin. */
int who_exits_before_it_begins(int *told)
{
	pthread_attr_t attributes;
	pthread_t id;
	void *left = 0;
	sigset_t none;
	sigemptyset(&none);
	has_begun = 0;
	handle(SIGUSR1, exits, 0);
	kill(getpid(), SIGUSR1);
	pthread_attr_init(&attributes);
	pthread_attr_setsigmask_np(&attributes, &none);
	if (pthread_create(&id, &attributes, begins, 0))
		abort();
	pthread_attr_destroy(&attributes);
	pthread_join(id, &left);
	handle(SIGUSR1, SIG_DFL, 0);
	told[0] = left == (void *)(long)SIGUSR1;
	told[1] = has_begun;
	return 2;
}
