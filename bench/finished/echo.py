"""An echo server with a thread for each connection, of the standard library. It says where it listens, and whenever it is asked how
many connections it has; it ends when its standard input does."""

import json
import os
import resource
import socket
import socketserver
import sys
import threading

open_connections = set()


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        open_connections.add(self)
        try:
            while received := self.request.recv(512):
                self.request.sendall(received)
        except ConnectionResetError:
            pass
        finally:
            open_connections.discard(self)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


def say(report):
    print(json.dumps(report), flush=True)


_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
server = Server(("127.0.0.1", 0), Echo)
threading.Thread(target=server.serve_forever, daemon=True).start()
say({"Listening": "%s:%d" % server.server_address})
for _ in sys.stdin:
    say({"Count": {"open": len(open_connections), "failed_accepts": 0}})
os._exit(0)
