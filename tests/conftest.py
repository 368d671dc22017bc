"""What the tests share: children with deadlines, and a guard that every test leaves Thread as it found it."""
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

import safethread_patch

pytest_plugins = "pytester"

PY2 = sys.version_info < (3,)

PRELUDE = """\
from __future__ import print_function
import gc, os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12+: fork in a process with threads
import safethread_patch
from safethread_patch import _announce, _fork, _start, _threads
from safethread_patch._state import state
from safethread_patch._defects._hold import *

signal.alarm(300)  # the end of a hang also if pytest is not there to end it
warm_up()

def bring_back_issue_18418():
    # real zombies on an interpreter that has healed them: the child knows nobody but _active
    class Nothing(object):
        def add(self, thread): pass
        def __iter__(self): return iter(())
    threading._dangling = Nothing()
    threading._enumerate = lambda: list(threading._active.values())

def started_event(thread):
    return vars(thread)["_started" if "_started" in vars(thread) else "_Thread__started"]

def clean():
    assert not state.claims, state.claims
    assert not state.wakeup_locks, state.wakeup_locks
    assert not state.claimed_threads, state.claimed_threads
    assert not threading._limbo, threading._limbo
"""


class Ended(object):
    """How a child ended: ``status`` (negative: the signal that killed it; None: the deadline), ``out``, ``err``."""

    def __init__(self, status, out, err):
        self.status = status
        self.out = out
        self.err = err

    def __repr__(self):
        return "status %s\n--- out\n%s\n--- err\n%s" % (self.status, self.out, self.err)


def run(command, deadline=60, env=None, cwd=None, stdin=os.devnull):
    """Run ``command`` in a child with a deadline in seconds, after which it and what it forked are killed.

    ``env``: what the environment has besides ours; None takes a variable out.
    """
    whole = dict(os.environ, **(env or {}))
    whole = dict((name, value) for name, value in whole.items() if value is not None)
    options = {"preexec_fn": os.setsid} if PY2 else {"start_new_session": True}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(stdin) as null:
        process = subprocess.Popen(command, stdin=null, stdout=out, stderr=err, env=whole, cwd=cwd, **options)
        for _ in range(deadline * 100):
            if process.poll() is not None:
                break
            time.sleep(0.01)
        status = process.poll()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except OSError:
            pass
        process.wait()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    return Ended(status, *texts)


def python(code, deadline=60, flags=(), env=None):
    """Run the prelude and ``code`` in a child interpreter and return how it ended."""
    return run([sys.executable] + list(flags) + ["-c", PRELUDE + code], deadline, env)


def check(code, deadline=60, flags=(), env=None):
    """Like python(), but the child must say "done" on its last line, and exit with 0; return its other lines."""
    ended = python(code + "\nprint('done')\n", deadline, flags, env)
    lines = ended.out.splitlines()
    assert ended.status == 0 and lines[-1:] == ["done"], ended
    return lines[:-1]


@pytest.fixture(autouse=True)
def thread_is_left_as_found():
    found = [vars(threading.Thread)[name] for name in ("start", "run")]
    yield
    left = [vars(threading.Thread)[name] for name in ("start", "run")]
    assert found[0] is left[0] and found[1] is left[1], (found, left)
    assert not safethread_patch.is_installed()


@pytest.fixture
def patched():
    assert safethread_patch.install() is True
    yield
    assert safethread_patch.uninstall() is True
