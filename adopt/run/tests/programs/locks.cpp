// What C++ has to wait for other threads, and what C has: each is waited for by many threads while one of them sleeps.
#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <dirent.h>
#include <future>
#include <functional>
#include <latch>
#include <mutex>
#include <pthread.h>
#include <semaphore.h>
#include <semaphore>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <threads.h>
#include <unistd.h>
#include <vector>

using namespace std::chrono_literals;

static const int THREADS = 200;

static int most_os_threads = 0;

static void look_at_os_threads() {
    DIR *tasks = opendir("/proc/self/task");
    int entries = 0;
    while (readdir(tasks))
        entries++;
    closedir(tasks);
    if (entries - 2 > most_os_threads)
        most_os_threads = entries - 2;
}

// Has so many threads do it, each with a number.
static void many(const std::function<void(int)> &does, const std::function<void()> &meanwhile = [] {}) {
    std::vector<std::thread> threads;
    for (int n = 0; n < THREADS; n++)
        threads.emplace_back(does, n);
    look_at_os_threads();
    meanwhile();
    for (auto &thread : threads)
        thread.join();
}

// Sleeps now and then.
static void naps(int n) {
    if (n % 20 == 0)
        std::this_thread::sleep_for(1ms);
}

template <typename Lock> static void excludes(const char *name) {
    Lock lock;
    int count = 0;
    many([&](int n) {
        for (int again = 0; again < 10; again++) {
            std::lock_guard<Lock> held(lock);
            int seen = count;
            naps(n);
            count = seen + 1;
        }
    });
    printf("%s: %d\n", name, count);
}

template <typename Lock> static void shares(const char *name) {
    Lock lock;
    int count = 0;
    std::atomic<int> readers = 0, together = 0;
    many([&](int n) {
        if (n % 4 == 0) {
            std::unique_lock<Lock> held(lock);
            naps(n);
            count += readers == 0;
        } else {
            std::shared_lock<Lock> held(lock);
            readers++;
            // The reader that comes first waits until it is not alone: so they share.
            while (together == 0 && readers < 2)
                std::this_thread::sleep_for(100us);
            together = 1;
            readers--;
        }
    });
    printf("%s: %d\n", name, count);
}

struct Slow {
    Slow() { std::this_thread::sleep_for(5ms); }
};

static int made = 0;

static int made_once() {
    static Slow slow;
    static int number = ++made;
    return number;
}

static void once() {
    std::once_flag flag;
    std::atomic<int> called = 0, caught = 0;
    many([&](int) {
        try {
            std::call_once(flag, [&] {
                std::this_thread::sleep_for(1ms);
                if (++called < 4)
                    throw std::runtime_error("not yet");
            });
        } catch (const std::runtime_error &) {
            caught++;
        }
        made_once();
    });
    static once_flag flag_of_c = ONCE_FLAG_INIT;
    static std::atomic<int> called_by_c = 0;
    many([](int) {
        call_once(&flag_of_c, [] {
            usleep(5000);
            called_by_c++;
        });
    });
    printf("once: %d %d %d %d\n", called.load(), caught.load(), made, called_by_c.load());
}

template <typename Lock, typename Condition> static void turns(const char *name) {
    Lock lock;
    Condition changed;
    int turn = 0;
    many([&](int n) {
        std::unique_lock<Lock> held(lock);
        changed.wait(held, [&] { return turn == n; });
        turn++;
        changed.notify_all();
    });
    std::unique_lock<Lock> held(lock);
    bool late = changed.wait_for(held, 2ms) == std::cv_status::timeout;
    bool never = !changed.wait_until(held, std::chrono::steady_clock::now() + 2ms, [] { return false; });
    bool past = changed.wait_until(held, std::chrono::system_clock::now() - 1h) == std::cv_status::timeout;
    printf("%s: %d %d %d %d\n", name, turn, late, never, past);
}

