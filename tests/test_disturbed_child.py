"""Promise 3, if something else goes wrong in the child: an odd Thread, a replaced lock, a signal, an early at-fork hook.

Threading has a part of its own in the child. Each disturbance here ends that part half-way, or misleads it, on some stock
interpreter, which is shown first.
"""
from __future__ import print_function

import os
import sys
import threading
import time

import pytest
from conftest import HERE, PY2, call_in_child, in_child, run, start_in_child
from helpers import in_grandchild, nothing_seen

import safethread_patch
from safethread_patch import _facts, _threads
from safethread_patch._defects._hold import (
    HeldBootstrap,
    InterruptedChild,
    daemon,
    in_forked_child,
    lie_about,
    start_in_background,
    wait_for,
    witnessed,
)
from safethread_patch._facts import VERSION
from safethread_patch._state import state
from safethread_patch._threads import low_level

pytestmark = pytest.mark.skipif(not _facts.FORK, reason="no os.fork")

PYPY = hasattr(sys, "pypy_version_info")


def sleep():
    time.sleep(600)


def leave():
    """End the test's process, and well: odd Threads, or a locked registry, may make an exit fail."""
    print("done None")
    sys.stdout.flush()
    os._exit(0)


def lock_the_registry():
    """Let a thread take the lock of the registry, and keep it."""
    held = []

    def hold():
        threading._active_limbo_lock.acquire()
        held.append(True)
        sleep()

    low_level.start_new_thread(hold, ())
    wait_for(lambda: held, "the registry is locked")


class Family(object):
    """Threads of all kinds, made before a fork."""

    def __init__(self):
        self.running = [daemon(sleep) for _ in range(6)]
        for thread in self.running:
            thread.start()
        self.ended = threading.Thread(target=int)
        self.ended.start()
        self.ended.join()
        self.never, self.never_alive = witnessed()
        self.booting, self.booting_alive = witnessed(HeldBootstrap)
        start_in_background(self.booting)
        self.booting.reached.wait()
        self.dummies = []
        low_level.start_new_thread(self.be_a_dummy, ())
        wait_for(lambda: self.dummies, "the dummy is there")

    def be_a_dummy(self):
        self.dummies.append(threading.current_thread())
        sleep()

    def spoiled(self):
        """Return, in a forked child, what shows that threading's part has not gone through; None if nothing does."""
        alive = [thread for thread in self.running if thread.is_alive()]
        if alive:
            return "%d threads of the parent are alive" % len(alive)
        if len(threading.enumerate()) != 1:
            return "enumerate() lists %d threads" % len(threading.enumerate())
        return None

    def lie(self, forker):
        """Return, in a child that the thread of ``forker`` forked, what is not as promised; None if all is."""
        current = threading.current_thread()
        if forker is not None and current is not forker:
            return "current_thread() is another"
        if type(current) is threading._DummyThread and not PY2:
            return "current_thread() is a dummy"
        if hasattr(threading, "main_thread") and threading.main_thread() is not current:
            return "main_thread() is another"
        if not current.is_alive():
            return "the current thread is not alive"
        if threading.enumerate() != [current]:
            return "enumerate() lists %d threads" % len(threading.enumerate())
        for thread in self.running + self.dummies + [self.ended]:
            if thread is not current:
                if thread.is_alive():
                    return "a thread of the parent is alive"
                thread.join()
        for thread, alive in ((self.never, self.never_alive), (self.booting, self.booting_alive)):
            lie = lie_about(thread, alive)
            if lie:
                return lie
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        return "limbo is not empty" if threading._limbo else None


# A Thread with an attribute of its own


class HasAttribute(threading.Thread):
    """Uses a name for itself that threading calls or reads in the child."""

    def __init__(self, attribute):
        threading.Thread.__init__(self)
        self.attribute = attribute
        self.is_ready = False

    def run(self):
        setattr(self, self.attribute, threading.Event())
        self.is_ready = True
        sleep()


def has_attribute(name):
    def disturb():
        thread = HasAttribute(name)
        thread.daemon = True
        thread.start()
        wait_for(lambda: thread.is_ready, "the attribute is set")

    return disturb


class RaisesOnSet(threading.Thread):
    """Does not let its attributes be changed once it runs."""

    is_armed = False

    def __setattr__(self, name, value):
        if self.is_armed:
            raise ZeroDivisionError("not to be changed")
        threading.Thread.__setattr__(self, name, value)


