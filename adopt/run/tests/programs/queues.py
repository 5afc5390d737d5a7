# Threads that sleep, and pass a number on by queues.
import os
import queue
import sys
import threading
import time

THREADS = 200
inboxes = [queue.Queue() for _ in range(THREADS)]
results = queue.Queue()


def passes_on(number):
    time.sleep(0.02)
    received = inboxes[number].get()
    if number + 1 < THREADS:
        inboxes[number + 1].put(received + number)
    results.put(received)


threads = [threading.Thread(target=passes_on, args=(number,)) for number in range(THREADS)]
for thread in threads:
    thread.start()
print("OS threads:", len(os.listdir("/proc/self/task")), file=sys.stderr)
inboxes[0].put(0)
for thread in threads:
    thread.join()
print(sum(results.get() for _ in threads))
sys.exit(3)
