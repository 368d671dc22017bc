"""safethread_fork kills what the child leaves behind in its process group."""
import os
import time

import pytest


def is_running(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            state = file.read().split(")")[-1].split()[0]
    except EnvironmentError:
        return False
    return state != "Z"


@pytest.mark.parametrize("timeout", [20, 0.5])
def test_grandchild_is_killed(safethread_fork, timeout):
    def function():
        pid = os.fork()
        if not pid:
            time.sleep(60)
        with open("pid", "w") as file:
            file.write(str(pid))
        if timeout < 1:
            time.sleep(60)

    safethread_fork(function, timeout=timeout)
    with open("pid") as file:
        pid = int(file.read())
    for _ in range(500):
        if not is_running(pid):
            break
        time.sleep(0.01)
    else:
        pytest.fail("still there")
