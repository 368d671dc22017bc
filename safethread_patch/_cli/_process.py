"""Runs child processes with a deadline, for the commands and for the tests."""
from __future__ import division

import os
import signal
import subprocess
import sys
import tempfile
import time

from safethread_patch import _facts
from safethread_patch._cli._shared import package_folder

#: time.time() on Python 2.
clock = getattr(time, "perf_counter", time.time)

#: Seconds between two looks at a child with a deadline.
PAUSE = 0.01

# The child gets the sys.path of its parent, and not only PYTHONPATH, which -I and -E ignore.
_CHILD = """\
import sys
count = 3 + int(sys.argv[2])
sys.path[:] = sys.argv[count:]
__import__(sys.argv[1])
sys.modules[sys.argv[1]].main(*sys.argv[3:count])
"""


class Ended(object):
    """How a process ended.

    ``status``: its exit status; negative: the number of the signal that killed it; None: the deadline did. ``out`` and
    ``err``: the text that it wrote. ``seconds``: how long it ran; without a deadline as exact as the clock is.
    """

    def __init__(self, status, out, err, seconds):
        self.status = status
        self.out = out
        self.err = err
        self.seconds = seconds

    def __repr__(self):
        return "status %s\n--- out\n%s\n--- err\n%s" % (self.status, self.out, self.err)


def run(command, deadline=None, silence=None, env=None, cwd=None, stdin=os.devnull):
    """Run ``command`` and return how it :class:`Ended`.

    It is killed, and what it forked with it, after ``deadline`` seconds, or when it has written nothing to stdout for
    ``silence`` seconds. ``env``: what differs from this process's environment; None removes a variable.
    """
    whole = dict(os.environ, **(env or {}))
    whole = dict((name, value) for name, value in whole.items() if value is not None)
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
            with open(stdin) as file:
                begin = clock()
                process = subprocess.Popen(command, stdin=file, stdout=out, stderr=err, env=whole, cwd=cwd, **session)
                try:
                    if deadline is None and silence is None:
                        status = process.wait()
                    else:
                        status = _poll(process, out, deadline, silence)
                    seconds = clock() - begin
                finally:
                    _kill(process)
                return Ended(status, _text(out), _text(err), seconds)


def _poll(process, out, deadline, silence):
    size, waited, silent = 0, 0, 0
    while (deadline is None or waited < deadline) and (silence is None or silent < silence):
        status = process.poll()
        if status is not None:
            return status
        time.sleep(PAUSE)
        waited += PAUSE
        silent += PAUSE
        if os.fstat(out.fileno()).st_size != size:
            size, silent = os.fstat(out.fileno()).st_size, 0
    return process.poll()


def _kill(process):
    try:
        if _facts.FORK:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except OSError:  # nothing is left to kill
        pass
    process.wait()


def _text(file):
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def run_main(module, args, silence):
    """Call the ``main(*args)`` of a module in a child; return the lines that it wrote, and how it ended.

    The latter is a text, or None if the exit status was 0. The child is killed after ``silence`` seconds without output.
    """
    command = [sys.executable, "-W", "ignore", "-c", _CHILD, module, str(len(args))] + args + search_path()
    # "0": the column "stock" is stock also where the patch is loaded automatically
    ended = run(command, silence=silence, env={"SAFETHREAD_PATCH": "0"})
    lines, errors = ended.out.splitlines(), ended.err.strip().splitlines()
    if ended.status is None:
        return lines, "hangs: no answer for %d s" % silence
    if ended.status < 0:
        return lines, "crashes: %s" % _signal_name(-ended.status)
    if ended.status > 0:
        return lines, "ends with status %d: %s" % (ended.status, errors[-1] if errors else "no message")
    return lines, None


def search_path():
    """Return sys.path for another interpreter: the entries that are text, without the sitecustomize of ``run``."""
    bootstrap = os.path.join(package_folder(), "_bootstrap")
    entries = [entry for entry in sys.path if isinstance(entry, (type(""), type(b"".decode())))]
    return [entry for entry in entries if os.path.abspath(entry) != bootstrap]


def _signal_name(number):
    for name in dir(signal):
        if name.startswith("SIG") and not name.startswith("SIG_") and getattr(signal, name) == number:
            return "%s, signal %d" % (name, number)
    return "signal %d" % number
