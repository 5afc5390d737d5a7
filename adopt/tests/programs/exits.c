/* Threads that exit from within C: what was to be done before is done, from the inside to the outside. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>
#include <linux/futex.h>

/* What each thread has done, in letters. */
struct notes {
	char letters[32];
	pthread_key_t key;
};

static void note(struct notes *notes, char letter)
{
	size_t length = strlen(notes->letters);
	notes->letters[length] = letter;
	usleep(100);
}

static void note_a(void *notes)
{
	note(notes, 'a');
}

static void note_b(void *notes)
{
	note(notes, 'b');
}

static void note_value(void *notes)
{
	note(notes, 'v');
}

static void exit_from_below(struct notes *notes)
{
	pthread_cleanup_push(note_b, notes);
	usleep(100);
	pthread_exit((void *)7);
	pthread_cleanup_pop(0);
}

static void *exits(void *argument)
{
	struct notes *notes = argument;
	pthread_key_create(&notes->key, note_value);
	pthread_setspecific(notes->key, notes);
	pthread_cleanup_push(note_a, notes);
	exit_from_below(notes);
	note(notes, '!');
	pthread_cleanup_pop(1);
	return 0;
}

static void *cancels(void *argument)
{
	struct notes *notes = argument;
	pthread_cleanup_push(note_a, notes);
	pthread_cancel(pthread_self());
	note(notes, 'c');
	pthread_testcancel();
	note(notes, '!');
	pthread_cleanup_pop(1);
	return 0;
}

/* The letters, and what the thread has left. */
static long run(void *(*thread)(void *), char *letters)
{
	struct notes notes;
	pthread_t id;
	void *left = 0;
	memset(&notes, 0, sizeof notes);
	if (pthread_create(&id, 0, thread, &notes) || pthread_join(id, &left))
		return -2;
	strcpy(letters, notes.letters);
	return (long)left;
}

long who_exits(char *letters)
{
	return run(exits, letters);
}

static void exit_of(int signal)
{
	pthread_exit((void *)(long)signal);
}

/* In the handler of a signal that comes as it raises it, or lets it come. */
static void *raises(void *argument)
{
	pthread_cleanup_push(note_a, argument);
	signal(SIGUSR2, exit_of);
	raise(SIGUSR2);
	note(argument, '!');
	pthread_cleanup_pop(1);
	return 0;
}

static void *lets_come(void *argument)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_cleanup_push(note_a, argument);
	signal(SIGUSR2, exit_of);
	pthread_sigmask(SIG_BLOCK, &set, 0);
	pthread_kill(pthread_self(), SIGUSR2);
	note(argument, 'b');
	pthread_sigmask(SIG_UNBLOCK, &set, 0);
	note(argument, '!');
	pthread_cleanup_pop(1);
	return 0;
}

long who_raises(char *letters)
{
	return run(raises, letters);
}

long who_lets_come(char *letters)
{
	return run(lets_come, letters);
}

/* What a thread waits for that the one has which has made it. */
struct awaited {
	struct notes notes;
	int kind;
	pthread_mutex_t mutex;
	mtx_t plain;
	pthread_rwlock_t lock;
	pthread_barrier_t barrier;
	int file;
	atomic_int is_there;
};

static void *waits(void *argument)
{
	struct awaited *awaited = argument;
	struct timespec late = {.tv_sec = 1L << 40};
	pthread_cleanup_push(note_a, &awaited->notes);
	awaited->is_there = 1;
	switch (awaited->kind) {
	case 0:
		pthread_mutex_lock(&awaited->mutex);
		break;
	case 1:
		pthread_mutex_timedlock(&awaited->mutex, &late);
		break;
	case 2:
		pthread_mutex_clocklock(&awaited->mutex, CLOCK_MONOTONIC, &late);
		break;
	case 3:
		mtx_lock(&awaited->plain);
		break;
	case 4:
		pthread_rwlock_rdlock(&awaited->lock);
		break;
	case 5:
		pthread_rwlock_wrlock(&awaited->lock);
		break;
	case 6:
		pthread_rwlock_timedrdlock(&awaited->lock, &late);
		break;
	case 7:
		pthread_rwlock_clockwrlock(&awaited->lock, CLOCK_MONOTONIC, &late);
		break;
	case 8:
		pthread_barrier_wait(&awaited->barrier);
		break;
	default:
		flock(awaited->file, LOCK_EX);
	}
	note(&awaited->notes, '!');
	pthread_cleanup_pop(1);
	return 0;
}