def raises_on_set():
    threads = [RaisesOnSet(target=sleep) for _ in range(3)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    RaisesOnSet.is_armed = True


# A lock that was replaced


class Traced(object):
    """A lock as a profiler puts it in: it has what a lock has in public, and no _at_fork_reinit()."""

    def __init__(self, original, args):
        self.original = original(*args)

    def __getattr__(self, name):
        if name == "_at_fork_reinit":
            raise AttributeError(name)
        return getattr(self.original, name)

    def __enter__(self):
        return self.original.__enter__()

    def __exit__(self, *exc_info):
        return self.original.__exit__(*exc_info)


def replaced(name):
    def disturb():
        original = getattr(threading, name)
        setattr(threading, name, lambda *args: Traced(original, args))
        daemon(sleep).start()  # a Thread that has such locks

    return disturb


# Threads that are equal by value, or have no hash


class EqualByValue(threading.Thread):
    def __eq__(self, other):
        return isinstance(other, EqualByValue)

    def __hash__(self):
        return 1


class FailsLater(threading.Thread):
    failing = ()

    def __eq__(self, other):
        if "eq" in self.failing:
            raise ZeroDivisionError("no equality")
        return self is other

    def __hash__(self):
        if "hash" in self.failing:
            raise TypeError("unhashable")
        return 1


def odd_threads(cls, failing=()):
    def disturb():
        for _ in range(4):
            thread = cls(target=sleep)
            thread.daemon = True
            thread.start()
        cls.failing = failing

    return disturb


#: What is done before the fork, and whether the stock interpreter is known to be disturbed by it.
DISTURBANCES = {
    "_at_fork_reinit is missing: Lock": (replaced("Lock"), (3, 9) <= VERSION),
    "_at_fork_reinit is missing: RLock": (replaced("RLock"), False),
    "_at_fork_reinit is missing: Condition": (replaced("Condition"), (3, 9) <= VERSION),
    "equal by value": (odd_threads(EqualByValue), False),
    "hash raises": (odd_threads(FailsLater, ("hash",)), VERSION >= (3, 4)),
    "eq raises": (odd_threads(FailsLater, ("eq",)), VERSION >= (3, 4)),
    "__setattr__ raises": (raises_on_set, VERSION < (3, 13)),
}

for _name, _disturbs in (
    ("_stop", (3, 4) <= VERSION < (3, 13)),
    ("_reset_internal_locks", VERSION < (3, 13)),
    ("_after_fork", VERSION >= (3, 13)),
    ("_Thread__stop", VERSION < (3,)),
    ("_tstate_lock", False),
    ("_is_stopped", False),
    ("_handle", False),
    ("_os_thread_handle", False),
    ("_ident", False),
    ("_native_id", False),
    ("_set_native_id", False),
    ("_set_tstate_lock", False),
    ("_set_ident", False),
    ("_daemonic", False),
    ("_name", False),
    ("_delete", False),
):
    DISTURBANCES["attribute " + _name] = has_attribute(_name), _disturbs


def fork_disturbed(name, is_patched, generation="child"):
    disturb, _ = DISTURBANCES[name]
    if is_patched:
        safethread_patch.install()
    family = Family()
    disturb()
    family.running += [daemon(sleep) for _ in range(3)]
    for thread in family.running[-3:]:
        thread.start()
    if name.startswith("equal"):
        family.running += [thread for thread in threading.enumerate() if type(thread) is EqualByValue]
    forker = threading.current_thread()
    look = (lambda: family.lie(forker)) if is_patched else family.spoiled
    sys.stderr.flush()
    answer = (in_forked_child if generation == "child" else in_grandchild)(look)
    print("done %r" % answer)
    sys.stdout.flush()
    os._exit(0)  # an odd Thread may make the exit fail


@pytest.mark.parametrize("name", sorted(DISTURBANCES))
def test_disturbed_child(name):
    _, disturbs_stock = DISTURBANCES[name]
    if disturbs_stock:
        assert call_in_child(fork_disturbed, name, False) is not None
    assert call_in_child(fork_disturbed, name, True) is None


@pytest.mark.parametrize("name", ["attribute _stop", "attribute _after_fork", "hash raises"])
def test_disturbed_grandchild(name):
    assert call_in_child(fork_disturbed, name, True, "grandchild") is None


# Who forks


class EqualForker(EqualByValue):
    def __init__(self, fork):
        EqualByValue.__init__(self)
        self.fork = fork
        self.answers = []

    def run(self):
        self.answers.append(self.fork())


@in_child
def test_fork_by_a_thread_that_is_equal_to_others():
    safethread_patch.install()
    family = Family()
    odd_threads(EqualByValue)()
    forker = EqualForker(lambda: in_forked_child(lambda: family.lie(forker)))
    forker.start()
    forker.join()
    nothing_seen(forker.answers[0])
    leave()


def fork_from_a_raw_thread(is_patched, has_dummy):
    if is_patched:
        safethread_patch.install()
    family = Family()
    answers = []

    def fork():
        forker = threading.current_thread() if has_dummy else None
        pid = os.fork()
        if pid:
            answers.append(os.waitpid(pid, 0)[1])
            return
        lie = family.lie(forker) if is_patched else None
        if lie:
            os.write(1, ("%s\n" % lie).encode())
            os._exit(3)
        if type(threading.current_thread()) is threading._DummyThread:
            os._exit(4)

    low_level.start_new_thread(fork, ())
    wait_for(lambda: answers or os.getpid() != parent, "the child has ended")
    sys.stdout.flush()
    os._exit(answers[0] >> 8)


parent = os.getpid()


@pytest.mark.skipif(PY2, reason="there is no main_thread()")
@pytest.mark.parametrize("has_dummy", [False, True])
def test_fork_by_a_thread_that_threading_did_not_start(has_dummy):
    if has_dummy and (3, 6) <= VERSION < (3, 12, 2):
        assert start_in_child(fork_from_a_raw_thread, False, has_dummy).status == 4
    ended = start_in_child(fork_from_a_raw_thread, True, has_dummy)
    assert ended.status == 0, ended


@pytest.mark.skipif(PY2, reason="there is no main_thread()")
@in_child
def test_child_of_a_raw_thread_exits_without_an_error():
    # up to 3.11 and 3.12.1 its exit asserts that the main thread is no dummy (gh-102512)
    import subprocess

    code = """
import os, sys, threading, _thread, time
import safethread_patch
safethread_patch.install()
statuses = []
def fork():
    threading.current_thread()
    pid = os.fork()
    if pid:
        statuses.append(os.waitpid(pid, 0)[1])
    else:
        threading._shutdown()
        os._exit(0)
_thread.start_new_thread(fork, ())
while not statuses: time.sleep(0.01)
sys.exit(statuses[0])
"""
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stderr=subprocess.PIPE)
    _, err = process.communicate()
    assert (process.returncode, err) == (0, b""), (process.returncode, err)


