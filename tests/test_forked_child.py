"""Promise 3: in a forked child, every Thread but the current one is either never started, and can be started, or stopped,
and can be joined: whichever thread forks, wherever any start is, whatever else goes wrong in the child, and in grandchildren
too. The current thread is the main thread, and its native_id is right.
"""
import os
import platform
import sys
import threading
import time

import pytest
from conftest import PY2, in_child, start_in_child
from helpers import clean, in_grandchild, nothing_seen

import safethread_patch
from safethread_patch import _fork
from safethread_patch._defects._hold import (
    HeldBootstrap,
    HeldRegistration,
    StandIn,
    daemon,
    in_forked_child,
    lie_about,
    start_in_background,
    wait_for,
    witnessed,
)
from safethread_patch._facts import AT_FORK_HOOKS, CHILD_STOPS_UNSTARTED, FORK, FREE_THREADED
from safethread_patch._state import state
from safethread_patch._threads import low_level, started_event

pytestmark = pytest.mark.skipif(not FORK, reason="no os.fork")

needs_at_fork_hooks = pytest.mark.skipif(not AT_FORK_HOOKS, reason="no at-fork hooks")

#: What calls a function in a forked process, and returns what in_forked_child() returns.
GENERATIONS = {"child": in_forked_child, "grandchild": in_grandchild}


def try_to_start(thread):
    """Return "ok", or the text of the RuntimeError that start() raised."""
    try:
        thread.start()
    except RuntimeError as error:
        return str(error)
    return "ok"


def run_to_end(thread):
    thread.start()
    thread.join()
    return thread


# Threads in every state


@pytest.mark.parametrize("generation", sorted(GENERATIONS))
@in_child
def test_every_kind_of_thread(generation):
    call_in_generation = GENERATIONS[generation]
    safethread_patch.install()
    never, never_alive = witnessed()
    finished, finished_alive = witnessed()
    run_to_end(finished)
    stay = threading.Event()
    running, held = daemon(stay.wait), daemon(stay.wait)
    running.start()
    booting, booting_alive = witnessed(HeldBootstrap)
    start_in_background(booting)
    booting.reached.wait()

    def look():
        if threading.enumerate() != [threading.current_thread()]:
            return "enumerate() says %s" % threading.enumerate()
        for name, thread, alive in (
            ("never", never, never_alive),
            ("booting", booting, booting_alive),
            ("finished", finished, finished_alive),
            ("running", running, []),
            ("held", held, []),
        ):
            lie = lie_about(thread, alive)
            if lie:
                return "%s: %s" % (name, lie)
        if never_alive != [True]:
            return "never: was not started"
        if booting_alive != [True]:
            return "booting: was not started"
        if finished_alive != [True]:
            return "finished: ran again"
        run_to_end(threading.Thread(target=int))
        return None

    with HeldRegistration(held) as hold:
        start_in_background(held)
        hold.reached.wait()
        nothing_seen(call_in_generation(look))
        nothing_seen(call_in_generation(look))
    booting.go.set()
    stay.set()


@in_child
def test_repr():
    safethread_patch.install()
    never = threading.Thread()
    finished = run_to_end(threading.Thread(target=int))

    def look():
        if "stopped" not in repr(finished):
            return repr(finished)
        # where the fork stops all threads, only start() undoes that
        if ("stopped" if CHILD_STOPS_UNSTARTED else "initial") not in repr(never):
            return repr(never)
        run_to_end(never)
        return None if "stopped" in repr(never) else repr(never)

    nothing_seen(in_forked_child(look))


@in_child
def test_thread_that_a_grandchild_and_then_its_parent_start():
    safethread_patch.install()
    thread, alive = witnessed()

    def look():
        return in_forked_child(lambda: lie_about(thread, alive)) or lie_about(thread, alive)

    nothing_seen(in_forked_child(look))


# Starts in flight


