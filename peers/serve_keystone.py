"""Serve Keystone's WSGI application on loopback, one request at a time. Runs in Keystone's own environment: ``python -I THIS PORT``.

The standard library's server is enough: one request at a time is what SQLite wants, and it closes every connection, so that no idle
client keeps the next one waiting.
"""

import sys
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

PORT = int(sys.argv.pop(1))  # Keystone would read it as an argument of its own


class Server(WSGIServer):
    """As many waiting clients as two workers of a suite have."""

    request_queue_size = 128


class Quiet(WSGIRequestHandler):
    """Keystone logs by itself."""

    timeout = 30

    def log_message(self, *_: object) -> None:
        """No line on stderr."""


if __name__ == "__main__":
    from keystone.wsgi.api import application

    make_server("127.0.0.1", PORT, application, Server, Quiet).serve_forever()