# Signals: an exception in the middle of threading's part, or of the patch's


def fork_interrupted(is_patched):
    if is_patched:
        safethread_patch.install()
    family = Family()
    forker = threading.current_thread()
    with InterruptedChild() as interrupted:
        return in_forked_child(
            lambda: interrupted.check() or (family.lie(forker) if is_patched else family.spoiled())
        )


def test_exception_in_threading_s_part_is_reported_once_as_on_stock():
    stock, patched = [start_in_child(fork_interrupted, is_patched) for is_patched in (False, True)]
    assert stock.status == patched.status == 0, (stock, patched)
    assert stock.out != "done None\n" and patched.out == "done None\n", (stock, patched)
    assert stock.err.count("KeyboardInterrupt") == patched.err.count("KeyboardInterrupt") > 0, (stock, patched)


class Fault(object):
    """Raises an error at the event number ``at`` of a part of the code, in a forked child."""

    def __init__(self, part, error):
        self.part = part
        self.error = {"KeyboardInterrupt": KeyboardInterrupt, "RuntimeError": RuntimeError}[error]
        self.parent = os.getpid()
        self.at = self.events = 0

    def is_in_part(self, code):
        file = code.co_filename.replace(".pyc", ".py")
        if self.part == "threading":
            return file == threading.__file__.replace(".pyc", ".py") or file.endswith("_weakrefset.py")
        folder, name = os.path.split(os.path.relpath(file, os.path.dirname(safethread_patch.__file__)))
        return folder == "_threads" or folder == "" and name.startswith(("_fork", "_py2", "_pools"))

    def trace(self, frame, event, argument):
        if os.getpid() == self.parent:
            return self.trace
        if not self.is_in_part(frame.f_code):
            return None
        if VERSION >= (3, 7):
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif frame.f_code.co_name == "after_fork":
            return self.trace  # no signal handler runs at its try statements, and the rest of it is within them
        self.events += 1
        if self.events == self.at:
            sys.settrace(None)
            raise self.error
        return self.trace


