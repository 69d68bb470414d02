"""The two services in front of the API: pvedaemon answers, pveproxy speaks HTTPS."""

import os
import select
import signal
import socket
import sys
import threading

from . import certs, daemon, env, ipc, switches

CERTIFICATE = "/etc/pve/local/pve-ssl.pem"
KEY = "/etc/pve/local/pve-ssl.key"


def _control(name, body):
    """`start`, `stop` and `restart` (which reads certificates again) of a daemon."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb == "start":
        return body()
    if verb == "stop":
        daemon.stop(name)
        return 0
    if verb == "restart":
        pid = daemon.running_pid(name)
        if pid:
            os.kill(pid, signal.SIGHUP)
            return 0
        return body()
    print("usage: %s start|stop|restart" % name, file=sys.stderr)
    return 255


def pvedaemon():
    return _control("pvedaemon", _pvedaemon)


def pveproxy():
    return _control("pveproxy", _pveproxy)


def _pvedaemon():
    from . import api
    ready = daemon.background("pvedaemon")
    socket_file = env.run("pvedaemon.sock")
    daemon.on_stop(lambda: daemon.remove(socket_file, daemon.pid_file("pvedaemon")))
    # Nothing of this one's state comes from a file, so a reload has nothing to do.
    signal.signal(signal.SIGHUP, lambda _signal, _frame: None)
    listener = ipc.listen_unix(socket_file)
    print("starting server", file=sys.stderr, flush=True)
    ready()
    ipc.serve_in_background(listener, api.Api().handle)
    while True:
        signal.pause()


class Proxy:
    def __init__(self):
        self.context = None

    def load(self):
        """Takes the node's certificate; keeps the old one where there is none to read.

        Over a key that is no key the service stays, and nobody gets an answer.
        """
        import ssl
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(env.path(CERTIFICATE), env.path(KEY))
            self.context = context
        except OSError as error:
            if os.path.exists(env.path(KEY)) and not certs.is_key(env.path(KEY)):
                self.context = None
                error = "failed to load local private key (key_file or key)"
                print("%s: %s at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 2153." % (KEY, error), file=sys.stderr, flush=True)
                return
            print("cannot read %s: %s" % (CERTIFICATE, error), file=sys.stderr, flush=True)

    def serve(self, connection, peer):
        from . import http
        try:
            connection.settimeout(60)
            if self.context is None:
                self.load()
            if self.context is None:
                connection.close()
                return
            with self.context.wrap_socket(connection, server_side=True) as secure:
                status, reason, payload = self.reply(http.receive(secure), peer)
                if status is not None:
                    secure.sendall(http.answer(status, reason, payload))
        except (OSError, ValueError) as error:
            # A joiner that does not trust the certificate leaves in the middle of it.
            print("a connection from %s ended: %s" % (peer, error), file=sys.stderr, flush=True)

    def reply(self, message, peer):
        import json
        from urllib.parse import parse_qsl, unquote, urlsplit
        method, target, _ = message.first.split(" ", 2)
        url = urlsplit(target)
        if not url.path.startswith("/api2/json/"):
            return 501, "not implemented", None
        if message.headers.get("content-type", "").startswith("application/json"):
            form = json.loads(message.body or b"{}")
        else:
            form = dict(parse_qsl(message.body.decode(), keep_blank_values=True))
        form.update(parse_qsl(url.query))
        ticket = ""
        for cookie in message.headers.get("cookie", "").split(";"):
            key, _, value = cookie.strip().partition("=")
            if key == "PVEAuthCookie":
                ticket = unquote(value)
        try:
            got = ipc.call(env.run("pvedaemon.sock"), {
                "method": method, "path": unquote(url.path.removeprefix("/api2/json")), "form": form, "ticket": ticket,
                "csrf": message.headers.get("csrfpreventiontoken", ""), "peer": peer}, 120)
        except OSError:
            return 595, "Connection refused", None
        return got["status"], got["reason"], got["payload"]


class Port:
    """The listening socket, and what becomes of it under the switches of a test."""

    LOOK = 0.25  # seconds between two looks at the switches

    def __init__(self, serve):
        self.serve = serve
        self.mode = None
        self.listener = None
        # Connections that nobody serves, kept so that the other side waits.
        self.held = []

    @staticmethod
    def wanted():
        for mode in ("swallow", "closed", "mute"):
            if switches.get(mode):
                return mode
        return "open"

    def set_mode(self, mode):
        for connection in self.held + [self.listener] * bool(self.listener):
            connection.close()
        self.mode, self.held, self.listener = mode, [], None
        if mode == "closed":
            return
        # A full queue: from then on the kernel drops what comes, as a firewall would.
        self.listener = self.listen(0 if mode == "swallow" else 64)
        if mode == "swallow":
            for _ in range(4):
                filler = socket.socket(self.listener.family, socket.SOCK_STREAM)
                filler.setblocking(False)
                filler.connect_ex(self.listener.getsockname())
                self.held.append(filler)

    @staticmethod
    def listen(backlog):
        # In a test each node has its own loopback address; a real node takes all of them.
        address = os.environ.get("PVE_STANDIN_API_ADDRESS")
        if address or not socket.has_dualstack_ipv6():
            return socket.create_server((address or "", env.API_PORT), backlog=backlog)
        return socket.create_server(("::", env.API_PORT), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True)

    def turn(self):
        """Serves what comes for a moment, then looks at the switches."""
        watched = [self.listener] if self.mode in ("open", "mute") else []
        if select.select(watched, [], [], self.LOOK)[0]:
            connection, peer = self.listener.accept()
            if self.wanted() == self.mode == "mute":
                self.held.append(connection)
            elif self.mode == "open":
                threading.Thread(target=self.serve, args=(connection, peer[0]), daemon=True).start()
        if self.wanted() != self.mode:
            self.set_mode(self.wanted())


def _pveproxy():
    ready = daemon.background("pveproxy")
    proxy = Proxy()
    daemon.on_stop(lambda: daemon.remove(daemon.pid_file("pveproxy")))
    signal.signal(signal.SIGHUP, lambda _signal, _frame: proxy.load())
    proxy.load()
    port = Port(proxy.serve)
    port.set_mode("open")
    print("starting server", file=sys.stderr, flush=True)
    ready()
    while True:
        port.turn()