@in_child
def test_fork_by_the_new_thread_itself_while_its_start_is_held():
    # in the child the current thread is one whose start is in flight
    safethread_patch.install()
    parent = os.getpid()
    answers, claims = [], []

    class SlowEvent(type(threading.Event())):
        # the starter comes back late
        def wait(self, timeout=None):
            result = super(SlowEvent, self).wait(timeout)
            if os.getpid() == parent:
                wait_for(lambda: answers, "the fork is over")
            return result

    def look():
        current = threading.current_thread()
        if current is not thread:
            return "current_thread() says %s" % current
        if not thread.is_alive():
            return "not alive"
        if hasattr(threading, "get_native_id") and thread.native_id != threading.get_native_id():
            return "native_id"
        if state.claims or state.wakeup_locks:
            return "the child has a start in flight"
        run_to_end(threading.Thread(target=int))
        return in_forked_child(lambda: None if thread.is_alive() else "not alive in the grandchild")

    def fork():
        claims.extend(state.claims.values())
        answers.append(in_forked_child(look))

    thread = threading.Thread(target=fork)
    started_event(thread).__class__ = SlowEvent
    run_to_end(thread)
    assert [claim[0] for claim in claims] == [thread], claims
    nothing_seen(answers[0])


@pytest.mark.skipif(not PY2, reason="no event has a lent wait()")
@in_child
def test_event_of_the_forking_thread_has_its_own_wait_in_the_child():
    # it forks before its starter, which is awake already, gets the interpreter
    statuses = []

    class Forking(threading.Thread):
        def run(self):
            pid = os.fork()
            if not pid:
                os._exit(len(set(vars(started_event(self))) & set(["wait", "set"])))
            statuses.append(os.waitpid(pid, 0)[1])

    safethread_patch.install()
    sys.setcheckinterval(10**7)
    for _ in range(50):
        run_to_end(Forking())
    assert statuses == 50 * [0], statuses


@in_child
def test_child_has_no_claims_and_no_wakeup_locks():
    safethread_patch.install()
    thread = daemon()
    with HeldRegistration(thread):
        start_in_background(thread)
        wait_for(lambda: state.wakeup_locks, "start() waits")
        assert state.claims
        nothing_seen(in_forked_child(clean))


@in_child
def test_thread_that_has_its_ident_but_has_not_set_its_started_event():
    safethread_patch.install()
    reached, go = threading.Event(), threading.Event()

    class HeldSet(type(threading.Event())):
        def set(self):
            reached.set()
            go.wait()
            super(HeldSet, self).set()

    thread, alive = witnessed()
    started_event(thread).__class__ = HeldSet
    start_in_background(thread)
    reached.wait()
    assert thread.ident is not None

    def look():
        if thread.ident is not None:
            return "ident %s" % thread.ident
        if getattr(thread, "native_id", None) is not None:
            return "native_id %s" % thread.native_id
        return lie_about(thread, alive)

    nothing_seen(in_forked_child(look))
    go.set()


@in_child
def test_start_in_flight_beside_one_that_is_refused():
    safethread_patch.install()
    booting, alive = witnessed(HeldBootstrap)
    start_in_background(booting)
    booting.reached.wait()
    assert try_to_start(booting) != "ok", "two starts"
    nothing_seen(in_forked_child(lambda: lie_about(booting, alive)))
    booting.go.set()
    wait_for(lambda: alive == [True] and not booting.is_alive(), "the thread has run")
    wait_for(lambda: not state.claims, "its starter is back")
    clean()


@in_child
def test_child_forgets_a_wakeup_lock_without_a_claim():
    safethread_patch.install()
    state.wakeup_locks[1] = threading.Lock()  # as of a starter whose claim the next starter has taken over
    nothing_seen(in_forked_child(lambda: "it is kept" if state.wakeup_locks else None))
    assert state.wakeup_locks


@in_child
def test_repair_leaves_the_starts_of_its_own_process_alone():
    safethread_patch.install()
    booting = HeldBootstrap()
    outcome = start_in_background(booting)
    booting.reached.wait()
    before = dict(state.claims), dict(state.wakeup_locks)
    assert before[0]
    _fork.after_in_child()
    assert (state.claims, state.wakeup_locks) == before
    booting.go.set()
    wait_for(lambda: outcome == ["ok"], "start() returns")
    booting.join()
    clean()


# Before or after install() and uninstall()


@in_child
def test_start_that_is_in_limbo_at_install():
    booting, alive = witnessed(HeldBootstrap)
    start_in_background(booting)
    booting.reached.wait()
    safethread_patch.install()
    nothing_seen(in_forked_child(lambda: lie_about(booting, alive)))
    booting.go.set()


@in_child
def test_start_that_enters_limbo_after_install():
    # it is within the stock start() already at install()
    booting, alive = witnessed(HeldBootstrap)
    reached, go = threading.Event(), threading.Event()

    def before():
        if not reached.is_set():
            reached.set()
            go.wait()

    with StandIn(before):
        start_in_background(booting)
        reached.wait()
        assert not threading._limbo
        safethread_patch.install()
        go.set()
        booting.reached.wait()
    nothing_seen(in_forked_child(lambda: lie_about(booting, alive)))
    booting.go.set()


