// Threads that exit from within C++: destructors run, and who catches everything must throw it on.
#include <pthread.h>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>
#include <future>
#include <unistd.h>

namespace {

struct notes {
	std::string letters;
};

struct at_end {
	notes *of;
	char letter;
	~at_end()
	{
		usleep(100);
		of->letters += letter;
	}
};

void *exits(void *argument)
{
	auto *of = static_cast<notes *>(argument);
	at_end outer{of, 'o'};
	try {
		at_end inner{of, 'i'};
		usleep(100);
		pthread_exit(reinterpret_cast<void *>(9));
	} catch (...) {
		of->letters += 'c';
		throw;
	}
	of->letters += '!';
	return nullptr;
}

void *throws(void *argument)
{
	auto *of = static_cast<notes *>(argument);
	at_end outer{of, 'o'};
	try {
		at_end inner{of, 'i'};
		throw std::runtime_error("caught");
	} catch (const std::exception &error) {
		of->letters += error.what();
	}
	return of;
}

} // namespace

extern "C" long who_exits_in_cpp(char *letters)
{
	notes of;
	pthread_t id;
	void *left = nullptr;
	if (pthread_create(&id, nullptr, exits, &of) || pthread_join(id, &left))
		return -2;
	std::strcpy(letters, of.letters.c_str());
	return reinterpret_cast<long>(left);
}

extern "C" long who_throws(char *letters)
{
	notes of;
	pthread_t id;
	void *left = nullptr;
	if (pthread_create(&id, nullptr, throws, &of) || pthread_join(id, &left))
		return -2;
	std::strcpy(letters, of.letters.c_str());
	return left == &of;
}

extern "C" int threads_and_futures()
{
	int sum = 0;
	std::thread adds([&] { sum += 1; });
	adds.join();
	auto later = std::async(std::launch::async, [] { usleep(1000); return 2; });
	auto fails = std::async(std::launch::async, []() -> int { throw std::runtime_error("passed on"); });
	try {
		fails.get();
	} catch (const std::runtime_error &) {
		sum += 4;
	}
	return sum + later.get();
}

// Nobody catches it: the program ends, and says what it was.
extern "C" void throws_to_the_end()
{
	std::thread thread([] { throw std::runtime_error("of nobody"); });
	thread.join();
}
