"""An exception that ends the wait for the child, as of Ctrl-C, ends the child, too."""
import os
import signal
import time

import pytest


class Interrupted(Exception):
    pass


def interrupt(*args):
    raise Interrupted()


def note_pid_and_sleep():
    with open("pid", "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)


def test_child_is_killed(safethread_fork):
    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1)
    with pytest.raises(Interrupted):
        safethread_fork(note_pid_and_sleep)
    with open("pid") as file:
        pid = int(file.read())
    with pytest.raises(OSError):
        os.kill(pid, 0)
