# Threads that wait for messages while others run programs, whose descriptors are closed first.
import socket
import subprocess
import threading

pairs = [socket.socketpair() for _ in range(20)]
received = []
statuses = []


def receives(end):
    try:
        received.append(end.recv(10))
    except OSError as error:
        received.append(repr(error))


def runs():
    statuses.append(subprocess.run(["true"], close_fds=True).returncode)


waiting = [threading.Thread(target=receives, args=(pair[0],)) for pair in pairs]
running = [threading.Thread(target=runs) for _ in range(5)]
for thread in waiting + running:
    thread.start()
for thread in running:
    thread.join()
for pair in pairs:
    pair[1].send(b"hello")
for thread in waiting:
    thread.join()
print(statuses, len(received), set(received))