def sweep(part, is_patched, step, error="KeyboardInterrupt"):
    """Put a fault before each ``step``-th event; return the number of faults, and a list of what was seen then."""
    import json

    if is_patched:
        safethread_patch.install()
    family = Family()
    forker = threading.current_thread()
    fault = Fault(part, error)

    def look():
        sys.settrace(None)
        return json.dumps([fault.events, family.lie(forker) if is_patched else family.spoiled()])

    faults, seen = 0, []
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # each of them is reported there
    while True:
        fault.at += step
        sys.settrace(fault.trace)
        answer = in_forked_child(look)
        sys.settrace(None)
        if answer.startswith("["):
            events, answer = json.loads(answer)
            if events < fault.at:
                return faults, sorted(set(seen))
        faults += 1
        if answer is not None:
            seen.append("at %d: %s" % (fault.at, answer))


#: How many events a sweep leaves out between two faults. 1 takes half a minute.
STEP = int(os.environ.get("SWEEP", "5"))


@pytest.mark.skipif(PYPY, reason="its trace functions see other events")
@pytest.mark.parametrize("part", ["threading", "patch"])
@pytest.mark.parametrize("error", ["KeyboardInterrupt", "RuntimeError"])
def test_fault_at_each_moment(part, error):
    if part == "threading":
        _, seen = call_in_child(sweep, part, False, 100, error)
        assert seen
    faults, seen = call_in_child(sweep, part, True, STEP, error, deadline=200)
    print("%d faults" % faults)
    assert faults > 10 and not seen, (faults, seen)


# At-fork hooks that are older than threading's own, and forks without any


@pytest.mark.skipif(not _facts.AT_FORK_HOOKS, reason="no at-fork hooks before 3.7")
@pytest.mark.parametrize("how", ["plain", "spoiled"])
def test_thread_of_a_hook_that_is_older_than_threading(how):
    program = [sys.executable, os.path.join(HERE, "early_hook.py")]
    if how == "plain":
        stock = run(program + ["stock", how], deadline=30)
        assert stock.out.splitlines() != ["as promised", "done"], stock
    patched = run(program + ["patched", how], deadline=30)
    assert (patched.status, patched.out.splitlines()) == (0, ["as promised", "done"]), patched


FORK_IN_HANDLER = """
import os, signal, sys, threading
import safethread_patch
if sys.argv[1] == "patched": safethread_patch.install()
name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
start_new_thread = getattr(threading, name)
thread = threading.Thread(target=int)
pids = []
def interrupted(*args, **kwargs):
    setattr(threading, name, start_new_thread)
    os.kill(os.getpid(), signal.SIGUSR1)
    return start_new_thread(*args, **kwargs)
def handler(*args):
    pids.append(os.fork())
    if not pids[0]:
        thread.start()
        thread.join()
        os._exit(thread.is_alive())
    sys.exit(os.waitpid(pids[0], 0)[1])
setattr(threading, name, interrupted)
signal.signal(signal.SIGUSR1, handler)
thread.start()
"""


def test_fork_in_a_signal_handler_within_the_first_start_of_a_process():
    # before 3.7 the interpreter calls nothing in a child whose parent has not started a thread before
    for mode in ["stock"] * (VERSION < (3,)) + ["patched"]:
        ended = run([sys.executable, "-W", "ignore", "-c", FORK_IN_HANDLER, mode])
        assert ended.status == 0, (mode, ended)


@pytest.mark.skipif(PY2 or PYPY, reason="no ctypes.PyDLL(None).fork() that the interpreter survives")
@in_child
def test_first_start_in_a_child_that_c_code_has_forked():
    import ctypes

    safethread_patch.install()
    family = Family()
    forker = threading.current_thread()
    read, write = os.pipe()
    pid = ctypes.PyDLL(None).fork()
    if not pid:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        os.write(write, (family.lie(forker) or "nothing").encode())
        os._exit(0)
    os.close(write)
    answer = os.read(read, 4096)
    os.waitpid(pid, 0)
    assert answer == b"nothing", answer


