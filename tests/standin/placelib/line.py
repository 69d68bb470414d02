"""Talking to process 1 of a place: a JSON line there, a JSON line back, files handed along."""

import json
import os
import socket

SOCKET = ".place/init.sock"


def connect(root="/"):
    """A connection; OSError when the place is off. The folder may have a longer name than a socket."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        connection.connect("/proc/self/fd/%d/%s" % (folder, SOCKET))
    except OSError:
        connection.close()
        raise
    finally:
        os.close(folder)
    return connection


def send(connection, message, files=()):
    data = json.dumps(message).encode() + b"\n"
    sent = socket.send_fds(connection, [data], list(files)) if files else 0
    if data[sent:]:
        connection.sendall(data[sent:])


class Reader:
    """Reads line by line; the files that came along are kept in `files`."""

    def __init__(self, connection):
        self.connection, self.rest, self.files = connection, b"", []

    def next(self):
        """The next message, or None at the end."""
        while b"\n" not in self.rest:
            data, files, _, _ = socket.recv_fds(self.connection, 65536, 3)
            self.files += files
            if not data:
                return None
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return json.loads(line)


def ask(root, message):
    with connect(root) as connection:
        send(connection, message)
        answer = Reader(connection).next()
    if answer is None:
        raise ConnectionResetError("the place went off")
    return answer
