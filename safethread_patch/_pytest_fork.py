"""What the fixture ``safethread_fork`` gives: a function's outcome in a forked child, with a deadline."""
from __future__ import absolute_import, division

import errno
import io
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings

import pytest

from safethread_patch import _facts

try:
    import faulthandler
except ImportError:  # Python 2
    faulthandler = None

#: Seconds between two looks at the child: counted, for a test may have frozen the clocks.
PAUSE = 0.005

#: Seconds that a child gets to dump its stacks.
GRACE = 2


class Outcome(object):
    """How the child ended; see the fixture ``safethread_fork``."""

    def __init__(self):
        self.value = self.exception = self.traceback = self.exitcode = self.signal = None
        self.timed_out = False
        self.stdout = self.stderr = ""
        self.threads = []

    def __repr__(self):
        return "<Outcome %s>" % ", ".join("%s=%r" % pair for pair in sorted(vars(self).items()))


def fork(function, *args, **kwargs):
    timeout = kwargs.pop("timeout", 30)  # Python 2 has no keyword-only arguments
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise ValueError("safethread_fork: timeout=%r: give a number of seconds above 0" % (timeout,))
    if not callable(function):
        raise TypeError("safethread_fork: %r cannot be called: give a function, then its arguments" % (function,))
    if not hasattr(os, "fork"):
        pytest.skip("safethread_fork: no os.fork on %s" % sys.platform)
    # files, not pipes: large output does not block, and what the child leaves behind keeps nobody waiting
    with tempfile.TemporaryFile() as out:
        with tempfile.TemporaryFile() as err:
            with tempfile.TemporaryFile() as report:
                with warnings.catch_warnings():
                    # 3.12+: that this process has threads is what is to be tested
                    warnings.simplefilter("ignore", DeprecationWarning)
                    pid = os.fork()
                if not pid:
                    _be_the_child(function, args, kwargs, out, err, report)
                child = _Child(pid)
                try:
                    timed_out = not child.wait(timeout)
                    if timed_out and faulthandler is not None:
                        child.signal(signal.SIGABRT)
                        child.wait(GRACE)
                finally:  # also if Ctrl-C, or the test's own deadline, ends the wait
                    child.kill()
                outcome = _outcome(function, child, _read(out), _read(err), _read(report))
    outcome.timed_out = timed_out
    return outcome


# In the parent


class _Child(object):
    def __init__(self, pid):
        self._pid = pid
        self._ended = False
        #: As os.waitpid() gives it; None if somebody else has asked first.
        self.status = None

    def wait(self, seconds):
        """Return whether the child has ended; wait for it, but not longer than that."""
        for _ in range(int(seconds / PAUSE) + 1):
            if self._has_ended(os.WNOHANG):
                return True
            time.sleep(PAUSE)
        return self._has_ended(os.WNOHANG)

    def _has_ended(self, options):
        while not self._ended:
            try:
                pid, status = os.waitpid(self._pid, options)
            except EnvironmentError as error:
                if error.errno == errno.EINTR:
                    continue
                self._ended = True
            else:
                if not pid:
                    break
                self._ended, self.status = True, status
        return self._ended

    def signal(self, number):
        try:
            os.kill(self._pid, number)
        except EnvironmentError:  # it has just ended
            pass

    def kill(self):
        """End the child, if it has not ended, and its process group."""
        if not self._ended:
            try:
                os.killpg(self._pid, signal.SIGKILL)
            except EnvironmentError:  # it has left its group
                self.signal(signal.SIGKILL)
            self._has_ended(0)


def _read(file):
    file.seek(0)
    return file.read()


def _outcome(function, child, out, err, report):
    outcome = Outcome()
    outcome.stdout, outcome.stderr = out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
    if child.status is not None:
        if os.WIFSIGNALED(child.status):
            outcome.signal = os.WTERMSIG(child.status)
        else:
            outcome.exitcode = os.WEXITSTATUS(child.status)
    if report and outcome.exitcode is not None:
        try:
            found = pickle.loads(report)
            value = None if found["value"] is None else pickle.loads(found["value"])
        except Exception as error:
            found, value = {"why": "%s: %s" % (type(error).__name__, error), "what": "what it returned"}, None
        if found.get("why"):
            raise TypeError(
                "safethread_fork: %s() returned a value that cannot be pickled, %s: %s. Return plain types, for the "
                "value has to get from the child to the test" % (_name(function), found["what"], found["why"])
            )
        outcome.value = value
        outcome.exception, outcome.traceback = found["exception"], found["traceback"]
        outcome.threads = found["threads"]
    return outcome


def _name(function):
    return getattr(function, "__name__", None) or repr(function)


# In the child


def _be_the_child(function, args, kwargs, out, err, report):
    code, pid = 1, os.getpid()
    try:
        os.setpgid(0, 0)
        with open(os.devnull) as null:
            for number, file in enumerate((null, out, err)):
                os.dup2(file.fileno(), number)
        sys.stdin = open(os.devnull)
        sys.stdout, sys.stderr = _text(1), _text(2)
        if faulthandler is not None:  # also for crashes
            faulthandler.enable(file=sys.stderr)
        code, found = _call(function, args, kwargs)
        if os.getpid() == pid:  # and not a child of the child, in which the function has returned, too
            report.write(pickle.dumps(found))
            report.flush()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        code = 1
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
    finally:
        os._exit(code)


def _text(number):
    if _facts.PY2:
        return os.fdopen(number, "w", 1)
    return io.open(number, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _call(function, args, kwargs):
    """Call ``function``; return the exit status and what the parent is to know."""
    found = {"value": None, "exception": None, "traceback": None}
    code, value = 0, None
    try:
        value = function(*args, **kwargs)
    except SystemExit as error:
        code, found["exception"] = _exit_status(error), _picklable(error)
    except BaseException as error:
        code, found["exception"], found["traceback"] = 1, _picklable(error), traceback.format_exc()
    if value is not None:
        try:
            found["value"] = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            found["why"], found["what"] = "%s: %s" % (type(error).__name__, error), repr(value)
    found["threads"] = [thread.name for thread in threading.enumerate() if thread.is_alive()]
    return code, found


def _exit_status(error):
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    sys.stderr.write("%s\n" % (error.code,))
    return 1


def _picklable(error):
    try:
        pickle.loads(pickle.dumps(error))  # that it could be pickled does not mean that it can be unpickled
        return error
    except Exception:
        return RuntimeError("%s: %s" % (type(error).__name__, error))