@pytest.mark.skipif(VERSION < (3, 8) or PYPY or not sys.platform.startswith("linux"), reason="whose child it is cannot be told")
@in_child
def test_first_start_by_a_new_raw_thread_in_a_child_that_c_code_has_forked():
    import ctypes

    safethread_patch.install()
    main = threading.current_thread()
    read, write = os.pipe()
    pid = ctypes.PyDLL(None).fork()
    if not pid:
        told = []
        low_level.start_new_thread(lambda: told.append(daemon(int).start()), ())
        wait_for(lambda: told, "start() returns")
        is_right = main.is_alive() and threading.current_thread() is main and threading.main_thread() is main
        os.write(write, b"right" if is_right else b"wrong")
        os._exit(0)
    os.close(write)
    assert os.read(read, 4096) == b"right"
    os.waitpid(pid, 0)


# The parent: its signals, and what it keeps


@pytest.mark.skipif(not _facts.AT_FORK_HOOKS or PYPY, reason="needs a hook in the parent that is no Python function")
@in_child
def test_interrupt_during_the_fork_is_heard_by_the_parent():
    # in a hook that is a Python function its exception would be lost
    import signal

    import wrapt  # the newest imports logging, whose hooks are Python functions, and come first here

    assert wrapt
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.register_at_fork(after_in_parent=low_level.interrupt_main)
    safethread_patch.install()
    try:
        pid = os.fork()
        if not pid:
            os._exit(0)
    except KeyboardInterrupt:
        return
    raise AssertionError("KeyboardInterrupt is lost")


@in_child
def test_nothing_is_kept_of_a_fork():
    import gc
    import weakref

    from safethread_patch import _fork

    safethread_patch.install()
    forker = threading.Thread(target=lambda: nothing_seen(in_forked_child(lambda: None)))
    gone = weakref.ref(forker)
    forker.start()
    forker.join()
    state.has_notes = _facts.AT_FORK_HOOKS  # before 3.7 only a child notes something
    nothing_seen(in_forked_child(lambda: "still noted" if state.has_notes or getattr(_fork.noted, "fork", None) else None))
    state.has_notes = False
    assert getattr(_fork.noted, "fork", None) is None or not _facts.AT_FORK_HOOKS or PYPY
    del forker
    for _ in range(3):
        gc.collect()
    assert gone() is None


# A forker that is odd itself


class OddForker(threading.Thread):
    """Forks in run(), and is odd meanwhile."""

    def __init__(self, look):
        threading.Thread.__init__(self)
        self.look = look
        self.answers = []

    def run(self):
        OddForker.is_armed = True
        self.answers.append(in_forked_child(self.look))
        OddForker.is_armed = False

    is_armed = False


class SetsNothing(OddForker):
    def __setattr__(self, name, value):
        if self.is_armed:
            raise ZeroDivisionError("not to be changed")
        OddForker.__setattr__(self, name, value)


class HasNoTruth(OddForker):
    def __bool__(self):
        raise ZeroDivisionError("no truth")

    __nonzero__ = __bool__


class HasNoClass(OddForker):
    @property
    def __class__(self):
        raise ZeroDivisionError("no class")


@pytest.mark.parametrize("kind", ["SetsNothing", "HasNoTruth", "HasNoClass"])
@pytest.mark.parametrize("generation", ["child", "grandchild"])
@in_child
def test_odd_forker(kind, generation):
    safethread_patch.install()
    family = Family()
    low_level.start_new_thread(lambda: (threading.current_thread(), sleep()), ())

    def look():
        if threading.current_thread() is not forker or threading.enumerate() != [forker]:
            return "enumerate() says %d" % len(threading.enumerate())
        thread, alive = witnessed()
        return family.spoiled() or lie_about(thread, alive)

    forker = {"SetsNothing": SetsNothing, "HasNoTruth": HasNoTruth, "HasNoClass": HasNoClass}[kind](
        look if generation == "child" else lambda: in_forked_child(look)
    )
    forker.start()
    forker.join()
    nothing_seen(forker.answers[0])
    leave()