@in_child
def test_claim_of_a_start_that_was_in_flight_while_an_uninstalled_patch_was_forked():
    safethread_patch.install()
    booting = HeldBootstrap()
    start_in_background(booting)
    booting.reached.wait()
    safethread_patch.uninstall()

    def look():
        safethread_patch.install()
        if state.claims:
            return "a claim is left"
        outcome = try_to_start(booting)
        # since 3.13 the handle refuses it, on stock too
        return None if outcome == "ok" or sys.version_info >= (3, 13) else outcome

    nothing_seen(in_forked_child(look))
    booting.go.set()


@pytest.mark.parametrize("patched_before", [False, True])
@in_child
def test_install_in_a_child_that_was_forked_unpatched(patched_before):
    # until 3.13.4 the fork stops the thread
    thread, alive = witnessed()
    run_to_end(threading.Thread(target=int))  # a child of 3.6 looks at Threads only if one has run
    if patched_before:
        safethread_patch.install()
        safethread_patch.uninstall()

    def look():
        safethread_patch.install()
        return lie_about(thread, alive) or in_forked_child(lambda: lie_about(thread, alive))

    nothing_seen(in_forked_child(look))


@in_child
def test_uninstalled_patch_repairs_nothing():
    # also not by its hook, which cannot be unregistered
    def fail():
        os._exit(9)

    _fork.repair_process = fail
    safethread_patch.install()
    safethread_patch.uninstall()
    state.claims[0] = None  # something to repair
    nothing_seen(in_forked_child(lambda: None))


# At-fork hooks that are older than the patch's: they run after its before hook, and before its hook in the child


@needs_at_fork_hooks
@in_child
def test_never_started_thread_that_an_older_hook_starts():
    outcomes = []
    stay = threading.Event()
    never = threading.Thread(target=lambda: stay.wait(10))
    os.register_at_fork(after_in_child=lambda: outcomes.append(try_to_start(never)))
    safethread_patch.install()

    def look():
        if outcomes != ["ok"]:
            # 3.13.0 to 3.13.3 refuse it before the patch's hook can undo the stop
            return None if sys.version_info[:2] == (3, 13) else str(outcomes)
        if not never.is_alive():
            return "not alive"
        stay.set()
        never.join()
        return "stays alive" if never.is_alive() else None

    nothing_seen(in_forked_child(look))


@needs_at_fork_hooks
@in_child
def test_start_that_enters_limbo_between_the_before_hooks_and_the_fork():
    # before hooks run newest first
    booting, alive = witnessed(HeldBootstrap)
    parent = os.getpid()

    def before():
        if os.getpid() == parent and not booting.reached.is_set():
            start_in_background(booting)
            booting.reached.wait()

    os.register_at_fork(before=before)
    safethread_patch.install()
    nothing_seen(in_forked_child(lambda: lie_about(booting, alive)))
    booting.go.set()


@needs_at_fork_hooks
@pytest.mark.parametrize("installed", ["before", "during"])
@in_child
def test_start_in_flight_that_an_older_hook_starts_again(installed):
    outcomes = []
    stay = threading.Event()
    booting = HeldBootstrap(target=lambda: stay.wait(10))
    booting.daemon = True
    os.register_at_fork(after_in_child=lambda: outcomes.append(try_to_start(booting)))
    if installed == "before":
        safethread_patch.install()
    start_in_background(booting)
    booting.reached.wait()
    if installed == "during":
        safethread_patch.install()

    def look():
        if outcomes != ["ok"]:
            # this start has no claim, and since 3.13 the handle refuses another
            return None if installed == "during" and sys.version_info >= (3, 13) else str(outcomes)
        if not booting.is_alive():
            return "not alive"
        stay.set()
        booting.join()
        if booting.is_alive():
            return "stays alive"
        return clean()

    nothing_seen(in_forked_child(look))
    booting.go.set()


