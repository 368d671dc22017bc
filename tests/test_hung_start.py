"""Promise 7: start() comes back, whatever becomes of the new thread: if it ends before it could run, or can never run,
start() raises RuntimeError, and the Thread is as it was before.
"""
import os
import signal
import sys
import threading
import time
import warnings

import pytest
from conftest import in_child, run
from helpers import clean, error_of, nothing_seen

import safethread_patch
from safethread_patch import _facts, _new_thread
from safethread_patch._defects._hold import (
    DiesAtBirth,
    HeldBootstrap,
    in_forked_child,
    lie_about,
    start_in_background,
    wait_for,
    witnessed,
)
from safethread_patch._state import state
from safethread_patch._threads import low_level, started_event, waiters

needs_fork = pytest.mark.skipif(not _facts.FORK, reason="no os.fork")

needs_testcapi = pytest.mark.skipif(
    not _facts.COUNTS_REFERENCES or _facts.PY2, reason="CPython 3 alone has the module that lets memory run out"
)


def was_never_started(thread):
    assert not thread.is_alive() and thread.ident is None
    assert thread not in threading.enumerate() and "initial" in repr(thread)
    error_of(RuntimeError, thread.join)
    clean()


def starts_again(thread):
    thread.error = None
    thread.start()
    thread.join()
    clean()


# Threads that die


@in_child
def test_thread_that_dies_at_birth_can_be_started_again():
    safethread_patch.install()
    thread, alive = witnessed(DiesAtBirth)
    for _ in range(3):
        begin = time.time()
        assert "ended before it could run" in str(error_of(RuntimeError, thread.start))
        assert time.time() - begin < 5
        was_never_started(thread)
    starts_again(thread)
    assert alive == [True]


class DiesInSet(type(threading.Event())):
    """A started event: the new thread dies within set(), before or after the flag is set, with the lock taken or not."""

    is_before_the_flag = keeps_the_lock = False

    def set(self):
        if not self.is_before_the_flag:
            setattr(self, "_Event__flag" if _facts.PY2 else "_flag", True)
        if self.keeps_the_lock:
            getattr(self, "_Event__cond" if _facts.PY2 else "_cond").acquire()
        raise SystemExit


@pytest.mark.parametrize("keeps_the_lock", [False, True])
@pytest.mark.parametrize("is_before_the_flag", [False, True])
@in_child
def test_thread_that_dies_while_it_says_that_it_runs(is_before_the_flag, keeps_the_lock):
    safethread_patch.install()
    _new_thread.EVENT = DiesInSet  # as if it were the class of all of them
    for name in ("_start_new_thread", "_start_joinable_thread"):
        names = getattr(getattr(threading, name, None), "__globals__", {})
        if "EVENT" in names:
            names["EVENT"] = DiesInSet
    thread, alive = witnessed()
    event = started_event(thread)
    event.__class__ = DiesInSet
    event.is_before_the_flag, event.keeps_the_lock = is_before_the_flag, keeps_the_lock
    try:
        thread.start()
    except RuntimeError as error:
        assert "ended before it could run" in str(error)
        was_never_started(thread)
        starts_again(thread)
        assert alive == [True]
    else:  # the starter has come between the flag and the death
        assert not is_before_the_flag and not keeps_the_lock
        thread.join()
        assert not alive and not thread.is_alive()
        clean()


@pytest.mark.skipif(not hasattr(sys, "unraisablehook"), reason="no hook for unraisable errors before 3.8")
@in_child
def test_hook_that_keeps_what_it_is_told_hides_no_death():
    # pytest has such a hook
    safethread_patch.install()
    kept = []
    sys.unraisablehook = kept.append
    thread = DiesAtBirth()
    thread.error = MemoryError
    error_of(RuntimeError, thread.start)
    assert kept
    was_never_started(thread)


@needs_testcapi
@pytest.mark.parametrize("first", range(0, 72, 8))
@in_child(deadline=120)
def test_each_allocation_of_a_start_fails_once(first):
    testcapi = __import__("_testcapi")
    safethread_patch.install()
    for _ in range(10):
        threading.Thread(target=int).start()
    for number in range(first, first + 8):
        nothing_seen(in_forked_child(lambda number=number: after_failed_allocation(testcapi, number)))


