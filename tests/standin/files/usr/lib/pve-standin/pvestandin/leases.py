"""Makes whoever opens a file for writing wait, as a real pmxcfs does while the token is lost.

A lease (fcntl(2), F_SETLEASE) on an ordinary file holds up open(2) for writing until it is given
back; reading goes on. A new file, a rename and a folder are not held up: see docs/stand-in.md.
"""

import fcntl
import os


class Leases:
    def __init__(self):
        self.held = {}

    def keep(self, files):
        """Holds a lease on each of these files, and on no others."""
        for file in set(self.held) - set(files):
            os.close(self.held.pop(file))
        for file in set(files) - set(self.held):
            try:
                handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
                self.held[file] = handle
            except OSError:
                os.close(handle)  # somebody has it open for writing
