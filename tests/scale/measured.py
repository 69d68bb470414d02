"""What was measured, and on what: measured.json, one entry for each program that measures."""

import json
import pathlib
import signal
import sys

FILE = pathlib.Path(__file__).with_name("measured.json")


def read():
    return json.loads(FILE.read_text(encoding="utf-8"))


def record(name, value):
    """Takes the place of what stood under this name."""
    whole = read() if FILE.exists() else {}
    whole[name] = value
    FILE.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def stop_once():
    """Ends the program when it is asked to, so that what it has made is removed, and lets nothing disturb that."""
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP

    def stop(number, _frame):
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)
    for number in numbers:
        signal.signal(number, stop)
