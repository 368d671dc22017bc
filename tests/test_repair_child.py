"""A child that C code forks runs no at-fork hook. repair_child(), or its first start(), makes it what os.fork() would have made.

A hook of uWSGI's does the same, see test_uwsgi.py.
"""
from __future__ import print_function

import ctypes
import os
import select
import signal
import sys
import threading

import pytest
from conftest import PY2, in_child
from helpers import error_of
from test_disturbed_child import PYPY, Family

import safethread_patch
from safethread_patch import _facts, _fork
from safethread_patch._defects._hold import daemon, in_forked_child, wait_for
from safethread_patch._facts import VERSION
from safethread_patch._state import state
from safethread_patch._threads import low_level

pytestmark = pytest.mark.skipif(
    PY2 or PYPY or not _facts.FORK, reason="no ctypes.PyDLL(None).fork() that the interpreter survives"
)

HAS_NATIVE_ID = hasattr(threading, "get_native_id")


def in_child_of_c_code(look):
    """Return what ``look()`` returns in a child that C code forks, None or a text, or a text that says how the child ended."""
    read, write = os.pipe()
    pid = ctypes.PyDLL(None).fork()
    if not pid:
        try:
            signal.alarm(60)
            answer = look()
        except BaseException as error:
            answer = "%s: %s" % (type(error).__name__, error)
        os.write(write, (answer or "nothing").encode())
        os._exit(0)
    os.close(write)
    answer = b"hangs"
    if select.select([read], [], [], 8)[0]:
        answer = os.read(read, 4096)
    os.kill(pid, signal.SIGKILL)
    os.close(read)
    os.waitpid(pid, 0)
    return None if answer == b"nothing" else answer.decode() or "has crashed"


def nothing_seen(answer):
    """Check the answer of in_child_of_c_code(), and leave: some of these tests have locked what the exit needs."""
    assert answer is None, answer
    print("done None")
    sys.stdout.flush()
    os._exit(0)


# What it returns


@in_child
def test_without_a_fork():
    assert safethread_patch.repair_child() is False
    safethread_patch.install()
    assert safethread_patch.repair_child() is False
    safethread_patch.uninstall()
    nothing_seen(in_child_of_c_code(lambda: "repaired" if safethread_patch.repair_child() else None))


@in_child
def test_it_imports_nothing():
    before = set(sys.modules)
    for name in before:
        if name.startswith("safethread_patch."):
            del sys.modules[name]
    assert safethread_patch.repair_child() is False
    assert set(sys.modules) <= before


@in_child
def test_after_os_fork():
    safethread_patch.install()
    assert in_forked_child(lambda: "repaired" if safethread_patch.repair_child() else None) is None


@pytest.mark.skipif(not _facts.AT_FORK_HOOKS, reason="no at-fork hooks before 3.7")
@in_child
def test_in_an_at_fork_hook_that_is_older():
    told = []
    os.register_at_fork(after_in_child=lambda: told.append(safethread_patch.repair_child()))
    safethread_patch.install()
    assert in_forked_child(lambda: None if told == [False] else repr(told)) is None


@in_child
def test_after_c_code_has_forked():
    safethread_patch.install()
    family, main = Family(), threading.current_thread()
    repaired = safethread_patch.repair_child

    def look():
        told = [repaired(), repaired()]
        if HAS_NATIVE_ID and main.native_id != os.getpid():
            return "native_id is another"
        return family.lie(main) or (None if told == [True, False] else repr(told))

    nothing_seen(in_child_of_c_code(look))


@in_child
def test_first_start_repairs():
    safethread_patch.install()
    family, main = Family(), threading.current_thread()

    def look():
        daemon(int).start()
        if safethread_patch.repair_child():
            return "repaired twice"
        return family.lie(main)

    nothing_seen(in_child_of_c_code(look))


@in_child
def test_in_generations():
    safethread_patch.install()
    family, main = Family(), threading.current_thread()

    def grandchild():
        return family.lie(main) if safethread_patch.repair_child() else "not repaired"

    def look():
        safethread_patch.repair_child()
        bystander = daemon(threading.Event().wait)
        bystander.start()
        family.running.append(bystander)
        return in_child_of_c_code(grandchild) or in_forked_child(lambda: family.spoiled())

    nothing_seen(in_child_of_c_code(look))


# Hooks that run as well


def call_hooks():
    if VERSION >= (3, 12):  # what they release there, those before the fork have taken
        import _imp

        _imp.acquire_lock()
    ctypes.pythonapi.PyOS_AfterFork_Child()


@pytest.mark.skipif(VERSION < (3, 7) or _facts.FREE_THREADED, reason="no PyOS_AfterFork_Child, or it wants all of a fork")
@pytest.mark.parametrize("is_late", [False, True])
@in_child
def test_hooks_that_c_code_calls(is_late):
    # uWSGI's py-call-osafterfork does not call those that come before the fork
    safethread_patch.install()
    family, main = Family(), threading.current_thread()

    def look():
        told = [safethread_patch.repair_child()] if is_late else []
        call_hooks()
        if state.limbo_lock is not threading._active_limbo_lock:
            return "does not know the lock of the registry"
        told += [safethread_patch.repair_child()]
        return family.lie(main) or (None if told == [True, False][1 - is_late :] else repr(told))

    nothing_seen(in_child_of_c_code(look))