@needs_at_fork_hooks
@pytest.mark.parametrize("generation", sorted(GENERATIONS))
@in_child
def test_start_that_is_in_limbo_at_install_and_an_older_hook_that_forks(generation):
    # the inner fork runs the patch's before hook when threading has cleared limbo already
    has_forked, answers = [], []

    def fork():
        if not has_forked:
            has_forked.append(True)
            answers.append(in_forked_child(lambda: lie_about(booting, alive)))

    os.register_at_fork(after_in_child=fork)
    booting, alive = witnessed(HeldBootstrap)
    start_in_background(booting)
    booting.reached.wait()
    safethread_patch.install()

    def look():
        if state.outer_fork is not None or (getattr(_fork.noted, "fork", None) or (0, None))[1] is not None:
            return "still noted, for each child of this one"
        if answers != [None]:
            return "within the hook: %s" % answers
        return lie_about(booting, alive)

    nothing_seen(GENERATIONS[generation](look))
    booting.go.set()


@needs_at_fork_hooks
@in_child
def test_start_that_an_older_hook_begins_is_left_alone():
    # the fork has not copied it: its thread lives in the child
    begun = []

    def begin():
        thread, alive = witnessed(HeldBootstrap)
        begun.extend([thread, alive, start_in_background(thread)])
        thread.reached.wait()

    os.register_at_fork(after_in_child=begin)
    safethread_patch.install()

    def look():
        thread, alive, outcome = begun
        thread.go.set()
        wait_for(lambda: outcome, "start() returns")
        thread.join(10)
        if thread.is_alive() or (alive, outcome) != ([True], ["ok"]):
            return str([thread, alive, outcome])
        return clean()

    nothing_seen(in_forked_child(look))


@needs_at_fork_hooks
@pytest.mark.parametrize(
    "how",
    [
        "by a before hook",
        pytest.param(
            "by nobody",
            marks=pytest.mark.skipif(
                sys.version_info >= (3, 13) or platform.python_implementation() != "CPython",
                reason="no such fork",  # 3.13 dies of it
            ),
        ),
    ],
)
@in_child
def test_fork_that_the_before_hook_does_not_see(how):
    if how == "by a before hook":  # the patch's own hook is registered too late for this fork
        os.register_at_fork(before=safethread_patch.install)
    else:
        import ctypes

        def fork():
            # as C code does that calls PyOS_AfterFork_Child() only
            pid = ctypes.PyDLL(None).fork()
            if not pid:
                ctypes.pythonapi.PyOS_AfterFork_Child()
            return pid

        safethread_patch.install()
        os.fork = fork
    thread, alive = witnessed()
    run_to_end(threading.Thread(target=int))
    nothing_seen(in_forked_child(lambda: lie_about(thread, alive)))


# A free-threaded child touches no table of its parent: another thread may have locked it at the fork


class Table(dict):
    """A table of the state that notes which of its methods a forked child calls.

    But for values(), which takes no lock when it is iterated, see _threads.values_of().
    """

    def __init__(self, touched):
        dict.__init__(self)
        self.touched = touched
        self.pid = os.getpid()


def noted(name):
    def method(self, *args):
        if os.getpid() != self.pid:
            self.touched.append(name)
        return getattr(dict, name)(self, *args)

    return method


for _name in ("setdefault", "get", "pop", "copy", "__getitem__", "__setitem__", "__delitem__", "items"):
    setattr(Table, _name, noted(_name))


def put_tables():
    """Let each table of the state be a Table; return the list to which a forked child adds what it calls."""
    touched = []
    for name in ("claims", "wakeup_locks", "claimed_threads"):
        setattr(state, name, Table(touched))
    return touched


@pytest.mark.skipif(not FREE_THREADED, reason="with a GIL no table is locked")
@pytest.mark.parametrize("which", ["another", "the same"])
@in_child
def test_child_touches_no_table_of_its_parent(which):
    booting, alive = witnessed(HeldBootstrap)
    os.register_at_fork(after_in_child=lambda: run_to_end(booting if which == "the same" else daemon(int)))
    safethread_patch.install()
    touched = put_tables()

    def look():
        clean()
        if touched:
            return str(touched)
        if which == "the same":
            return None if alive == [True] else str(alive)
        return lie_about(booting, alive)

    start_in_background(booting)
    booting.reached.wait()
    nothing_seen(in_forked_child(look))
    booting.go.set()


@pytest.mark.skipif(not FREE_THREADED, reason="with a GIL no table is locked")
@in_child
def test_start_that_goes_on_in_a_child_touches_no_table_of_its_parent():
    safethread_patch.install()
    touched = put_tables()

    class Forking(threading.Thread):
        is_to_fork = False
        __eq__ = object.__eq__

        def __hash__(self):  # a signal handler may fork there as well
            if self.is_to_fork:
                self.is_to_fork = False
                self.child = os.fork()
            return 1

    read, write = os.pipe()
    thread = Forking(target=int)
    thread.is_to_fork = True
    thread.start()
    if not thread.child:
        os.write(write, repr(touched).encode())
        os._exit(0)
    os.close(write)
    assert os.read(read, 4096) == b"[]"
    os.waitpid(thread.child, 0)
    thread.join()
    clean()


