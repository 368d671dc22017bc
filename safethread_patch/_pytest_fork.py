"""The fixture ``safethread_fork``: the outcome of a function in a forked child, with a deadline."""
from __future__ import absolute_import, division

import errno
import io
import numbers
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import traceback
import warnings

# bound here: a test may replace the attributes of the modules
from os import _exit, devnull, getpid
from time import sleep

import pytest

try:
    from os import fork as _os_fork
except ImportError:
    _os_fork = None
try:
    import faulthandler
except ImportError:  # Python 2
    faulthandler = None
try:
    import resource
except ImportError:  # Windows
    resource = None

#: Seconds between two looks at the child. They are counted, because a test may have frozen the clocks.
PAUSE = 0.005

#: Seconds that a child has to dump its stacks.
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


def fork(*args, **kwargs):
    # No signature: the function may have an argument that is called function, and Python 2 has no keyword-only
    # arguments.
    timeout = kwargs.pop("timeout", 30)
    if isinstance(timeout, bool) or not isinstance(timeout, numbers.Real) or not timeout > 0:
        raise ValueError("safethread_fork: timeout=%r: give a number of seconds above 0" % (timeout,))
    if not args or not callable(args[0]):
        raise TypeError("safethread_fork%r: the first argument cannot be called: give a function, then its arguments" % (args,))
    if _os_fork is None or not hasattr(os, "fork"):
        pytest.skip("safethread_fork: no os.fork on %s" % sys.platform)
    parent = getpid()
    # files, not pipes: large output does not block, and a process that the child leaves behind keeps nobody waiting
    folder = tempfile.mkdtemp()
    child = None
    try:
        with warnings.catch_warnings():
            # 3.12+ warns of a fork in a process with threads, which is what the test is about
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = _os_fork()
        if not pid:
            _be_the_child(args[0], args[1:], kwargs, folder, timeout)
        child = _Child(pid)
        timed_out = not child.wait(timeout)
        if timed_out and faulthandler is not None:
            child.signal(signal.SIGABRT)
            child.wait(GRACE)
        child.kill()
        outcome = _outcome(args[0], child, folder)
        outcome.timed_out = timed_out
        return outcome
    finally:
        if getpid() != parent:  # a signal handler has raised in the child before it entered its own try statement
            _exit(1)
        if child is not None:  # Ctrl-C, or a deadline of the test's own, may have ended the wait
            child.kill()
        shutil.rmtree(folder, ignore_errors=True)


# In the parent


class _Child(object):
    def __init__(self, pid):
        self._pid = pid
        self._ended = False
        #: As os.waitpid() returns it; None if other code has called that first, or if SIGCHLD is ignored.
        self.status = None

    def wait(self, seconds):
        """Wait until the child has ended, for ``seconds`` at most; return whether it has."""
        waited = 0
        while not self._has_ended(os.WNOHANG):
            if waited >= seconds:
                return False
            sleep(PAUSE)
            waited += PAUSE
        return True

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
        """Kill the child, if it has not ended, and what it leaves behind in its process group."""
        try:
            os.killpg(self._pid, signal.SIGKILL)
        except EnvironmentError:  # the group is empty
            pass
        if not self._ended:
            self.signal(signal.SIGKILL)  # it has left its group
            self._has_ended(0)


def _outcome(function, child, folder):
    outcome = Outcome()
    outcome.stdout, outcome.stderr = [_read(folder, name).decode("utf-8", "replace") for name in ("out", "err")]
    if child.status is not None and os.WIFSIGNALED(child.status):
        outcome.signal = os.WTERMSIG(child.status)
    elif child.status is not None:
        outcome.exitcode = os.WEXITSTATUS(child.status)
    pickled = _read(folder, "report")
    if not pickled:  # the child was killed, or ended with os._exit
        return outcome
    try:
        report = pickle.loads(pickled)
    except Exception as error:
        raise RuntimeError("safethread_fork: the report of the child cannot be read: %s. The disk may be full" % _text(error))
    if child.status is None:
        outcome.exitcode = report["exitcode"]
    outcome.traceback, outcome.threads = report["traceback"], report["threads"]
    why, what = report["why"], report["what"]
    if report["value"] is not None:
        try:
            outcome.value = pickle.loads(report["value"])
        except (Exception, SystemExit) as error:
            why, what = _text(error), "which the test cannot unpickle"
    if why is not None:
        name = getattr(function, "__name__", None) or repr(function)
        raise TypeError(
            "safethread_fork: %s() returned a value that cannot be pickled, %s: %s. Return plain types, for the value "
            "has to get from the child to the test" % (name, what, why)
        )
    if report["error"] is not None:
        error = _loaded_error(report["exception"]) if report["exception"] is not None else None
        outcome.exception = error if error is not None else RuntimeError(report["error"])
    return outcome