@pytest.mark.skipif(VERSION < (3, 7) or _facts.FREE_THREADED, reason="no PyOS_AfterFork_Child, or it wants all of a fork")
@in_child
def test_hooks_that_c_code_calls_where_nothing_but_a_dummy_is_left_to_repair():
    safethread_patch.install()
    dummies = []
    low_level.start_new_thread(lambda: (dummies.append(threading.current_thread()), threading.Event().wait()), ())
    wait_for(lambda: dummies, "the dummy is there")

    def look():
        call_hooks()
        return "the dummy is alive" if dummies[0].is_alive() else dummies[0].join()

    nothing_seen(in_child_of_c_code(look))


# Its exit


@in_child
def test_exit_waits_for_no_thread_of_the_parent():
    safethread_patch.install()
    over = threading.Event()
    threading.Thread(target=over.wait).start()  # no daemon

    def look():
        safethread_patch.repair_child()
        threading._shutdown()

    answer = in_child_of_c_code(look)
    over.set()
    assert answer is None, answer


@in_child
def test_exit_waits_for_the_threads_of_the_child():
    safethread_patch.install()
    over, ran = threading.Event(), []

    def second():
        ran.append(2)

    def first():
        over.wait(0.2)
        threading.Thread(target=second).start()
        ran.append(1)

    def look():
        safethread_patch.repair_child()
        threading.Thread(target=first).start()
        daemon(threading.Event().wait).start()
        threading._shutdown()
        return None if sorted(ran) == [1, 2] else repr(ran)

    assert in_child_of_c_code(look) is None


# Who calls it


@pytest.mark.skipif(not HAS_NATIVE_ID or not sys.platform.startswith("linux"), reason="who has forked cannot be told")
@pytest.mark.parametrize("how", ["repair_child", "start"])
@in_child
def test_call_by_another_thread_than_the_one_that_forked(how):
    safethread_patch.install()
    family, main = Family(), threading.current_thread()
    calls = {"repair_child": safethread_patch.repair_child, "start": lambda: daemon(int).start()}

    def look():
        told = []
        low_level.start_new_thread(lambda: told.append(calls[how]()), ())
        wait_for(lambda: told, "the call returns")
        if HAS_NATIVE_ID and main.native_id != os.getpid():
            return "native_id is another"
        wait_for(lambda: len(threading.enumerate()) == 1, "the new thread has ended")
        return family.lie(main)

    nothing_seen(in_child_of_c_code(look))


@in_child
def test_two_threads_at_once():
    safethread_patch.install()
    repair_process = _fork.repair_process

    def look():
        entered, leave, told = low_level.allocate_lock(), low_level.allocate_lock(), []
        entered.acquire()
        leave.acquire()

        def held(**kwargs):
            entered.release()
            leave.acquire()
            repair_process(**kwargs)

        _fork.repair_process = held
        for _ in range(2):
            low_level.start_new_thread(lambda: told.append(safethread_patch.repair_child()), ())
        entered.acquire()
        threading.Event().wait(0.1)  # whoever does not wait comes to an error: the lock is not taken
        leave.release()
        wait_for(lambda: len(told) == 2, "both return")
        return None if sorted(told) == [False, True] else repr(told)

    nothing_seen(in_child_of_c_code(look))


@in_child
def test_signal_handler_that_starts_a_thread_during_the_repair():
    safethread_patch.install()
    family, main = Family(), threading.current_thread()
    repair_process = _fork.repair_process

    def interrupted(**kwargs):
        _fork.repair_process = repair_process
        os.kill(os.getpid(), signal.SIGUSR1)
        repair_process(**kwargs)

    def look():
        _fork.repair_process = interrupted
        signal.signal(signal.SIGUSR1, lambda *args: daemon(int).start())
        safethread_patch.repair_child()
        return family.lie(main)

    nothing_seen(in_child_of_c_code(look))


# A join() of the parent's


@pytest.mark.skipif(VERSION < (3, 13), reason="joins no thread of the system")
@in_child
def test_join_that_another_thread_was_in():
    # the thread has ended for Python, and sleeps where the system ends it: who joins it, holds a lock of its handle
    safethread_patch.install()
    libc = ctypes.CDLL(None)
    key = ctypes.c_uint()
    assert not libc.pthread_key_create(ctypes.byref(key), ctypes.cast(libc.sleep, ctypes.c_void_p))
    ending = daemon(lambda: libc.pthread_setspecific(key, ctypes.c_void_p(600)))
    ending.start()
    wait_for(lambda: ending not in threading.enumerate(), "the thread has ended for Python")  # is_alive() joins it on 3.14
    joiner = daemon(ending.join)
    joiner.start()
    threading.Event().wait(0.2)
    assert joiner.is_alive()

    def look():
        safethread_patch.repair_child()
        ending.join()
        joiner.join()
        error_of(RuntimeError, ending.start)

    nothing_seen(in_child_of_c_code(look))
