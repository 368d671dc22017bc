"""What the trials and the tests share: holding a race open, and looking at a Thread from a forked child."""
import os
import select
import signal
import sys
import threading
import time

from safethread_patch import _facts, _threads
from safethread_patch._defects import CannotTry
from safethread_patch._state import state

#: Seconds after which a trial takes something for a hang.
DEADLINE = 10


def wait_for(happened, what, seconds=DEADLINE):
    """Return once ``happened()`` is true. Raises RuntimeError after so many ``seconds``."""
    for _ in range(seconds * 1000):
        if happened():
            return
        time.sleep(0.001)
    raise RuntimeError("waited %d s in vain until %s" % (seconds, what))


def warm_up():
    """Run a first thread to its end before anything forks.

    Before 3.13, glibc loads libgcc at the end of the first thread, and a child that is forked meanwhile may abort.
    """
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    if os.path.isdir("/proc/self/task"):
        wait_for(lambda: len(os.listdir("/proc/self/task")) == 1, "the first thread has left")


class LimboLock(object):
    """Stands in for ``threading._active_limbo_lock``: calls ``before()`` whenever it is about to be taken."""

    def __init__(self, before):
        self._lock = threading._active_limbo_lock
        self._before = before

    def acquire(self, *args):
        self._before()
        return self._lock.acquire(*args)

    def release(self):
        self._lock.release()

    def locked(self):
        return self._lock.locked()

    def __enter__(self):
        self.acquire()

    def __exit__(self, *exc_info):
        self.release()


class StandIn(object):
    """Context manager: inside, ``threading._active_limbo_lock`` is a LimboLock."""

    def __init__(self, before):
        self._before = before

    def __enter__(self):
        self._original = threading._active_limbo_lock
        threading._active_limbo_lock = LimboLock(self._before)

    def __exit__(self, *exc_info):
        threading._active_limbo_lock = self._original


class HeldRegistration(object):
    """Context manager: inside, ``thread`` is held right before it registers. It has said that it runs, and is in limbo."""

    def __init__(self, thread):
        self.thread = thread
        self.reached = threading.Event()
        self._go = threading.Event()
        self._stand_in = StandIn(self._before)

    def _before(self):
        # the new thread has set its ident just before
        if self.thread.ident == _threads.low_level.get_ident():
            self.reached.set()
            self._go.wait()

    def __enter__(self):
        self._stand_in.__enter__()
        return self

    def __exit__(self, *exc_info):
        self.release()
        self._stand_in.__exit__(*exc_info)

    def release(self):
        self._go.set()

    def release_when_start_waits(self):
        """Release in the background, when start() waits for the registration or has returned.

        Returns a function to call when start() has returned.
        """
        returned = threading.Event()

        def release():
            try:
                wait_for(lambda: returned.is_set() or state.wakeup_locks, "start() returns or waits")
            finally:
                self.release()

        _threads.low_level.start_new_thread(release, ())
        return returned.set


class HeldBootstrap(threading.Thread):
    """A thread that is held before it says that it runs; in a forked child it is not held."""

    def __init__(self, *args, **kwargs):
        threading.Thread.__init__(self, *args, **kwargs)
        self.reached = threading.Event()
        self.go = threading.Event()
        self.pid = os.getpid()

    def _hold(self):
        if os.getpid() == self.pid:
            self.reached.set()
            self.go.wait()

    if _facts.PY2:

        def _Thread__bootstrap(self):
            self._hold()
            # start() looks this name up, and gets this method, not that of the base class
            threading.Thread._Thread__bootstrap(self)

    else:

        def _bootstrap(self):
            self._hold()
            threading.Thread._bootstrap(self)


class DiesAtBirth(threading.Thread):
    """A thread that ends before it says that it runs, as long as ``error`` is not None."""

    error = SystemExit  # the one of which nothing is written to stderr

    def _die(self):
        if self.error is not None:
            raise self.error

    if _facts.PY2:

        def _Thread__bootstrap(self):
            self._die()
            threading.Thread._Thread__bootstrap(self)

    else:

        def _bootstrap(self):
            self._die()
            threading.Thread._bootstrap(self)


def start_in_background(thread, starters=None):
    """Call ``thread.start()`` in another thread; return a list that gets "ok" or the error's text.

    The other thread first adds its ident to the list ``starters``.
    """
    outcome = []

    def start():
        if starters is not None:
            starters.append(_threads.low_level.get_ident())
        try:
            thread.start()
        except RuntimeError as error:
            outcome.append(str(error))
        else:
            outcome.append("ok")

    _threads.low_level.start_new_thread(start, ())
    return outcome


