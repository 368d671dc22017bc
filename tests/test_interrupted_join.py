"""Promise 6: An exception out of join() or is_alive(), as of Ctrl-C, changes nothing: the Thread is alive while it
runs, every other and every later join() returns at its end, and the process does not end before a non-daemon thread.
Any number of threads may join one Thread at the same time.
"""
from __future__ import print_function

import functools
import inspect
import os
import signal
import sys
import threading
import time
import warnings

import pytest
from conftest import PY2, in_child, start_in_child
from helpers import error_of, nothing_seen, switch_often

import safethread_patch
from safethread_patch import _threads
from safethread_patch._defects._hold import call_at_step, daemon, in_forked_child, interrupted, lie_about, wait_for
from safethread_patch._facts import FORK, JOIN_TAKES_LOCK
from safethread_patch._threads import low_level

Thread = threading.Thread

takes_lock = pytest.mark.skipif(not JOIN_TAKES_LOCK, reason="join() takes no lock of the interpreter's")

#: What is interrupted.
CALLS = {
    "join()": lambda thread: thread.join(),
    "join(60)": lambda thread: thread.join(60),
    "join(0)": lambda thread: thread.join(0),
    "is_alive()": lambda thread: thread.is_alive(),
}

#: And when: while the thread runs, a call that does not wait; one that waits while the thread ends; each after its end.
MOMENTS = [("join(0)", "running"), ("is_alive()", "running"), ("join()", "ending"), ("join(60)", "ending")]
MOMENTS += [(call, "ended") for call in sorted(CALLS)]
if PY2:  # a signal between the first lines of the stock join() leaves the lock of a Condition taken
    MOMENTS = [(call, when) for call, when in MOMENTS if call == "is_alive()"]


class Watched(object):
    """A thread that runs until ``end()``, or for so many seconds."""

    def __init__(self, cls=Thread, is_daemon=True, seconds=None):
        self.over = threading.Event()
        if seconds is not None:
            self.over.set()
        self.thread = cls(target=time.sleep, args=(seconds,)) if self.over.is_set() else cls(target=self.over.wait)
        self.thread.daemon = is_daemon
        self.thread.start()
        self.outcomes = []
        self.joiners = 0

    def join_in_background(self):
        self.joiners += 1
        daemon(self._join).start()

    def _join(self):
        try:
            self.thread.join()
        except BaseException as error:
            self.outcomes.append("raised %r" % error)
        else:
            self.outcomes.append("returned")

    def end_meanwhile(self):
        low_level.start_new_thread(lambda: (time.sleep(0.01), self.over.set()), ())

    def end(self):
        self.over.set()
        wait_for(lambda: _threads.is_dead(self.thread), "the thread is over")

    def lie(self):
        """Return what is not true of the thread, or None."""
        if not self.over.is_set():
            self.thread.join(0)
            if self.outcomes:
                return "another join() %s while it runs" % self.outcomes
            if not self.thread.is_alive() or "stopped" in repr(self.thread) or self.thread not in threading.enumerate():
                return "not alive while it runs"
            return None
        self.end()
        self.join_in_background()
        try:
            wait_for(lambda: len(self.outcomes) == self.joiners, "join() returns")
        except RuntimeError:
            return "join() hangs"
        if set(self.outcomes) != set(["returned"]):
            return "join() %s" % self.outcomes
        if self.thread.is_alive():
            return "alive after its end"
        if getattr(self.thread, "_tstate_lock", None) is not None:
            return "its lock is kept"
        return None


def lies_of_all_steps(call, when, handler=None, cls=Thread):
    """Do ``handler(thread)`` at each step of the call, by default interrupt it there.

    Returns how many steps there are, and a dict of what was not true after which of them.
    """
    step, lies, was_reached = 0, {}, True
    while was_reached:
        watched = Watched(cls, is_daemon=False)
        thread = watched.thread
        if when == "ended":
            watched.end()
        else:
            watched.join_in_background()
        if when == "ending":
            watched.end_meanwhile()
        if handler is None:
            was_reached = interrupted(lambda: CALLS[call](thread), step)
        else:
            was_reached = call_at_step(lambda: CALLS[call](thread), step, lambda: handler(thread))
        lie = watched.lie()
        watched.end()
        lie = lie or watched.lie()
        if lie:
            lies[step] = lie
        step += 1
    return step - 1, lies


def nothing_lies_at_any_step(*args, **kwargs):
    awaited_at_exit = set(getattr(threading, "_shutdown_locks", ()))
    steps, lies = lies_of_all_steps(*args, **kwargs)
    assert steps >= 2 and not lies, (steps, lies)
    assert set(getattr(threading, "_shutdown_locks", ())) == awaited_at_exit