/* In the handler of a signal that comes as it waits. What it has waited for stays as it was, and is used no more. */
long who_waits(int kind, char *letters)
{
	struct awaited *awaited = calloc(1, sizeof *awaited);
	int other = open("/proc/self/exe", O_RDONLY);
	pthread_t id;
	void *left = 0;
	awaited->kind = kind;
	awaited->file = open("/proc/self/exe", O_RDONLY);
	pthread_mutex_init(&awaited->mutex, 0);
	mtx_init(&awaited->plain, mtx_plain);
	pthread_rwlock_init(&awaited->lock, 0);
	pthread_barrier_init(&awaited->barrier, 0, 2);
	pthread_mutex_lock(&awaited->mutex);
	mtx_lock(&awaited->plain);
	pthread_rwlock_wrlock(&awaited->lock);
	if (kind == 9)
		flock(other, LOCK_EX);
	signal(SIGUSR2, exit_of);
	if (pthread_create(&id, 0, waits, awaited))
		return -2;
	while (!awaited->is_there)
		usleep(500);
	/* It waits by then, or exits on its way there. */
	usleep(20000);
	pthread_kill(id, SIGUSR2);
	pthread_join(id, &left);
	close(other);
	close(awaited->file);
	strcpy(letters, awaited->notes.letters);
	return (long)left;
}

/* As it may be cancelled again, anywhere. */
static void *allows(void *argument)
{
	int before;
	pthread_cleanup_push(note_a, argument);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
	pthread_cancel(pthread_self());
	note(argument, 'd');
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
	note(argument, '!');
	pthread_cleanup_pop(1);
	return 0;
}

long who_allows(char *letters)
{
	return run(allows, letters);
}

long who_is_cancelled(char *letters)
{
	return run(cancels, letters);
}

/* Waits for a condition that does not come, and is cancelled there. It has the mutex again. */

static pthread_mutex_t of_condition = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int has_locked;

static void note_mutex(void *notes)
{
	note(notes, pthread_mutex_trylock(&of_condition) ? 'h' : '?');
	pthread_mutex_unlock(&of_condition);
}

static void *waits_for_a_condition(void *argument)
{
	pthread_mutex_lock(&of_condition);
	pthread_cleanup_push(note_mutex, argument);
	has_locked = 1;
	pthread_cond_wait(&condition, &of_condition);
	note(argument, '!');
	pthread_cleanup_pop(1);
	return 0;
}

long who_is_cancelled_at_a_condition(char *letters)
{
	struct notes notes;
	pthread_t id;
	void *left = 0;
	memset(&notes, 0, sizeof notes);
	has_locked = 0;
	if (pthread_create(&id, 0, waits_for_a_condition, &notes))
		return -2;
	for (int waits = 0; !waits;) {
		usleep(100);
		pthread_mutex_lock(&of_condition);
		waits = has_locked;
		pthread_mutex_unlock(&of_condition);
	}
	pthread_cancel(id);
	if (pthread_join(id, &left))
		return -2;
	strcpy(letters, notes.letters);
	return (long)left;
}

/* What is asked for here is at no point of cancellation. Notes without sleeping, which is. */
static void *asks(void *argument)
{
	char *letters = ((struct notes *)argument)->letters;
	char name[16];
	struct timespec time = {0, 1000000};
	pthread_attr_t attributes;
	pthread_t id;
	int word = 1;
	pthread_cancel(pthread_self());
	*letters++ = pthread_getname_np(pthread_self(), name, sizeof name) == 0 ? 'n' : '?';
	*letters++ = syscall(SYS_futex, &word, FUTEX_WAIT, 1, &time, 0, 0) == -1 ? 'f' : '?';
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, (size_t)1 << 46);
	*letters++ = pthread_create(&id, &attributes, asks, argument) != 0 ? 'c' : '?';
	pthread_testcancel();
	*letters = '!';
	return 0;
}

long who_is_cancelled_and_asks(char *letters)
{
	return run(asks, letters);
}

static sigjmp_buf place;

static void jumps(int signal)
{
	(void)signal;
	siglongjmp(place, 1);
}

