"""What the commands share."""
from __future__ import division

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time

from safethread_patch import _bootstrap, _facts

# The child gets our sys.path, and not only PYTHONPATH: -I and -E ignore that one.
_CHILD = """\
import sys
count = 3 + int(sys.argv[2])
sys.path[:] = sys.argv[count:]
__import__(sys.argv[1])
sys.modules[sys.argv[1]].main(*sys.argv[3:count])
"""


def positive(text):
    """Return the whole number from 1 that an argument is; for argparse."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError("%r is no number of rounds: give a whole number from 1" % text)
    return number


def add_options(parser, rounds, what):
    """Add ``--json``, and ``--rounds``: how many of ``what``, by default ``rounds``."""
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object on stdout")
    parser.add_argument(
        "--rounds", type=positive, default=rounds, metavar="N", help="rounds of each %s (%%(default)s)" % what
    )


def median(values):
    """Return the middle one of ``values``, or the mean of the two."""
    values = sorted(values)
    return (values[len(values) // 2] + values[(len(values) - 1) // 2]) / 2


def search_path():
    """Return sys.path for another interpreter: without what is no text, and without our sitecustomize."""
    bootstrap = os.path.dirname(os.path.abspath(_bootstrap.__file__))
    entries = [entry for entry in sys.path if isinstance(entry, (type(""), type(b"".decode())))]
    return [entry for entry in entries if os.path.abspath(entry) != bootstrap]


def run_child(module, args, deadline):
    """Call the ``main(*args)`` of a module in a child process; return its lines, and in words how it ended if not well.

    It is ended when it neither ends nor writes a line for ``deadline`` seconds.
    """
    env = dict(os.environ, SAFETHREAD_PATCH="0")  # stock is stock, also where the patch loads by itself
    command = [sys.executable, "-W", "ignore", "-c", _CHILD, module, str(len(args))] + args + search_path()
    # a session of its own, so that what it forks can be killed with it
    if not _facts.FORK:
        session = {}
    elif _facts.PY2:
        session = {"preexec_fn": os.setsid}
    else:
        session = {"start_new_session": True}
    # files, not pipes: what a killed child leaves behind could keep a pipe open
    with tempfile.TemporaryFile() as out:
        with tempfile.TemporaryFile() as err:
            with open(os.devnull) as null:
                process = subprocess.Popen(command, stdin=null, stdout=out, stderr=err, env=env, **session)
            try:
                in_time = _wait(process, out, deadline)
            finally:
                _kill(process)
            lines, errors = _text(out).splitlines(), _text(err).strip().splitlines()
    if not in_time:
        return lines, "hangs: no answer for %d s" % deadline
    if process.returncode < 0:
        return lines, "crashes: %s" % _signal_name(-process.returncode)
    if process.returncode > 0:
        return lines, "ends with status %d: %s" % (process.returncode, errors[-1] if errors else "no message")
    return lines, None


def _wait(process, out, deadline):
    """Return True when ``process`` has ended; False if it neither ends nor writes to ``out`` for ``deadline``."""
    size, waited = 0, 0
    while waited < deadline:
        if process.poll() is not None:
            return True
        time.sleep(0.01)
        waited += 0.01
        if os.fstat(out.fileno()).st_size != size:
            size, waited = os.fstat(out.fileno()).st_size, 0
    return False


def _kill(process):
    try:
        if _facts.FORK:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except OSError:  # all gone
        pass
    process.wait()


def _text(file):
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def _signal_name(number):
    for name in dir(signal):
        if name.startswith("SIG") and not name.startswith("SIG_") and getattr(signal, name) == number:
            return "%s, signal %d" % (name, number)
    return "signal %d" % number


class Progress(object):
    """A line on the terminal that says what runs; nothing where the output is piped."""

    def __init__(self, steps):
        self._steps = steps
        self._step = 0
        self._on = sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def step(self, text):
        self._step += 1
        self._write("[%d/%d] %s" % (self._step, self._steps, text))

    def _write(self, text):
        if self._on:
            sys.stderr.write("\r\033[K" + text)
            sys.stderr.flush()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._write("")