def after_failed_allocation(testcapi, number):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    thread, alive = witnessed()
    error = None
    testcapi.set_nomemory(number, number + 1)
    try:
        thread.start()
    except Exception as caught:
        error = caught
    finally:
        testcapi.remove_mem_hooks()
    if isinstance(error, SystemError):
        return None  # RLock.__enter__() of 3.13 is not right without memory
    wait_for(lambda: not threading._limbo, "allocation %d: nobody is in limbo" % number)
    clean()
    if error is None or started_event(thread).is_set():
        thread.join()  # of one whose end fails, too
        return None
    if thread.is_alive() or thread in threading.enumerate():
        return "allocation %d: %r, and the Thread is alive" % (number, error)
    thread.start()
    thread.join()
    return None if alive == [True] else "allocation %d: %r, and the next start does not run" % (number, error)


# Threads that are slow


@in_child
def test_slow_thread_is_waited_for():
    safethread_patch.install()
    looks, is_over = [], _new_thread.is_over

    def look(claim):
        looks.append(claim)
        return is_over(claim)

    _new_thread.is_over = look
    thread, alive = witnessed(HeldBootstrap)
    outcome = start_in_background(thread)
    thread.reached.wait()
    if not _facts.PY2:  # whose locks have no timeout: the starter does not look
        wait_for(lambda: len(looks) > 2, "start() has looked for the third time")
    assert not outcome
    thread.go.set()
    wait_for(lambda: outcome, "start() has returned")
    thread.join()
    assert outcome == ["ok"] and alive == [True]
    assert not waiters(started_event(thread))[1]
    clean()


@pytest.mark.skipif(_facts.PY2, reason="the lock is made before the thread there")
@in_child
def test_thread_that_is_quicker_than_its_starter_leaves_nothing_in_its_event():
    safethread_patch.install()
    thread = threading.Thread()
    event, allocate_lock, starter = started_event(thread), threading._allocate_lock, low_level.get_ident()

    def wait_and_allocate():
        if low_level.get_ident() == starter:  # it makes the lock with which it waits
            threading._allocate_lock = allocate_lock
            wait_for(event.is_set, "the thread has said that it runs")
        return allocate_lock()

    threading._allocate_lock = wait_and_allocate
    thread.start()
    assert threading._allocate_lock is allocate_lock
    thread.join()
    assert not waiters(event)[1]
    clean()


@in_child
def test_thread_that_runs_while_it_is_asked_whether_it_is_dead():
    # the question is asked when an exception has come out of its start
    safethread_patch.install()
    thread, alive = witnessed(HeldBootstrap)
    outcome, asker, is_over = start_in_background(thread), low_level.get_ident(), _new_thread.is_over
    thread.reached.wait()
    claim = state.claims[id(thread)]

    def is_over_once_it_has_run(other):
        if low_level.get_ident() != asker:
            return is_over(other)
        thread.go.set()
        wait_for(lambda: outcome, "start() has returned")
        thread.join()
        threading._limbo[thread] = thread  # as if the look into limbo had been before
        return True

    _new_thread.is_over = is_over_once_it_has_run
    assert not _new_thread.has_no_thread(claim)
    del threading._limbo[thread]
    thread.join()
    assert outcome == ["ok"] and alive == [True]


class HeldCall(threading.Thread):
    """A thread whose starter is held right before it makes the thread."""

    def __init__(self, *args, **kwargs):
        threading.Thread.__init__(self, *args, **kwargs)
        self.reached, self.go = threading.Event(), threading.Event()

    def __getattribute__(self, name):
        if name in ("_bootstrap", "_Thread__bootstrap") and self in threading._limbo:
            self.reached.set()
            self.go.wait()
        return super(HeldCall, self).__getattribute__(name)


@in_child
def test_refused_second_start_leaves_the_first_in_limbo():
    safethread_patch.install()
    thread, alive = witnessed(HeldCall)
    outcome = start_in_background(thread)
    thread.reached.wait()
    error_of(RuntimeError, thread.start)
    assert thread in threading._limbo
    thread.go.set()
    wait_for(lambda: outcome, "the first start() has returned")
    thread.join()
    assert outcome == ["ok"] and alive == [True]
    clean()


class Alarm(Exception):
    pass


def interrupt_start_of(thread, handle):
    """Let a signal handler call ``handle()`` once while the starter of ``thread``, a HeldBootstrap, waits for it."""
    calls = []

    def handler(signum, frame):
        calls.append(signum)
        if len(calls) == 1:
            handle()

    def interrupt():
        thread.reached.wait()
        while not (calls or thread.go.is_set()):  # a signal that comes right before the wait is heard at the next one
            os.kill(os.getpid(), signal.SIGALRM)
            time.sleep(0.01)

    signal.signal(signal.SIGALRM, handler)

    low_level.start_new_thread(interrupt, ())