# At each place where a signal handler may run


@pytest.mark.parametrize("call, when", MOMENTS)
@in_child
def test_interrupted_at_each_step(call, when):
    safethread_patch.install()
    nothing_lies_at_any_step(call, when)


@pytest.mark.skipif(PY2, reason="its join() cannot be called while it runs")
@pytest.mark.parametrize("call, when", MOMENTS)
@in_child
def test_joined_by_a_signal_handler_at_each_step(call, when):
    # the stock functions hang if that is between acquire and release
    safethread_patch.install()
    nothing_lies_at_any_step(call, when, CALLS["is_alive()" if when == "running" else "join()"])


class Fault(object):
    """A trace function that raises KeyboardInterrupt before the ``at``-th bytecode of threading's functions and the patch's."""

    def __init__(self, at):
        self.left = at

    def __call__(self, frame, event, argument):
        if frame.f_globals["__name__"].split(".")[0] not in ("threading", "safethread_patch"):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.left -= 1
        if self.left < 0:
            sys.settrace(None)
            raise KeyboardInterrupt
        return self


@pytest.mark.skipif(not JOIN_TAKES_LOCK or sys.version_info < (3, 7), reason="no trace of bytecodes")
@pytest.mark.parametrize("call, when", MOMENTS)
@in_child
def test_interrupted_before_each_bytecode(call, when):
    # up to 3.9 a signal handler may run there, as after the end of a with statement and before its __exit__()
    safethread_patch.install()
    at = 0
    while True:
        watched = Watched(is_daemon=False)
        if when == "ended":
            watched.end()
        elif when == "ending":
            watched.end_meanwhile()
        fault = Fault(at)
        try:
            sys.settrace(fault)
            CALLS[call](watched.thread)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        assert not hasattr(threading, "_shutdown_locks_lock") or not threading._shutdown_locks_lock.locked(), at
        assert watched.lie() is None, (at, watched.lie())
        watched.end()
        assert watched.lie() is None, (at, watched.lie())
        if fault.left >= 0:
            break
        at += 1
    assert at > 40, at


@in_child
def test_interrupted_join_of_an_instance_that_stays_registered_after_its_end():
    # of a MemoryError, say, when it is about to leave the registry
    class Full(dict):
        def __delitem__(self, key):
            if isinstance(self[key], Stays):
                raise MemoryError
            dict.__delitem__(self, key)

    class Stays(Thread):
        pass

    safethread_patch.install()
    threading._active = Full(threading._active)
    thread = Watched(Stays)
    thread.end()
    assert thread.thread in threading.enumerate()
    for call, when in MOMENTS:
        if when != "running":
            nothing_lies_at_any_step(call, when, cls=Stays)


@takes_lock
@in_child
def test_interrupted_join_of_a_subclass_with_a_stop_of_its_own():
    done = []

    class Stops(Thread):
        def _stop(self):
            Thread._stop(self)
            done.append(self)

    class StopsNot(Thread):
        def _stop(self):
            pass

    safethread_patch.install()
    for call, when in MOMENTS:
        del done[:]
        steps, lies = lies_of_all_steps(call, when, cls=Stops)
        assert not lies and len(set(done)) == steps + 1, "each _stop() is called again until it has come to its end"
        nothing_lies_at_any_step(call, when, cls=StopsNot)


@takes_lock
@in_child
def test_subclass_with_an_attribute_stop():
    class HasEvent(Thread):
        _stop = threading.Event()

    safethread_patch.install()
    watched = Watched(HasEvent)
    assert watched.lie() is None
    watched.end()
    for _ in range(2):  # as on stock
        assert "not callable" in str(error_of(TypeError, watched.thread.join))
    assert not watched.thread.is_alive()  # there is_alive() raises, too


# Ctrl-C


def wait_until_it_joins(ident):
    """Wait until the thread with this ident is in join()."""

    def joins():
        frame = sys._current_frames().get(ident)
        while frame is not None and frame.f_code.co_name != "join":
            frame = frame.f_back
        return frame is not None

    wait_for(joins, "the thread is in join()")


def ctrl_c_when_it_joins(error=KeyboardInterrupt):
    """Raise ``error`` in the current thread, the main thread, once, when it is in join()."""
    ident, interrupts = low_level.get_ident(), []

    def interrupt(number, frame):
        if not interrupts:
            interrupts.append(1)
            raise error

    def send():
        wait_until_it_joins(ident)
        while not interrupts:  # a signal is lost that comes right before a thread begins to wait in C
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    signal.signal(signal.SIGINT, interrupt)
    low_level.start_new_thread(send, ())


