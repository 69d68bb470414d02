"""As much HTTP/1.1 as the API needs: one request and one answer per connection."""

import json
import time


class Message:
    """A parsed request or answer."""

    def __init__(self, first, headers, body):
        self.first, self.headers, self.body = first, headers, body


def receive(connection, limit=1 << 20):
    """Reads one message; OSError when the other side ends early or sends too much."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part or len(data) > limit:
            raise ConnectionResetError("the connection ended inside the header")
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        key, _, value = line.partition(":")
        headers[key.strip().lower()] = value.strip()
    length = int(headers.get("content-length") or 0)
    if length > limit:
        raise ConnectionResetError("the body is too long")
    while len(body) < length:
        part = connection.recv(65536)
        if not part:
            raise ConnectionResetError("the connection ended inside the body")
        body += part
    return Message(lines[0], headers, body[:length])


def answer(status, reason, payload):
    """The bytes of an answer; `payload` None means no body, as with the real 401."""
    now = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    body = b"" if payload is None else json.dumps(payload, separators=(",", ":")).encode()
    head = ["HTTP/1.1 %d %s" % (status, reason.replace("\n", " ").strip()),
            "Cache-Control: max-age=0", "Connection: close", "Date: " + now, "Pragma: no-cache",
            "Server: pve-api-daemon/3.0", "Expires: " + now]
    if payload is not None:
        head += ["Content-Type: application/json;charset=UTF-8", "Content-Length: %d" % len(body)]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def request(method, path, host, headers, form):
    """The bytes of a request."""
    from urllib.parse import urlencode
    body = urlencode(form).encode() if form else b""
    head = ["%s %s HTTP/1.1" % (method, path), "Host: " + host, "Connection: close"]
    head += ["%s: %s" % item for item in headers.items()]
    if method != "GET":
        head += ["Content-Type: application/x-www-form-urlencoded", "Content-Length: %d" % len(body)]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body