@pytest.mark.skipif(_facts.PY2, reason="no signal interrupts a wait for a lock there")
@pytest.mark.parametrize("error", ["KeyboardInterrupt", "Alarm"])
@in_child
def test_signal_handler_raises_while_start_waits(error):
    # the stock start() takes an Exception for a failure to make a thread
    safethread_patch.install()
    thread, alive = witnessed(HeldBootstrap)
    kind = Alarm if error == "Alarm" else KeyboardInterrupt

    def fail():
        raise kind

    interrupt_start_of(thread, fail)
    assert error_of(kind, thread.start).__context__ is None
    assert thread in threading._limbo
    thread.go.set()
    wait_for(started_event(thread).is_set, "the thread has said that it runs")
    thread.join()
    assert alive == [True]
    clean()


@needs_fork
@pytest.mark.skipif(_facts.PY2, reason="no signal interrupts a wait for a lock there")
@in_child
def test_signal_handler_forks_while_start_waits():
    # the thread does not exist in the child, where start() goes on
    safethread_patch.install()
    parent, children = os.getpid(), []
    thread, alive = witnessed(HeldBootstrap)

    def fork():
        children.append(os.fork())
        if children[0]:
            thread.go.set()

    interrupt_start_of(thread, fork)
    try:
        thread.start()
    except RuntimeError:
        if os.getpid() == parent:
            raise
        os._exit(7 if lie_about(thread, alive) is None else 1)
    if os.getpid() != parent:
        os._exit(2)
    ended = []
    wait_for(lambda: ended.append(os.waitpid(children[0], os.WNOHANG)) or ended[-1][0], "the child has ended")
    assert ended[-1][1] == 7 << 8
    thread.join()
    assert alive == [True]


@needs_fork
@in_child
def test_child_that_is_forked_while_start_waits_for_a_dead_thread():
    safethread_patch.install()
    answers, is_over = [], _new_thread.is_over
    thread, alive = witnessed(DiesAtBirth)

    def child():
        thread.error = None
        return lie_about(thread, alive)

    def fork(other):
        is_dead = is_over(other)
        if is_dead and not answers:
            answers.append(None)
            answers[0] = in_forked_child(child)
        return is_dead

    _new_thread.is_over = fork
    error_of(RuntimeError, thread.start)
    assert answers == [None] * (not _facts.PY2) or _facts.PY2, answers


# Starts that are refused


@in_child
def test_refused_start_can_be_tried_again():
    safethread_patch.install()
    thread, alive = witnessed()
    size = threading.stack_size(1 << 46)
    for _ in range(2):
        assert "can't start new thread" in str(error_of(Exception, thread.start))
        was_never_started(thread)
    threading.stack_size(size)
    thread.start()
    thread.join()
    assert alive == [True]


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "MemoryError"])
@in_child
def test_error_before_the_thread_is_made_leaves_nobody_in_limbo(kind):
    # the stock start() takes the Thread out of limbo after an Exception of the one call only that makes the thread
    error = KeyboardInterrupt if kind == "KeyboardInterrupt" else MemoryError

    class Fails(threading.Thread):
        def __getattribute__(self, name):
            if name in ("_bootstrap", "_Thread__bootstrap") and self.__dict__.get("fails"):
                raise error
            return super(Fails, self).__getattribute__(name)

    safethread_patch.install()
    thread, alive = witnessed(Fails)
    thread.fails = True
    error_of(error, thread.start)
    thread.fails = False
    was_never_started(thread)
    thread.start()
    thread.join()
    assert alive == [True]


@pytest.mark.skipif(_facts.PY2, reason="no signal interrupts a wait for a lock there")
@in_child
def test_interrupted_start_of_a_thread_that_another_tool_makes():
    # nothing is known of that thread, so it stays in limbo until it registers
    name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
    stock = getattr(threading, name)
    safethread_patch.install()
    setattr(threading, name, lambda *args, **kwargs: stock(*args, **kwargs))
    thread, alive = witnessed(HeldBootstrap)

    def fail():
        raise Alarm

    interrupt_start_of(thread, fail)
    error_of(Alarm, thread.start)
    assert thread in threading._limbo
    thread.go.set()
    wait_for(started_event(thread).is_set, "the thread has said that it runs")
    thread.join()
    assert alive == [True]


