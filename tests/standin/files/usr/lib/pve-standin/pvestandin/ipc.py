"""One JSON line there, one JSON line back, over a unix socket or TCP."""

import json
import os
import socket
import sys
import threading


def read_line(connection):
    """Reads up to the first newline; an early end gives what came."""
    parts = []
    while True:
        part = connection.recv(65536)
        parts.append(part)
        if not part or part.endswith(b"\n"):
            return b"".join(parts)


def exchange(connection, message):
    """Sends a message on an open connection and returns the answer.

    Raises OSError, also when the other side closed without an answer.
    """
    connection.sendall(json.dumps(message).encode() + b"\n")
    line = read_line(connection)
    if not line.endswith(b"\n"):
        raise ConnectionResetError("no answer")
    return json.loads(line)


def call(file, message, timeout=30):
    """Asks the daemon behind a unix socket; OSError when nothing listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        connection.connect(file)
        return exchange(connection, message)


def call_tcp(address, port, message, timeout):
    """The same over TCP."""
    with socket.create_connection((address, port), timeout) as connection:
        connection.settimeout(timeout)
        return exchange(connection, message)


def _answer(connection, peer, handler):
    """Answers until the other side ends the connection; no answer ends it too."""
    with connection:
        try:
            connection.settimeout(60)
            while True:
                line = read_line(connection)
                if not line.endswith(b"\n"):
                    return
                reply = handler(json.loads(line), peer)
                if reply is None:
                    return
                connection.sendall(json.dumps(reply).encode() + b"\n")
        except TimeoutError:
            return  # nobody needs it any more
        except (OSError, ValueError) as error:
            print("a request from %s failed: %s" % (peer, error), file=sys.stderr)


def serve_forever(listener, handler):
    """Answers connections, one thread each; `handler(message, peer)` returns the answer."""
    while True:
        try:
            connection, peer = listener.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection, peer, handler), daemon=True).start()


def listen_unix(file):
    """Binds a unix socket that only this user can reach, replacing a stale one."""
    os.makedirs(os.path.dirname(file), exist_ok=True)
    try:
        os.unlink(file)
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(file)
    finally:
        os.umask(before)
    listener.listen(16)
    return listener


def serve_in_background(listener, handler):
    threading.Thread(target=serve_forever, args=(listener, handler), daemon=True).start()