def worker_program(is_joined_again):
    safethread_patch.install()
    stop, finished = threading.Event(), []

    def work():
        stop.wait()
        time.sleep(0.3)  # what stock loses
        finished.append(1)
        print("work finished")

    worker = Thread(target=work)
    worker.start()
    other = daemon(worker.join)
    other.start()
    ctrl_c_when_it_joins()
    # Python 2 hears a signal only in a join() with a timeout
    error_of(KeyboardInterrupt, worker.join, 60) if PY2 else error_of(KeyboardInterrupt, worker.join)
    assert worker.is_alive() and other.is_alive()
    stop.set()
    if is_joined_again:
        worker.join()
        assert finished and not worker.is_alive()


@pytest.mark.parametrize("is_joined_again", [True, False])
def test_ctrl_c_in_a_worker_program(is_joined_again):
    ended = start_in_child(worker_program, is_joined_again)
    assert ended.status == 0 and "work finished" in ended.out and not ended.err, ended


@pytest.mark.skipif(PY2, reason="hears a signal only in a join() with a timeout")
@in_child
def test_signal_handler_that_raises_stop_iteration():
    safethread_patch.install()
    watched = Watched()
    ctrl_c_when_it_joins(StopIteration)
    error_of(StopIteration, watched.thread.join)
    assert watched.lie() is None
    watched.end()
    assert watched.lie() is None


@pytest.mark.skipif(PY2, reason="no executors")
@pytest.mark.parametrize("how", ["shutdown", "with"])
@in_child
def test_ctrl_c_in_the_shutdown_of_an_executor(how):
    from concurrent.futures import ThreadPoolExecutor

    safethread_patch.install()
    go = threading.Event()
    executor = ThreadPoolExecutor(2)
    futures = [executor.submit(lambda: go.wait() and time.sleep(0.1)) for _ in range(2)]
    workers = list(executor._threads)

    def use():
        with executor:
            pass

    ctrl_c_when_it_joins()
    error_of(KeyboardInterrupt, executor.shutdown if how == "shutdown" else use)
    assert all(worker.is_alive() for worker in workers)
    go.set()
    executor.shutdown()
    assert all(future.done() for future in futures) and not any(worker.is_alive() for worker in workers)


class Ring(Exception):
    pass


class Alarm(object):
    """A signal handler that raises Ring once, the first time it is called while ``is_on``."""

    def __init__(self):
        self.is_on = False
        signal.signal(signal.SIGALRM, self)

    def __call__(self, number, frame):
        if self.is_on:
            self.is_on = False
            raise Ring

    def interrupts(self, function, seconds):
        """Call ``function()``, raise Ring after ``seconds``, and return whether it comes out of it."""
        try:
            self.is_on = True
            # again and again: a signal is lost that comes right before a thread begins to wait in C
            signal.setitimer(signal.ITIMER_REAL, seconds, 0.005)
            function()
            self.is_on = False
        except Ring:
            return True
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return False


@pytest.mark.skipif(PY2, reason="a signal between the first lines of the stock join() leaves a lock taken")
@pytest.mark.parametrize("when", ["running", "ending", "ended"])
@in_child(deadline=120)
def test_storm_of_signals(when):
    safethread_patch.install()
    alarm, interrupted, lies = Alarm(), 0, []
    for turn in range(300):
        if when == "running":
            watched = [Watched()]
            call, seconds = [Thread.join, Thread.is_alive][turn % 2], 0.000001 * (1 + turn)
        elif when == "ending":
            watched = [Watched(seconds=0.000002 * turn)]
            call, seconds = Thread.join, 0.00005 + 0.000002 * turn
        else:
            watched = [Watched(seconds=0) for _ in range(20)]
            for one in watched:
                one.end()
            call, seconds = [Thread.join, Thread.is_alive][turn % 2], 0.000001 + 0.0000001 * turn

        def call_all():
            for one in watched:
                while call(one.thread):
                    pass

        interrupted += alarm.interrupts(call_all, seconds)
        lies.extend(one.lie() for one in watched)
        for one in watched:
            one.end()
            lies.append(one.lie())
    assert set(lies) == set([None]), [lie for lie in lies if lie]
    assert interrupted > 10, interrupted


# Many joiners