@in_child
def test_another_tools_way_to_make_threads_is_left_alone():
    # that of gevent, for one, makes no threads
    name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
    stock = getattr(threading, name)

    def start(*args, **kwargs):
        return stock(*args, **kwargs)

    setattr(threading, name, start)
    safethread_patch.install()
    assert getattr(threading, name) is start
    threading.Thread(target=int).start()
    assert safethread_patch.uninstall()


@in_child
def test_uninstall_puts_the_function_back():
    name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
    stock = getattr(threading, name)
    safethread_patch.install()
    assert getattr(threading, name) is not stock or not _facts.COUNTS_REFERENCES and _facts.PY2
    assert safethread_patch.uninstall()
    assert getattr(threading, name) is stock


@in_child
def test_uninstall_leaves_what_another_tool_has_put_there():
    name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
    stock = getattr(threading, name)
    safethread_patch.install()
    if getattr(threading, name) is stock:  # PyPy 2
        return
    setattr(threading, name, len)
    assert safethread_patch.uninstall()
    assert getattr(threading, name) is len
    setattr(threading, name, stock)
    safethread_patch.install()
    ours = getattr(threading, name)
    setattr(threading, name, lambda *args, **kwargs: ours(*args, **kwargs))
    warnings.simplefilter("ignore", safethread_patch.SafeThreadWarning)
    assert not safethread_patch.uninstall()
    threading.Thread(target=int).start()
    setattr(threading, name, ours)
    assert safethread_patch.uninstall()
    assert getattr(threading, name) is stock


AT_EXIT = """
import sys
import threading
import safethread_patch

safethread_patch.install()

class StartsAtTheEnd(object):
    def __init__(self):
        self.thread = threading.Thread(target=int)
        self.write = sys.stderr.write

    def __del__(self):
        try:
            self.thread.start()
        except RuntimeError as error:
            self.write(str(error))

keep = StartsAtTheEnd()
sys.modules["keep"] = keep
"""


@pytest.mark.skipif(_facts.PY2 or not _facts.COUNTS_REFERENCES, reason="CPython 3 alone gets there")
def test_start_while_the_interpreter_ends():
    ended = run([sys.executable, "-c", AT_EXIT])
    refuses = _facts.VERSION >= (3, 8)
    assert (ended.status, ended.err) == (0, "can't create new thread at interpreter shutdown" * refuses), ended


# Programs that go on


@pytest.mark.skipif(_facts.PY2, reason="no ThreadPoolExecutor")
@in_child
def test_executor_serves_on_after_a_death():
    from concurrent.futures import ThreadPoolExecutor

    safethread_patch.install()
    bootstrap = threading.Thread._bootstrap
    with ThreadPoolExecutor(2) as executor:
        threading.Thread._bootstrap = DiesAtBirth._bootstrap
        threading.Thread.error, threading.Thread._die = SystemExit, DiesAtBirth._die
        error_of(RuntimeError, executor.submit, int)
        threading.Thread._bootstrap = bootstrap
        assert executor.submit(int, "7").result(10) == 7


@in_child
def test_threaded_server_serves_on_after_a_death():
    try:
        import socketserver
    except ImportError:
        import SocketServer as socketserver
    safethread_patch.install()
    served, errors = [], []

    class Server(socketserver.ThreadingMixIn, socketserver.BaseServer):
        daemon_threads = True

        def process_request_thread(self, request, client_address):
            served.append(request)

        def handle_error(self, request, client_address):
            errors.append(request)

        def shutdown_request(self, request):
            pass

        def get_request(self):
            return self.request, None

    server = Server(None, None)
    original = threading.Thread
    for server.request, threading.Thread in [(1, original), (2, DiesAtBirth), (3, original)]:
        server._handle_request_noblock()
    threading.Thread = original
    wait_for(lambda: len(served) == 2, "two requests are served")
    assert (served, errors) == ([1, 3], [2])


@in_child(deadline=120)
def test_deaths_beside_good_starts():
    safethread_patch.install()
    told = []

    def start_many():
        for number in range(125):
            thread = DiesAtBirth() if number % 5 == 0 else threading.Thread(target=int)
            try:
                thread.start()
                told.append("ok")
            except RuntimeError:
                told.append("died")

    starters = [threading.Thread(target=start_many) for _ in range(4)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert (told.count("ok"), told.count("died")) == (400, 100)
    clean()
