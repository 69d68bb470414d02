"""The cluster's locks, where they are kept: folders of priv/lock, as the real ones.

A lock expires two minutes after it was made, when somebody asks for that: a holder may have died.
"""

import os

from . import birth, switches

LIFE = 120


class Locks:
    def __init__(self, folder):
        self.folder = folder

    def change(self, name, take):
        """Takes a lock or gives it back; whether it is taken by this request."""
        folder = os.path.join(self.folder, name)
        try:
            if not take:
                os.rmdir(folder)
                return {"taken": False}
            os.makedirs(self.folder, exist_ok=True)
            try:
                os.mkdir(folder)
                return {"taken": True}
            except FileExistsError:
                self.expire(folder)
                return {"taken": False}
        except OSError:
            return {"taken": False}

    @staticmethod
    def expire(folder):
        """Removes a lock whose holder died; others may have asked for it by setting its times to 0."""
        if birth.age(folder) > switches.get("lock_life", LIFE):
            os.rmdir(folder)

    def expire_asked(self):
        """Those that programs make by themselves, as the real one: when asked, by a time of 0."""
        try:
            for entry in os.scandir(self.folder):
                if entry.stat().st_mtime == 0:
                    self.expire(entry.path)
        except OSError:
            pass  # another one was faster