@in_child(deadline=120)
def test_many_join_one_thread_and_ask_whether_it_is_alive():
    safethread_patch.install()
    switch_often()
    errors, done = [], []

    def join(thread, go):
        try:
            go.wait()
            while thread.is_alive():
                thread.join(0.0001)
            thread.join()
            assert not thread.is_alive()
        except BaseException as error:
            errors.append(repr(error))
        done.append(1)

    for turn in range(100):
        go = threading.Event()
        watched = Watched()
        for _ in range(3):
            daemon(lambda: join(watched.thread, go)).start()
            watched.join_in_background()
        go.set()
        watched.over.set()
        wait_for(lambda: len(done) == 3 * (turn + 1), "all have returned")
        assert watched.lie() is None and not errors, errors


class HeldJoiner(object):
    """A profile function for a thread that joins: holds it where it has taken the lock, and has not released it yet."""

    def __init__(self, lock):
        self.lock = lock
        self.go = threading.Event()
        self.has_returned = False

    def __call__(self, frame, event, argument):
        if event == "c_return" and getattr(argument, "__name__", None) == "acquire" and argument.__self__ is self.lock:
            self.go.wait()
        if event == "return" and frame.f_code.co_name == "join":
            self.has_returned = True

    def wait(self):
        """Wait until it has the lock, or has returned. Without a sleep: on PyPy that would let it go on with the lock."""
        for _ in range(10 ** 7):
            if self.lock.locked() or self.has_returned:
                return
        raise RuntimeError("it neither has the lock nor returns")


@pytest.mark.parametrize("meanwhile", ["nothing", "uninstall()"])
@takes_lock
@in_child
def test_another_joiner_has_the_lock_while_one_marks_the_end(meanwhile):
    # gh-116372: an assertion of the stock _stop() fails
    safethread_patch.install()
    watched = Watched()
    held = HeldJoiner(watched.thread._tstate_lock)

    def profile(frame, event, argument):
        if event == "call" and frame.f_code.co_name == "_stop" and not watched.joiners:
            threading.setprofile(held)
            watched.join_in_background()
            held.wait()

    def uninstall_and_end():
        wait_until_it_joins(ident)
        if meanwhile == "uninstall()":
            safethread_patch.uninstall()
        watched.over.set()

    ident = low_level.get_ident()
    low_level.start_new_thread(uninstall_and_end, ())
    sys.setprofile(profile)
    watched.thread.join()
    sys.setprofile(None)
    threading.setprofile(None)
    held.go.set()
    assert watched.joiners == 1
    assert watched.lie() is None, watched.lie()


def program_whose_main_thread_is_joined():
    safethread_patch.install()
    main_thread = threading.main_thread()

    def work():
        main_thread.join()
        time.sleep(0.3)
        print("work finished")

    def profile(frame, event, argument):
        if event == "call" and frame.f_code.co_name == "_stop":
            held.wait()
            sys.setprofile(None)
            held.go.set()

    held = HeldJoiner(main_thread._tstate_lock)
    threading.setprofile(held)
    worker = Thread(target=work)
    worker.start()
    wait_until_it_joins(worker.ident)
    time.sleep(0.1)  # and has not only begun
    sys.setprofile(profile)


@takes_lock
def test_exit_waits_for_a_thread_that_joins_the_main_thread():
    # the exit releases the lock of the main thread and calls its _stop(), in which an assertion fails on stock
    ended = start_in_child(program_whose_main_thread_is_joined)
    assert ended.status == 0 and "work finished" in ended.out and not ended.err, ended


@takes_lock
@in_child
def test_joiner_that_has_the_lock_of_the_main_thread_when_the_exit_calls_its_stop():
    # as on PyPy, where the joiner has it until it gets the GIL
    safethread_patch.install()
    main_thread, thread, lock = threading._main_thread, Thread(), low_level.allocate_lock()
    lock.acquire()
    thread._tstate_lock = lock
    threading._main_thread = thread
    low_level.start_new_thread(lambda: (time.sleep(0.05), lock.release()), ())
    thread._stop()
    threading._main_thread = main_thread
    assert thread._is_stopped and thread._tstate_lock is None


@pytest.mark.skipif(not hasattr(threading, "_maintain_shutdown_locks"), reason="nobody iterates over them")
@in_child
def test_shutdown_locks_do_not_change_while_another_thread_iterates_over_them():
    owned = []

    class Locks(set):
        def discard(self, lock):
            owned.append(threading._shutdown_locks_lock.locked())
            set.discard(self, lock)

    safethread_patch.install()
    threading._shutdown_locks = Locks(threading._shutdown_locks)
    watched = Watched(is_daemon=False)
    watched.over.set()
    watched.thread.join()
    assert owned == [True]


@takes_lock
@in_child
def test_stop_of_a_thread_that_runs_fails_as_on_stock():
    watched = Watched()
    error_of(AssertionError, watched.thread._stop)
    with safethread_patch.installed():
        error_of(AssertionError, watched.thread._stop)
        assert watched.lie() is None