class InterruptedChild(object):
    """Context manager: inside, KeyboardInterrupt is raised in forked children, in the middle of threading's part there.

    As by a signal handler: where a function is called. The traceback goes to stderr.
    """

    def __init__(self):
        self._parent = os.getpid()
        self._is_interrupted = False

    def __enter__(self):
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *exc_info):
        sys.setprofile(None)

    def _profile(self, frame, event, argument):
        caller = frame.f_back
        if event != "call" or caller is None or caller.f_code.co_name != "_after_fork" or os.getpid() == self._parent:
            return
        if caller.f_globals.get("__name__") == "threading":
            sys.setprofile(None)
            self._is_interrupted = True
            raise KeyboardInterrupt

    def check(self):
        """To be called in the child: ends the context, and raises RuntimeError if it had no effect."""
        sys.setprofile(None)
        if not self._is_interrupted:
            raise RuntimeError("threading's part in the child was not interrupted")


def call_at_step(function, step, handler):
    """Call ``function()``, a method of a Thread, and in it ``handler()``, once, at a place where a signal handler may run.

    Such places are where a function is called, or one of the interpreter's own has returned. ``step``: which of them, counted
    from 0. Returns False if there are fewer.
    """
    places = []

    def profile(frame, event, argument):
        # no finalizers: what is raised in them comes out of nothing
        if event in ("call", "c_return") and frame.f_globals["__name__"].split(".")[0] in ("threading", "safethread_patch"):
            places.append(event)
            if len(places) == step + 1:
                sys.setprofile(None)
                handler()

    try:
        sys.setprofile(profile)
        function()
    finally:
        sys.setprofile(None)
    return len(places) > step


class Interrupt(KeyboardInterrupt):
    """What interrupted() raises."""


def interrupted(function, step):
    """Call ``function()``, and raise Interrupt in it, see call_at_step(). Raises RuntimeError if it does not come out of it."""

    def interrupt():
        raise Interrupt

    try:
        is_lost = call_at_step(function, step, interrupt)
    except Interrupt:
        return True
    if is_lost:
        raise RuntimeError("the interrupt at step %d was lost" % step)
    return False


#: What in_forked_child() returns if the child ends or hangs before any at-fork hook runs, which it does on stock as well.
LOST_IN_FORK = "the child hangs or crashes in os.fork(), as on stock"

#: The end of the pipe that the next child writes to.
_answers = []

if _facts.FREE_THREADED:  # only there, see _facts; at import, so that this hook is older than those of install()
    os.register_at_fork(after_in_child=lambda: [os.write(write, b".") for write in _answers])


def in_forked_child(look, patience=1):
    """Return what ``look()`` returns in a forked child, None or a text, or a text that says how the child ended.

    The child hangs if it takes longer than ``patience`` times DEADLINE.
    """
    if not _facts.FORK:
        raise CannotTry("no os.fork here")
    read, write = os.pipe()
    _answers[:] = [write]
    pid = os.fork()
    if not pid:
        status = 1
        try:
            signal.alarm(2 * patience * DEADLINE)  # ends a hang if the parent does not live to do it
            answer = look()
            os.write(write, (answer or "").encode("utf-8"))
            status = 0
        except BaseException as error:
            os.write(write, ("%s: %s" % (type(error).__name__, error)).encode("utf-8"))
        finally:
            os._exit(status)
    del _answers[:]
    os.close(write)
    try:
        for hang in [LOST_IN_FORK] * _facts.FREE_THREADED + ["the child hangs"]:
            if not select.select([read], [], [], patience * DEADLINE)[0]:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return hang
            answer = os.read(read, 1 if hang is LOST_IN_FORK else 4096)
            if not answer and hang is LOST_IN_FORK:
                os.waitpid(pid, 0)
                return hang
    finally:
        os.close(read)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        return "the child was killed by signal %d" % os.WTERMSIG(status)
    return answer.decode("utf-8") or (None if status == 0 else "the child ended with status %d" % os.WEXITSTATUS(status))


def daemon(target=None, cls=threading.Thread):
    """Return a daemon thread."""
    thread = cls(target=target)
    thread.daemon = True
    return thread


class Witness(object):
    """A target that notes for each run whether its thread was alive."""

    def __init__(self):
        self.thread = None
        self.alive = []

    def __call__(self):
        self.alive.append(self.thread.is_alive())


def witnessed(cls=threading.Thread):
    """Return a thread, not started, and the list to which each run of it appends what is_alive() said."""
    witness = Witness()
    witness.thread = thread = daemon(witness, cls)
    return thread, witness.alive


def lie_about(thread, alive):
    """Return how ``thread`` contradicts itself, which is stopped or never started; None if it does not.

    Starts it if start() allows that. ``alive``: the list that witnessed() returned with it.
    """
    if thread.is_alive():
        return "is_alive() says True, but the thread is gone"
    described = repr(thread)
    try:
        thread.join()
        joined = True
    except RuntimeError:
        joined = False
    try:
        thread.start()
    except RuntimeError as error:
        return None if joined else "cannot be joined, and start() says %s" % error
    if joined:
        return "could be joined before it was started"
    thread.join(DEADLINE)
    if not alive:
        return "join() returned before run() was called"
    if alive != [True]:
        return "is_alive() said False in run()"
    if thread.is_alive():
        return "is_alive() says True after join()"
    if "initial" not in described and not _facts.CHILD_STOPS_UNSTARTED:  # there start() is the first to put it right
        return "repr() said %s before it was started" % described
    return None