/* Whether others run while the caller sleeps, after it has jumped out of a handler. */
int who_jumps_out_of_a_handler_parks(int (*others_have_run)(void))
{
	signal(SIGUSR2, jumps);
	if (!sigsetjmp(place, 1))
		raise(SIGUSR2);
	int before = others_have_run();
	for (int n = 0; n < 10000 && others_have_run() == before; n++)
		usleep(1000);
	return others_have_run() - before;
}

static void jumps_within(int signal)
{
	jmp_buf within;
	(void)signal;
	if (!setjmp(within))
		longjmp(within, 1);
}

/* The same, after a jump that stayed within a handler. */
int who_jumps_within_a_handler_parks(int (*others_have_run)(void))
{
	signal(SIGUSR2, jumps_within);
	raise(SIGUSR2);
	int before = others_have_run();
	for (int n = 0; n < 10000 && others_have_run() == before; n++)
		usleep(1000);
	return others_have_run() - before;
}

static int (*others)(void);
static sigjmp_buf within;
static atomic_int at_other_times;

static void looks_whether_others_run(void)
{
	int before = others();
	usleep(1000);
	if (others() == before)
		at_other_times++;
}

static void jumps_back(int signal)
{
	(void)signal;
	siglongjmp(within, 1);
}

static void is_jumped_back_to(int signal)
{
	(void)signal;
	if (!sigsetjmp(within, 1))
		siglongjmp(within, 1);
	looks_whether_others_run();
	if (!sigsetjmp(within, 1))
		raise(SIGUSR1);
	looks_whether_others_run();
	if (!sigsetjmp(within, 1))
		raise(SIGUSR1);
	looks_whether_others_run();
}

/* How often others do not run while a handler sleeps that has jumped within itself, or to which another one has jumped back. */
int who_jumps_within_a_handler_stays_there(int (*others_have_run)(void), int flags)
{
	struct sigaction action = {.sa_handler = is_jumped_back_to, .sa_flags = flags};
	others = others_have_run;
	at_other_times = 0;
	sigaction(SIGUSR2, &action, 0);
	action.sa_handler = jumps_back;
	sigaction(SIGUSR1, &action, 0);
	raise(SIGUSR2);
	return at_other_times;
}

static atomic_int told[4];

static void tells(void *value)
{
	pthread_attr_t attributes;
	pthread_t me = pthread_self();
	(void)value;
	told[0] = pthread_setname_np(me, "late");
	told[1] = pthread_getattr_np(me, &attributes);
	told[2] = pthread_kill(me, 0);
	usleep(1000);
	told[3] = 1;
}

static void *leaves_a_value(void *key)
{
	pthread_setspecific(*(pthread_key_t *)key, key);
	return 0;
}

/* What the destructor of a key is told of its thread, which nobody joins. */
long who_ends_detached(char *letters)
{
	static pthread_key_t key;
	pthread_attr_t attributes;
	pthread_t id;
	pthread_key_create(&key, tells);
	told[3] = 0;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&id, &attributes, leaves_a_value, &key))
		return -2;
	while (!told[3])
		usleep(500);
	pthread_key_delete(key);
	*letters = 0;
	return told[0] + told[1] + told[2];
}

static char ends_by;

static void exit_again(int signal)
{
	(void)signal;
	pthread_exit((void *)9);
}

static void ends_again(void *notes)
{
	int before = 7;
	note(notes, 'd');
	switch (ends_by) {
	case 'e':
		pthread_exit((void *)8);
	case 's':
		syscall(SYS_exit, 0);
		break;
	case 'h':
		raise(SIGUSR1);
		break;
	case 'c':
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
		pthread_testcancel();
		note(notes, '0' + before);
	}
	note(notes, 'g');
}

static pthread_key_t first_key, second_key;

static void *leaves_values(void *notes)
{
	pthread_setspecific(first_key, notes);
	pthread_setspecific(second_key, notes);
	if (ends_by == 'c') {
		pthread_cancel(pthread_self());
		pthread_testcancel();
	}
	return (void *)7;
}

/* A thread at its end ends again, in the destructor of a key. */
long who_ends_in_a_destructor(char *letters, int by)
{
	struct sigaction action = {0};
	long left;
	ends_by = by;
	action.sa_handler = exit_again;
	sigaction(SIGUSR1, &action, 0);
	pthread_key_create(&first_key, ends_again);
	pthread_key_create(&second_key, note_value);
	left = run(leaves_values, letters);
	pthread_key_delete(first_key);
	pthread_key_delete(second_key);
	return left;
}

