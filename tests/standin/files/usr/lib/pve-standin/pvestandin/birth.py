"""When a file was made, for which Python 3.11 has no name: statx(2)."""

import ctypes
import os
import struct
import time

_LIBC = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD, _STATX_BTIME = -100, 0x800
# Of struct statx: the mask of what is there, and seconds and nanoseconds of stx_btime.
_MASK, _BTIME = 0, 80


def age(file):
    """Seconds since the file was made. Its other times are whatever somebody sets them to."""
    buffer = ctypes.create_string_buffer(256)
    if _LIBC.statx(_AT_FDCWD, os.fsencode(file), 0, _STATX_BTIME, buffer) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), file)
    if not struct.unpack_from("=I", buffer, _MASK)[0] & _STATX_BTIME:
        raise OSError("the file system of %s does not tell when a file was made" % file)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, _BTIME)
    return time.time() - seconds - nanoseconds / 1e9