static void limits() {
    std::timed_mutex lock;
    std::shared_timed_mutex shared;
    lock.lock();
    shared.lock();
    std::atomic<int> late = 0;
    many([&](int) {
        late += !lock.try_lock_for(5ms);
        late += !lock.try_lock_until(std::chrono::system_clock::now() + 5ms);
        late += !shared.try_lock_shared_for(1ms);
        late += !shared.try_lock_for(1ms);
    });
    lock.unlock();
    shared.unlock();
    std::atomic<int> in_time = 0;
    many([&](int) {
        if (lock.try_lock_for(1h)) {
            in_time++;
            lock.unlock();
        }
    });
    printf("limits: %d %d\n", late.load(), in_time.load());
}

static void meet() {
    std::barrier meets(THREADS);
    std::latch begun(THREADS);
    std::counting_semaphore<> room(3);
    std::atomic<int> inside = 0, most = 0;
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, nullptr, THREADS);
    std::atomic<int> leaders = 0;
    many([&](int n) {
        begun.arrive_and_wait();
        for (int again = 0; again < 3; again++) {
            meets.arrive_and_wait();
            leaders += pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
        }
        room.acquire();
        int now = ++inside;
        if (now > most)
            most = now;
        naps(n);
        inside--;
        room.release();
    });
    pthread_barrier_destroy(&barrier);
    printf("meet: %d %d\n", leaders.load(), most.load() <= 3);
}

static void promises() {
    std::promise<int> promise;
    auto future = promise.get_future().share();
    std::atomic<int> sum = 0;
    many([&](int) { sum += future.get(); }, [&] {
        std::this_thread::sleep_for(2ms);
        promise.set_value(1);
    });
    auto later = std::async(std::launch::async, [] {
        std::this_thread::sleep_for(2ms);
        return std::string("later");
    });
    printf("promises: %d %s\n", sum.load(), later.get().c_str());
}

static void semaphores() {
    sem_t semaphore;
    sem_init(&semaphore, 0, 0);
    std::atomic<int> passed = 0;
    many(
        [&](int) {
            sem_wait(&semaphore);
            passed++;
        },
        [&] {
            usleep(2000);
            for (int n = 0; n < THREADS; n++)
                sem_post(&semaphore);
        });
    sem_destroy(&semaphore);
    printf("semaphores: %d\n", passed.load());
}

// A lock in memory that is gone once its last user has unlocked it.
static void short_lived() {
    struct Counted {
        std::mutex lock;
        int users = 2;
    };
    std::vector<Counted *> counted;
    for (int n = 0; n < THREADS / 2; n++)
        counted.push_back(new Counted);
    many([&](int n) {
        Counted *mine = counted[n / 2];
        mine->lock.lock();
        bool last = --mine->users == 0;
        mine->lock.unlock();
        if (last)
            delete mine;
    });
    printf("short-lived\n");
}

static void of_c() {
    mtx_t lock;
    cnd_t changed;
    mtx_init(&lock, mtx_timed | mtx_recursive);
    cnd_init(&changed);
    int turn = 0, late = 0;
    many([&](int n) {
        mtx_lock(&lock);
        while (turn != n)
            cnd_wait(&changed, &lock);
        turn++;
        struct timespec soon;
        timespec_get(&soon, TIME_UTC);
        if (n == THREADS - 1)
            late = cnd_timedwait(&changed, &lock, &soon) == thrd_timedout;
        cnd_broadcast(&changed);
        mtx_unlock(&lock);
    });
    cnd_destroy(&changed);
    mtx_destroy(&lock);
    printf("of C: %d %d\n", turn, late);
}

int main() {
    excludes<std::mutex>("mutex");
    excludes<std::recursive_mutex>("recursive mutex");
    excludes<std::timed_mutex>("timed mutex");
    excludes<std::shared_mutex>("shared mutex");
    shares<std::shared_mutex>("readers");
    shares<std::shared_timed_mutex>("timed readers");
    once();
    turns<std::mutex, std::condition_variable>("condition");
    turns<std::recursive_mutex, std::condition_variable_any>("any condition");
    limits();
    meet();
    promises();
    semaphores();
    short_lived();
    of_c();
    fprintf(stderr, "OS threads: %d\n", most_os_threads);
    return 5;
}