int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
extern char __dso_handle __attribute__((visibility("hidden")));

static void notes_first(void *notes)
{
	note(notes, 'f');
}

static void exits_first(void *notes)
{
	note(notes, 'x');
	pthread_exit((void *)9);
}

static void *leaves_thread_locals(void *notes)
{
	__cxa_thread_atexit_impl(notes_first, notes, &__dso_handle);
	__cxa_thread_atexit_impl(exits_first, notes, &__dso_handle);
	return (void *)7;
}

/* The same in the destructor of a thread-local, as C++ has them. */
long who_ends_in_a_thread_local(char *letters)
{
	return run(leaves_thread_locals, letters);
}

static pthread_t survivor;
static sem_t was_sent;

static void posts_if_survivor(int signal)
{
	(void)signal;
	if (pthread_equal(pthread_self(), survivor))
		sem_post(&was_sent);
}

static void *sends_to_survivor(void *cancels)
{
	void *left = 0;
	int failed = cancels ? pthread_cancel(survivor) : pthread_kill(survivor, SIGUSR1);
	if (failed || pthread_join(survivor, &left))
		_exit(2);
	_exit(cancels ? (left == PTHREAD_CANCELED ? 42 : 3) : (left == &was_sent ? 42 : 3));
}

static void *forks_and_waits(void *cancels)
{
	int status = -1;
	pid_t child = fork();
	if (child == 0) {
		pthread_t other;
		alarm(300);
		survivor = pthread_self();
		sem_init(&was_sent, 0, 0);
		if (pthread_create(&other, 0, sends_to_survivor, cancels))
			_exit(4);
		if (cancels)
			for (;;)
				pause();
		while (sem_wait(&was_sent))
			;
		return &was_sent;
	}
	waitpid(child, &status, 0);
	return (void *)(long)status;
}

/* The status of a child in which the thread that has forked is sent something by another one as it waits. */
long what_is_sent_after_a_fork(int is_to_cancel)
{
	struct sigaction action = {0};
	pthread_t id;
	void *left = 0;
	action.sa_handler = posts_if_survivor;
	sigaction(SIGUSR1, &action, 0);
	if (pthread_create(&id, 0, forks_and_waits, is_to_cancel ? &id : 0) || pthread_join(id, &left))
		return -2;
	return (long)left;
}

static atomic_int is_there, is_back;

static void *leaves_nothing(void *argument)
{
	return argument;
}

static int makes_green_ones(void)
{
	pthread_t id;
	pthread_create(&id, 0, leaves_nothing, 0);
	pthread_join(id, 0);
	return id & 1;
}

static void *waits_for_a_lock(void *argument)
{
	int other = *(int *)argument;
	int file = open("/proc/self/exe", O_RDONLY), before = makes_green_ones();
	if (!sigsetjmp(place, 1)) {
		is_there = 1;
		flock(file, LOCK_EX);
	}
	signal(SIGUSR2, SIG_IGN);
	is_back = 1;
	/* Others wait so too, and it does itself, without. */
	flock(other, LOCK_UN);
	for (int n = 0; n < 3; n++)
		flock(file, n % 2 ? LOCK_UN : LOCK_EX);
	close(file);
	return (void *)(long)(makes_green_ones() == before);
}

/* Whether a thread makes others as it did before, after a handler has interrupted it as it waited for a lock on a file: this has jumped out of
   that, or within itself, and then the lock was released. */
long who_jumps_in_a_call(int is_within)
{
	int other = open("/proc/self/exe", O_RDONLY);
	pthread_t id;
	void *is_as_before = 0;
	is_there = is_back = 0;
	flock(other, LOCK_EX);
	signal(SIGUSR2, is_within ? jumps_within : jumps);
	pthread_create(&id, 0, waits_for_a_lock, &other);
	while (!is_there)
		usleep(500);
	for (int n = 0; !is_back; n++) {
		pthread_kill(id, SIGUSR2);
		usleep(1000);
		if (is_within && n == 100)
			flock(other, LOCK_UN);
	}
	pthread_join(id, &is_as_before);
	close(other);
	return (long)is_as_before;
}