@pytest.mark.skipif(PYPY, reason="its trace functions see other events")
@in_child
def test_exit_of_a_disturbed_child_waits_for_no_thread_of_the_parent():
    safethread_patch.install()
    over = threading.Event()
    bystander = threading.Thread(target=over.wait)  # no daemon
    bystander.start()
    fault = Fault("threading", "KeyboardInterrupt")
    fault.at = 1  # before threading's part has done anything
    sys.settrace(fault.trace)
    pid = os.fork()
    sys.settrace(None)
    if not pid:
        threading._shutdown()
        os._exit(7 if fault.events else 8)
    wait_for(lambda: os.waitpid(pid, os.WNOHANG)[1] == 7 << 8, "the child has ended")
    over.set()
    bystander.join()


@pytest.mark.skipif(PYPY, reason="its trace functions see other events")
@pytest.mark.parametrize("is_main", [True, False])
@in_child
def test_fault_in_the_child_of_a_lone_thread_whose_registry_is_locked(is_main):
    # nothing but the lock, and the main thread, tells that threading's part has not gone through
    safethread_patch.install()
    current = threading.current_thread()
    lock_the_registry()
    if hasattr(threading, "_main_thread") and not is_main:
        threading._main_thread = threading.Thread()  # as where another thread than the main one has imported threading
    fault = Fault("threading", "KeyboardInterrupt")

    def look():
        sys.settrace(None)
        if hasattr(threading, "main_thread") and threading.main_thread() is not current:
            return "main_thread() is another"
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        return None

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for fault.at in range(1, 60, 2):
        sys.settrace(fault.trace)
        lie = in_forked_child(look)
        sys.settrace(None)
        if lie is not None:
            print("at %d: %s" % (fault.at, lie))  # not an assertion: stderr is gone
            sys.stdout.flush()
            os._exit(1)
    leave()


# Parts of the repair


def test_error_that_does_not_come_again_is_raised_when_all_is_repaired():
    errors = [ZeroDivisionError("of a signal handler")]

    def once(thread):
        if errors:
            raise errors.pop()

    _threads.quietly(once, None)
    with pytest.raises(ZeroDivisionError):
        _threads.raise_interrupts()
    _threads.raise_interrupts()


def test_error_that_comes_again_is_ignored():
    _threads.quietly(lambda thread: 1 / 0, None)
    _threads.raise_interrupts()


def test_error_of_a_signal_handler_is_not_taken_for_a_dict_that_changes():
    class Table(dict):
        def values(self):
            raise RuntimeError("of a signal handler")

    with pytest.raises(RuntimeError):
        _threads.values_of(Table())


@pytest.mark.skipif(PY2 or PYPY, reason="no ctypes.PyDLL(None).fork() that the interpreter survives")
@in_child
def test_no_thread_is_kept_in_the_child_that_c_code_forks_in_a_child():
    import ctypes

    safethread_patch.install()

    def look():
        pid = ctypes.PyDLL(None).fork()
        if not pid:
            for _ in range(3):
                thread = threading.Thread(target=int)
                thread.start()
                thread.join()
            os._exit(len(state.early_threads))
        return None if os.waitpid(pid, 0)[1] == 0 else "kept"

    nothing_seen(in_forked_child(look))


# The finalizer of a dummy


def fork_while_the_registry_is_locked(is_patched):
    if is_patched:
        safethread_patch.install()
    family = Family()
    lock_the_registry()
    print("done %r" % in_forked_child(family.spoiled))
    sys.stdout.flush()
    os._exit(0)


@pytest.mark.skipif(not hasattr(threading, "_DeleteDummyThreadOnDel"), reason="dummies have no finalizer (gh-114423)")
def test_finalizer_of_a_dummy_waits_for_nobody_in_a_child():
    assert "hangs" in call_in_child(fork_while_the_registry_is_locked, False)
    assert call_in_child(fork_while_the_registry_is_locked, True) is None


@pytest.mark.skipif(not hasattr(threading, "_DeleteDummyThreadOnDel"), reason="dummies have no finalizer (gh-114423)")
@in_child
def test_dummy_leaves_the_registry_with_its_thread():
    safethread_patch.install()
    before = len(threading._active)
    idents = []

    def be_a_dummy():
        idents.append(threading.current_thread().ident)

    for count in range(1, 20):
        low_level.start_new_thread(be_a_dummy, ())
        wait_for(lambda: len(idents) == count and len(threading._active) == before, "the dummy has left")