# Nothing is raised, written or waited for


class Stubborn(HeldBootstrap):
    """A thread whose attributes cannot be changed."""

    is_armed = False

    def __setattr__(self, name, value):
        if self.is_armed:
            raise ZeroDivisionError("not to be changed")
        HeldBootstrap.__setattr__(self, name, value)


def fork_beside_a_stubborn_thread():
    safethread_patch.install()
    stubborn, friendly = Stubborn(), HeldBootstrap()
    for thread in (stubborn, friendly):
        thread.daemon = True
        start_in_background(thread)
        thread.reached.wait()
    Stubborn.is_armed = True

    def look():
        try:
            friendly.join()
        except RuntimeError:
            return None
        return "the friendly one was not repaired"

    nothing_seen(in_forked_child(look))
    Stubborn.is_armed = False
    stubborn.go.set()
    friendly.go.set()


def test_nothing_is_raised_or_written_in_a_child_whatever_the_threads_are():
    ended = start_in_child(fork_beside_a_stubborn_thread)
    assert (ended.status, ended.out) == (0, "done None\n"), ended
    if sys.version_info >= (3, 13):  # before, threading's own part writes about the same error
        assert ended.err == "", ended


def locks_of(thread):
    """Return the locks of ``thread``, but for the one that the interpreter holds while the thread runs."""
    event = vars(started_event(thread))
    locks = [event["_cond"] if "_cond" in event else event["_Event__cond"]]
    return locks + [vars(thread)[name] for name in ("_block", "_Thread__block") if name in vars(thread)]


@in_child
def test_child_takes_no_lock_that_another_thread_holds():
    # every lock of a Thread is held by a thread that does not exist in the child
    safethread_patch.install()
    stay = threading.Event()
    running = daemon(stay.wait)
    running.start()
    finished = run_to_end(daemon(int))
    unstarted, alive = witnessed()
    threads = [("running", running, []), ("finished", finished, [])]
    if not PY2:
        # On Python 2 a child does not know the threads that were never started, so threading gives this one no new
        # locks. Nobody else takes the locks of such a thread.
        threads.append(("unstarted", unstarted, alive))
    locks = [threading._active_limbo_lock]
    for _, thread, _ in threads:
        locks.extend(locks_of(thread))
    acquired, leave = threading.Event(), threading.Event()

    def hold():
        for lock in locks:
            lock.acquire()
        acquired.set()
        leave.wait()
        for lock in locks:
            lock.release()

    holder = daemon(hold)
    holder.start()
    acquired.wait()

    def look():
        for name, thread, runs in threads:
            lie = lie_about(thread, runs)
            if lie:
                return "%s: %s" % (name, lie)
        return None

    nothing_seen(in_forked_child(look))
    leave.set()
    holder.join()
    stay.set()


# Python 2.7.3


def stop_of_2_7_3(self):
    self._Thread__block.acquire()
    self._Thread__stopped = True
    self._Thread__block.notify_all()
    self._Thread__block.release()


@pytest.mark.skipif(not PY2, reason="later interpreters complete the repair themselves")
@in_child
def test_child_of_2_7_3_with_dummy_threads():
    # issue 14308, brought back: the first _DummyThread ends threading's part of the repair
    from safethread_patch import _fork_before_37

    threading.Thread._Thread__stop = stop_of_2_7_3
    stay = threading.Event()
    dummies = []

    def become_a_dummy():
        dummies.append(threading.current_thread())
        while True:
            time.sleep(10)

    def look():
        alive = [thread for thread in threads if thread.is_alive()]
        if alive:
            return "%d stay alive" % len(alive)
        return in_forked_child(lambda: threads[0].join())

    for _ in range(5):
        low_level.start_new_thread(become_a_dummy, ())
    wait_for(lambda: len(dummies) == 5, "the dummies are there")
    threads = [daemon(stay.wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    stderr = os.dup(2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # threading's part writes the error
    answer = in_forked_child(look)
    os.dup2(stderr, 2)
    assert "stay alive" in answer, answer
    _fork_before_37.CHILD_FAILS_AT_DUMMIES = True
    safethread_patch.install()
    nothing_seen(in_forked_child(look))
    stay.set()