def _read(folder, name):
    try:
        with open(os.path.join(folder, name), "rb") as file:
            return file.read()
    except EnvironmentError:
        return b""


def _loaded_error(dumped):
    try:
        error = pickle.loads(dumped)
    except (Exception, SystemExit):
        return None
    return error if isinstance(error, BaseException) else None


# In the child


def _be_the_child(function, args, kwargs, folder, timeout):
    code, pid = 1, getpid()
    try:
        streams = _redirect(folder)
        _limit(timeout)
        report = _call(function, args, kwargs)
        code = report["exitcode"]
        if getpid() == pid:  # not in a child of the child, in which the function has returned as well
            # opened after the call: the function may close all descriptors
            with open(os.path.join(folder, "report"), "wb") as file:
                file.write(pickle.dumps(report))
        for stream in (sys.stdout, sys.stderr) + streams:
            try:
                stream.flush()
            except Exception:  # the function has closed or replaced it
                pass
    except BaseException:
        code = 1
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
    finally:
        _exit(code)


def _redirect(folder):
    os.setpgid(0, 0)
    names = [os.path.join(folder, name) for name in ("out", "err")]
    # O_APPEND: the processes that the child starts write there as well
    write = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, (name, flags) in enumerate([(devnull, os.O_RDONLY), (names[0], write), (names[1], write)]):
        descriptor = os.open(name, flags, 0o600)
        if descriptor != number:
            os.dup2(descriptor, number)
            os.close(descriptor)
        elif hasattr(os, "set_inheritable"):  # the test had closed that one
            os.set_inheritable(number, True)
    sys.stdin = open(devnull)
    sys.stdout = sys.__stdout__ = _stream(1)
    sys.stderr = sys.__stderr__ = _stream(2)
    return sys.stdout, sys.stderr


def _stream(number):
    if str is bytes:  # Python 2
        return os.fdopen(number, "w", 1)
    return io.open(number, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _limit(timeout):
    if faulthandler is not None:  # for the deadline, and for crashes
        faulthandler.enable(file=sys.stderr)
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    # ends the child if the parent does not live to see the deadline
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(min(timeout + GRACE + 10, 10**8)))


def _call(function, args, kwargs):
    """Call ``function``; return the report for the parent."""
    report = dict.fromkeys(["value", "why", "what", "exception", "error", "traceback"])
    report["exitcode"] = 0
    value = None
    try:
        value = function(*args, **kwargs)
    except BaseException as error:
        report["exitcode"] = _exit_status(error) if isinstance(error, SystemExit) else 1
        report["traceback"] = _as_text(traceback.format_exc())
        report["error"] = "%s: %s" % (type(error).__name__, _text(error, with_type=False))
        try:
            report["exception"] = pickle.dumps(error)
        except BaseException:  # the parent has the text
            pass
    if value is not None:
        try:
            report["value"] = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        except BaseException as error:
            report["why"], report["what"] = _text(error), _text(value, repr, with_type=False)
    report["threads"] = [name for name in map(_name_if_alive, threading.enumerate()) if name is not None]
    return report


def _name_if_alive(thread):
    try:
        return str(thread.name) if thread.is_alive() else None
    except Exception:  # of a method of a subclass
        return "<%s>" % type(thread).__name__


def _exit_status(error):
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    sys.stderr.write(_text(error.code, with_type=False) + "\n")
    return 1


def _text(thing, describe=str, with_type=True):
    """Return a text for ``thing``, even if its methods raise."""
    for function in (describe, repr):
        try:
            text = _as_text(function(thing))
            break
        except BaseException:
            text = "<%s>" % type(thing).__name__
    return "%s: %s" % (type(thing).__name__, text) if with_type else text


def _as_text(text):
    return text.decode("utf-8", "replace").encode("utf-8") if str is bytes else text
