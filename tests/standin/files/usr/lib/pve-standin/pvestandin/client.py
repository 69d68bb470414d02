"""The joiner's side of the API: HTTPS with a pinned certificate."""

import json
import socket
import ssl
import sys

from . import certs, env, http


class ClientError(Exception):
    """`text` is what pvecm prints."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text


class Client:
    def __init__(self, host, fingerprint, ask, port=env.API_PORT, timeout=env.CONNECT_TIMEOUT):
        self.host, self.fingerprint, self.ask = host, fingerprint, ask
        self.port, self.timeout = port, timeout
        self.ticket = self.csrf = None

    def connect(self):
        where = "500 Can't connect to %s:%d (%%s)" % (self.host, self.port)
        try:
            if env.ROOT and not self.host[:1].isdigit() and not env.lookup(self.host):
                raise socket.gaierror()  # a test must not ask the host's resolver
            plain = socket.create_connection((self.host, self.port), self.timeout)
        except socket.gaierror:
            raise ClientError(where % "Temporary failure in name resolution")
        except TimeoutError:
            raise ClientError(where % "Connection timed out")
        except OSError as error:
            raise ClientError(where % error.strerror)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the fingerprint below is the check
        try:
            secure = context.wrap_socket(plain)
        except TimeoutError:
            raise ClientError(where % "Connection timed out")
        except OSError:
            raise ClientError(where % "SSL connect attempt failed")
        self.check(certs.fingerprint_of_der(secure.getpeercert(binary_form=True)))
        return secure

    def check(self, seen):
        if self.fingerprint == seen:
            return
        if self.fingerprint:
            raise ClientError("fingerprint '%s' not verified, abort!" % seen)
        self.ask(
            "The authenticity of host '%s' can't be established.\n"
            "X509 SHA256 key fingerprint is %s.\n"
            "Are you sure you want to continue connecting (yes/no)? " % (self.host, seen))
        self.fingerprint = seen

    def request(self, method, path, form=None):
        """Returns the data of the answer; ClientError holds status and text otherwise."""
        headers = {}
        if self.ticket:
            headers = {"Cookie": "PVEAuthCookie=" + self.ticket, "CSRFPreventionToken": self.csrf}
        message = self.raw(method, "/api2/json" + path, headers, form)
        status, _, reason = message.first.partition(" ")[2].partition(" ")
        payload = json.loads(message.body) if message.body else {}
        if status != "200":
            error = ClientError("%s %s" % (status, reason))
            error.message = payload.get("message")
            raise error
        return payload["data"]

    def raw(self, method, path, headers, form):
        """One request; ClientError when no answer came, whatever it was."""
        with self.connect() as connection:
            try:
                connection.sendall(http.request(method, path, self.host, headers, form))
                return http.receive(connection)
            except TimeoutError:
                raise ClientError("500 read timeout")
            except OSError as error:
                raise ClientError("500 read failed: %s" % (error.strerror or error))

    def login(self, password, code):
        """`code` asks for the second factor of a user who has one."""
        form = {"username": "root@pam", "password": password}
        data = self.request("POST", "/access/ticket", form)
        if data.get("NeedTFA"):
            form.update({"password": "totp:" + code(), "tfa-challenge": data["ticket"]})
            data = self.request("POST", "/access/ticket", form)
        self.ticket, self.csrf = data["ticket"], data["CSRFPreventionToken"]


def ask_for_code(task):
    """The question about a second factor, at a terminal only."""

    def ask():
        if not sys.stdin.isatty():
            raise ClientError("TFA-enabled login currently works only with a TTY."
                              " at /usr/share/perl5/PVE/APIClient/LWP.pm line 121")
        task.say("Enter totp code for user root@pam: ", end="")
        return sys.stdin.readline().rstrip("\n")

    return ask


def ask_on_stdin(task):
    """The question about an unknown fingerprint; anything but yes ends the join."""

    def ask(question):
        task.say(question, end="")
        answer = sys.stdin.readline()
        if not answer:
            # A Perl warning, part of what the real one prints when standard input ends here.
            task.say("Use of uninitialized value $answer in pattern match (m//) at"
                     " /usr/share/perl5/PVE/APIClient/LWP.pm line 256, <STDIN> line 1.")
        if answer.strip().lower() not in ("y", "yes"):
            raise ClientError("Fingerprint not verified, abort!")

    return ask