# In a forked child


@pytest.mark.skipif(not FORK, reason="no os.fork")
@in_child
def test_child_forked_after_an_interrupted_join():
    safethread_patch.install()
    for call, when in MOMENTS:
        step, was_reached = 0, when != "ending"
        while was_reached:
            watched = Watched()
            if when == "ended":
                watched.end()
            was_reached = interrupted(lambda: CALLS[call](watched.thread), step)
            nothing_seen(in_forked_child(lambda: lie_about(watched.thread, []) or Watched().lie()))
            assert watched.lie() is None
            watched.end()
            step += 1


# Odd Threads


@pytest.mark.skipif(PY2, reason="the end of its first run() marks it as stopped")
@in_child
def test_join_of_a_thread_that_calls_init_in_its_run_leaves_its_next_start_alone():
    safethread_patch.install()
    began, go, stay, alive = threading.Event(), threading.Event(), threading.Event(), []

    class Anew(Thread):
        def run(self):
            if not alive:
                began.set()
                go.wait()
                Thread.__init__(self)
                self.daemon = True
                alive.append("not yet")
            else:
                alive[0] = self.is_alive()
                stay.wait()

    thread = daemon(cls=Anew)
    thread.start()
    began.wait()
    ident = thread.ident
    joiner = daemon(thread.join)
    joiner.start()
    wait_until_it_joins(joiner.ident)
    go.set()
    wait_for(lambda: ident not in sys._current_frames(), "it is over")
    joiner.join(10)
    thread.start()
    wait_for(lambda: alive == [True], "it is alive in its second run()")
    assert thread.is_alive()
    stay.set()
    thread.join()
    assert not thread.is_alive()


@takes_lock
@in_child
def test_lock_of_another_kind_is_used_as_on_stock():
    calls = []

    class Lock(object):
        def __getattr__(self, name):
            return lambda *args: calls.append((name, args)) or name in ("acquire",)

    def calls_of(function, *args):
        thread = Watched().thread
        thread._tstate_lock = Lock()
        del calls[:]
        function(thread, *args)
        return list(calls)

    stock = [calls_of(Thread.join), calls_of(Thread.join, 5), calls_of(Thread.is_alive)]
    assert stock[0]
    safethread_patch.install()
    assert stock == [calls_of(Thread.join), calls_of(Thread.join, 5), calls_of(Thread.is_alive)]


@pytest.mark.skipif(PY2, reason="takes any number")
@in_child
def test_errors_of_wrong_timeouts_are_those_of_stock():
    def error(when, timeout):
        watched = Watched()
        if when == "ended":
            watched.end()
        try:
            watched.thread.join(timeout)
        except Exception as error:
            return repr(error)
        return None

    cases = [(when, timeout) for when in ("running", "ended") for timeout in ("x", 1e300, float("inf"), float("nan"), -1, [])]
    stock = [error(*case) for case in cases]
    assert stock.count(None) == 2, stock
    safethread_patch.install()
    assert [error(*case) for case in cases] == stock


# Putting it in and taking it out


@in_child
def test_only_these_are_replaced_and_put_back():
    before = dict(vars(Thread))
    assert safethread_patch.install()
    replaced = set(name for name, function in vars(Thread).items() if before.get(name) is not function)
    if not PY2:
        assert replaced == set(["start", "run"] + ["_wait_for_tstate_lock", "_stop"] * JOIN_TAKES_LOCK), replaced
        for name in replaced:
            assert inspect.signature(vars(Thread)[name]) == inspect.signature(before[name])
    assert safethread_patch.uninstall()
    assert set(vars(Thread)) == set(before)
    assert all(function is before[name] for name, function in vars(Thread).items())


@takes_lock
@in_child
def test_inert_under_a_patch_on_top():
    waits, stops = [], []
    wait_for_tstate_lock, stop = Thread._wait_for_tstate_lock, Thread._stop
    Thread._wait_for_tstate_lock = lambda self, *args, **kwargs: waits.append(1) or wait_for_tstate_lock(self, *args, **kwargs)
    Thread._stop = lambda self: stops.append(1) or stop(self)
    safethread_patch.install()
    names = "_wait_for_tstate_lock", "_stop"
    replacements = [vars(Thread)[name] for name in names]
    for name, replacement in zip(names, replacements):
        setattr(Thread, name, functools.partialmethod(replacement))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert safethread_patch.uninstall() is False
    watched = Watched()
    assert watched.lie() is None and len(waits) == 3
    watched.end()
    del waits[:]
    assert watched.lie() is None and waits and stops
    del stops[:]
    watched.thread._stop()
    assert stops
