"""Promise 8: In a forked child a ThreadPoolExecutor that had workers gets new ones when it is next used. Work that was queued
or running at the fork stays the parent's. The future of queued work ends in the child with a RuntimeError that says so.
"""
import os
import sys
import threading
import time

import pytest
from conftest import PY2, call_in_child, in_child, run, start_in_child
from helpers import error_of, in_grandchild, nothing_seen
from test_disturbed_child import STEP, Fault
from test_storms import Worker, check_counts, storm

import safethread_patch
from safethread_patch import _facts, _pools
from safethread_patch._defects._hold import HeldBootstrap, in_forked_child, wait_for

try:
    from concurrent.futures import ThreadPoolExecutor, as_completed, wait
    from concurrent.futures import thread as module
except ImportError:  # Python 2 without the backport
    pass

PYPY = hasattr(sys, "pypy_version_info")

pytestmark = pytest.mark.skipif(not (_facts.FORK and _facts.POOLS), reason="no os.fork, or no concurrent.futures")


def used_pool(max_workers, cls=None, **options):
    """Return a pool with ``max_workers`` workers. From 3.8 on all of them are idle, and counted as such."""
    pool = (cls or ThreadPoolExecutor)(max_workers, **options)
    go = threading.Event()
    futures = [pool.submit(go.wait) for _ in range(max_workers)]
    go.set()
    wait(futures)
    if hasattr(pool, "_idle_semaphore"):
        wait_for(lambda: get_value(pool._idle_semaphore) >= max_workers, "all workers are idle")
    return pool


def get_value(semaphore):
    return getattr(semaphore, "_value", None) or getattr(semaphore, "_Semaphore__value", 0)


class Busy(object):
    """A pool whose only worker is busy until ``go`` is set, and which has the futures of three more tasks in its queue."""

    def __init__(self, task=int):
        self.pool = ThreadPoolExecutor(1)
        self.go = threading.Event()
        begun = threading.Event()
        self.running = self.pool.submit(lambda: begun.set() or self.go.wait())
        begun.wait()
        self.queued = [self.pool.submit(task) for _ in range(3)]

    def finish(self):
        self.go.set()
        for future in self.queued:
            future.result()
        self.pool.shutdown()


class Holder(object):
    """Context manager: inside, another thread holds ``lock``."""

    def __init__(self, lock):
        self._lock = lock
        self._held, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold)

    def _hold(self):
        with self._lock:
            self._held.set()
            self._over.wait()

    def __enter__(self):
        self._thread.start()
        self._held.wait()

    def __exit__(self, *exc_info):
        self._over.set()
        self._thread.join()


def does_nothing(pool):
    """Return what is wrong with ``pool``; None if it works."""
    answer = pool.submit(abs, -3).result()
    return None if answer == 3 else "the pool says %r" % answer


def ends_otherwise(futures):
    """Return how one of ``futures``, which waited in a queue, does not end as promised; None if all do."""
    for future in futures:
        if not future.done() or future.cancelled() or future.running():
            return "not done"
        if _pools.LEFT_IN_PARENT not in str(error_of(RuntimeError, future.result)):
            return "another error"
        if not isinstance(future.exception(), RuntimeError):
            return "exception() says something else"
    if wait(futures).not_done or len(list(as_completed(futures))) != len(futures):
        return "wait() or as_completed() knows nothing of it"
    return None


# A pool gets workers


@pytest.mark.parametrize("used", [1, 3])
@in_child
def test_pool_gets_up_to_max_workers(used):
    pool = used_pool(3)
    if used == 1:
        pool = ThreadPoolExecutor(3)
        pool.submit(int).result()
    safethread_patch.install()

    def look():
        for _ in range(2):
            go, begun = threading.Event(), []
            futures = [pool.submit(lambda: begun.append(1) or go.wait()) for _ in range(9)]
            wait_for(lambda: len(begun) == 3, "three workers are at work")
            go.set()
            wait(futures)
        return None if len(pool._threads) == 3 == threading.active_count() - 1 else "%d workers" % len(pool._threads)

    nothing_seen(in_forked_child(look))
    nothing_seen(in_grandchild(look))
    nothing_seen(in_forked_child(lambda: look() or in_forked_child(look)))
    assert does_nothing(pool) is None


@in_child
def test_new_workers_have_the_prefix_and_call_the_initializer():
    safethread_patch.install()
    calls, options = [], {}
    if hasattr(module, "BrokenThreadPool"):  # 3.7
        options = {"initializer": calls.append, "initargs": ("called",)}
    pool = used_pool(2, thread_name_prefix="mine", **options)
    assert len(calls) in (0, 2)

    def look():
        del calls[:]
        names = set(pool.submit(lambda: threading.current_thread().name).result() for _ in range(9))
        if not names <= set(["mine_0", "mine_1"]):
            return str(names)
        return None if len(calls) == len(pool._threads) * len(options) / 2 else str(calls)

    nothing_seen(in_forked_child(look))


@in_child
def test_pool_that_was_not_used_and_one_that_was_shut_down():
    safethread_patch.install()
    unused, shut_down = ThreadPoolExecutor(1), used_pool(2)
    shut_down.shutdown()

    def look():
        error_of(RuntimeError, shut_down.submit, int)
        shut_down.shutdown()
        return does_nothing(unused)

    nothing_seen(in_forked_child(look))


@in_child
def test_map_and_shutdown_in_the_child():
    safethread_patch.install()
    pool = used_pool(2)

    def look():
        with pool:
            assert list(pool.map(abs, [-1, -2, -3])) == [1, 2, 3]
        error_of(RuntimeError, pool.submit, int)
        return "the workers are alive" if threading.active_count() > 1 else None

    nothing_seen(in_forked_child(lambda: pool.shutdown()))
    nothing_seen(in_forked_child(look))


# Work that waits at the fork


@in_child
def test_work_of_the_parent_is_not_done_in_the_child():
    safethread_patch.install()
    done_in = []
    busy = Busy(lambda: done_in.append(os.getpid()))

    def look():
        wait([busy.pool.submit(int) for _ in range(9)])
        busy.pool.shutdown()
        return "done in the child" if done_in else None

    nothing_seen(in_forked_child(look))
    busy.finish()
    assert done_in == [os.getpid()] * 3


@pytest.mark.parametrize("used", ["before", "not"])
@in_child
def test_future_of_queued_work_ends(used):
    safethread_patch.install()
    busy = Busy()
    called = []
    busy.queued[0].add_done_callback(called.append)
    cancelled = busy.pool.submit(int)
    cancelled.cancel()
    pending = as_completed(busy.queued + [used_pool(1).submit(int)])
    next(pending)

    def look():
        if used == "before":
            does_nothing(busy.pool)
        if len(list(pending)) != 3:
            return "as_completed() before the fork knows nothing of it"
        if called or not cancelled.cancelled():
            return "a callback was called, or what was cancelled is not"
        return ends_otherwise(busy.queued)

    nothing_seen(in_forked_child(look))
    nothing_seen(in_grandchild(look))
    busy.finish()
    assert called


@in_child
def test_future_whose_lock_another_thread_holds():
    safethread_patch.install()
    busy = Busy()
    with Holder(busy.queued[1]._condition):
        nothing_seen(in_forked_child(lambda: ends_otherwise(busy.queued)))
    busy.finish()


@in_child
def test_future_of_a_pool_that_is_not_listed():
    # pools whose workers do not keep the process from its end, as many have
    safethread_patch.install()
    busy = Busy()
    module._threads_queues.clear()
    nothing_seen(in_forked_child(lambda: does_nothing(busy.pool) or ends_otherwise(busy.queued)))
    busy.finish()


# a whole program: it imports concurrent.futures first
HOOKS_OF_THE_MODULE_ARE_OLDER = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import concurrent.futures.thread
import safethread_patch
safethread_patch.install()
import test_pools
busy = test_pools.Busy()
print(test_pools.in_forked_child(lambda: test_pools.ends_otherwise(busy.queued)))
busy.finish()
"""


def test_hooks_of_concurrent_futures_are_older():
    here = os.path.dirname(os.path.abspath(__file__))
    ended = run([sys.executable, "-W", "ignore", "-c", HOOKS_OF_THE_MODULE_ARE_OLDER], cwd=here)
    assert (ended.status, ended.out) == (0, "None\n"), ended


class Resource(object):
    def __init__(self, path):
        self.path = path

    def __call__(self):
        pass

    def __del__(self):
        with open(self.path, "a") as file:
            file.write("deleted in %d\n" % os.getpid())


def keep_resource(path):
    import gc

    safethread_patch.install()
    busy = Busy()
    last = busy.pool.submit(Resource(path))
    unused = ThreadPoolExecutor(1)
    unused._work_queue.put(Resource(path))  # as in the middle of the first submit(), when no worker holds the queue

    def look():
        does_nothing(busy.pool)
        does_nothing(unused)
        busy.pool.shutdown()
        gc.collect()

    nothing_seen(in_forked_child(look))
    assert not os.path.exists(path)
    busy.go.set()
    last.result()


def test_argument_of_the_parents_work_is_not_finalised_in_the_child(tmpdir):
    call_in_child(keep_resource, str(tmpdir.join("deleted")))


# The moment of the fork


@pytest.mark.parametrize("is_used", [False, True])
@in_child
def test_lock_of_the_pool_is_held(is_used):
    # another thread is in submit() or in shutdown()
    safethread_patch.install()
    pool = used_pool(1) if is_used else ThreadPoolExecutor(1)
    with Holder(pool._shutdown_lock):
        nothing_seen(in_forked_child(lambda: does_nothing(pool)))
        nothing_seen(in_grandchild(lambda: does_nothing(pool)))
        nothing_seen(in_forked_child(pool.shutdown))


@in_child
def test_locks_of_queue_and_semaphore_are_held():
    safethread_patch.install()
    pool = used_pool(1)
    queue = pool._work_queue
    locks = [getattr(queue, "mutex", None), getattr(getattr(queue, "_count", None), "_cond", None)]
    locks.append(getattr(getattr(pool, "_idle_semaphore", None), "_cond", None))
    for lock in [lock for lock in locks if lock is not None]:
        with Holder(lock):
            nothing_seen(in_forked_child(lambda: does_nothing(pool)))


@pytest.mark.skipif(sys.version_info >= (3, 9), reason="os.fork() waits for the end of submit()")
@in_child
def test_start_of_the_first_worker_is_in_flight():
    safethread_patch.install()
    pool, made = ThreadPoolExecutor(1), []

    class Held(HeldBootstrap):
        def __init__(self, *args, **kwargs):
            HeldBootstrap.__init__(self, *args, **kwargs)
            made.append(self)

    class Threading(object):
        Thread = Held

        def __getattr__(self, name):
            return getattr(threading, name)

    module.threading = Threading()
    submitter = threading.Thread(target=pool.submit, args=(int,))
    submitter.start()
    wait_for(lambda: made, "submit() makes a worker")
    made[0].reached.wait()
    module.threading = threading
    nothing_seen(in_forked_child(lambda: does_nothing(pool)))
    made[0].go.set()
    submitter.join()


@in_child
def test_fork_in_the_work_of_a_worker():
    safethread_patch.install()
    pool = used_pool(1)
    nothing_seen(pool.submit(in_forked_child, lambda: does_nothing(pool)).result())


@in_child
def test_child_of_a_worker_returns_to_its_queue():
    # there it waits for more work, and counts as idle
    import logging

    class Handler(logging.Handler):
        def emit(self, record):
            done.append(record)

    safethread_patch.install()
    pool, pids, done = ThreadPoolExecutor(2), [], []
    logging.getLogger("concurrent.futures").addHandler(Handler())
    read, write = os.pipe()

    def use_pool():
        time.sleep(0.2)  # the worker is back: not needed to pass, but to fail
        for _ in range(2):
            futures = [pool.submit(time.sleep, 0.01) for _ in range(5)]
            wait(futures)
        os.write(write, b"n" if done else b"y")
        os._exit(0)

    def fork():
        is_filled.wait()
        pids.append(os.fork())
        if not pids[0]:
            threading.Thread(target=use_pool).start()
        else:
            go.wait()

    go, is_filled = threading.Event(), threading.Event()
    first = pool.submit(fork)
    queued = [pool.submit(go.wait)] + [pool.submit(done.append, 1) for _ in range(5)]
    is_filled.set()
    assert os.read(read, 1) == b"y"
    os.waitpid(pids[0], 0)
    go.set()
    wait(queued + [first])
    assert len(done) == 5


@pytest.mark.parametrize("forker", ["a worker", "the main thread"])
@in_child
def test_multiprocessing(forker):
    # gh-88110: a process that a worker made ended with status 1
    import multiprocessing

    safethread_patch.install()
    context = multiprocessing if PY2 else multiprocessing.get_context("fork")
    pool = used_pool(1)

    def status():
        process = context.Process(target=does_nothing, args=(pool,))
        process.start()
        process.join(10)
        return process.exitcode

    assert (pool.submit(status).result() if forker == "a worker" else status()) == 0


@pytest.mark.parametrize("is_used", [False, True])
@in_child
def test_exit_of_the_child(is_used):
    safethread_patch.install()
    busy = Busy()
    pid = os.fork()
    if not pid:
        if is_used:
            does_nothing(busy.pool)
        sys.exit(7)
    status = []
    wait_for(lambda: status.append(os.waitpid(pid, os.WNOHANG)) or status[-1][0], "the child ends")
    assert status[-1][1] == 7 << 8
    busy.finish()


@pytest.mark.parametrize("is_used", [False, True])
@pytest.mark.skipif(PY2 or PYPY, reason="no ctypes.PyDLL(None).fork() that the interpreter survives")
@in_child
def test_child_that_c_code_has_forked(is_used):
    # it is repaired at the first start: here that of the worker for what is submitted in the child
    import ctypes

    safethread_patch.install()
    pool = ThreadPoolExecutor(2)
    go = threading.Event()
    if is_used:
        running = pool.submit(go.wait)
    begun, go_on = [], threading.Event()
    pid = ctypes.PyDLL(None).fork()
    if not pid:
        futures = [pool.submit(lambda: begun.append(1) or go_on.wait()) for _ in range(4)]
        wait_for(lambda: len(begun) == 2, "two workers are at work")
        go_on.set()
        for future in futures:
            future.result()
        pool.shutdown()
        os._exit(7 if threading.active_count() == 1 and len(pool._threads) == 2 else 8)
    assert os.waitpid(pid, 0)[1] == 7 << 8
    go.set()
    if is_used:
        running.result()


@pytest.mark.skipif(PY2 or PYPY, reason="no ctypes.PyDLL(None).fork() that the interpreter survives")
@in_child
def test_lock_of_the_module_in_a_child_that_c_code_has_forked():
    import ctypes

    if not hasattr(module, "_global_shutdown_lock"):
        return
    safethread_patch.install()
    pool = ThreadPoolExecutor(1)
    with Holder(module._global_shutdown_lock):
        pid = ctypes.PyDLL(None).fork()
        if not pid:
            threading.Thread(target=int).start()
            os._exit(7 if does_nothing(pool) is None else 8)
        assert os.waitpid(pid, 0)[1] == 7 << 8


@pytest.mark.parametrize("waits_in", ["result", "wait"])
@in_child
def test_signal_handler_forks_while_the_future_is_waited_for(waits_in):
    import signal

    safethread_patch.install()
    busy, pids = Busy(), []
    signal.signal(signal.SIGUSR1, lambda *_: pids.append(os.fork()) or pids[0] and busy.go.set())
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    if waits_in == "wait":
        wait(busy.queued, timeout=60)
    error = None
    try:
        busy.queued[0].result(60)  # Python 2 runs no signal handler while it waits without a timeout
    except RuntimeError as raised:
        error = raised
    if not pids[0]:
        os._exit(7 if error is not None else 8)
    assert os.waitpid(pids[0], 0)[1] == 7 << 8
    busy.finish()


@pytest.mark.skipif(PYPY, reason="its trace functions see other events")
@pytest.mark.parametrize("error", ["KeyboardInterrupt", "RuntimeError"])
def test_fault_at_each_moment(error):
    faults, seen = call_in_child(sweep, error, deadline=200)
    assert faults > 5 and not seen, (faults, seen)  # 3.12.1 traces few opcodes


def sweep(error):
    """Put a fault before each STEP-th event of the patch's part; return their number, and a list of what was seen then."""
    safethread_patch.install()
    busy = Busy()
    fault = Fault("patch", error)

    def look():
        sys.settrace(None)
        return "%d %s" % (fault.events, does_nothing(busy.pool) or ends_otherwise(busy.queued))

    faults, seen = 0, []
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # each of them is reported there
    while True:
        fault.at += STEP
        sys.settrace(fault.trace)
        answer = in_forked_child(look)
        sys.settrace(None)
        events, _, what = answer.partition(" ")
        if events.isdigit() and int(events) < fault.at:
            busy.finish()
            return faults, sorted(set(seen))
        faults += 1
        if what != "None":
            seen.append("at %d: %s" % (fault.at, answer))


class Submitter(Worker):
    """Submits to an old pool, and sometimes to a new one, without pause."""

    def __init__(self, pool):
        Worker.__init__(self)
        self.pool = pool
        self.latest = []

    def task(self):
        if self.rounds % 10 == 0:
            with ThreadPoolExecutor(2) as pool:
                self.latest = [pool, pool.submit(int)]
        self.latest = [self.pool] + [self.pool.submit(int) for _ in range(3)]
        self.latest[-1].result()


def storm_of_submits(seconds):
    safethread_patch.install()
    pool = used_pool(2)
    submitters = [Submitter(pool), Submitter(pool), Submitter(ThreadPoolExecutor(1))]

    def look():
        for submitter in submitters:
            latest = submitter.latest
            if latest and not latest[0]._shutdown:
                does_nothing(latest[0])
        return does_nothing(pool) or pool.shutdown()

    return storm(submitters, look, seconds)


def test_forks_beside_threads_that_submit_without_pause():
    counts = call_in_child(storm_of_submits, 5, deadline=90)
    check_counts(counts)
    assert counts["Submitter"] > 20, counts


# Pools of others


class Unhashable(ThreadPoolExecutor if _facts.POOLS else object):
    """A pool with a submit() and a queue of its own."""

    __hash__ = None

    def __init__(self, max_workers):
        ThreadPoolExecutor.__init__(self, max_workers)
        self._work_queue = queue_module().LifoQueue(maxsize=5)

    def __eq__(self, other):
        raise RuntimeError

    def submit(self, function, *args):
        return ThreadPoolExecutor.submit(self, function, *args)


def queue_module():
    return __import__("Queue" if PY2 else "queue")


@in_child
def test_subclass_and_patched_submit():
    safethread_patch.install()
    pool, calls = used_pool(2, Unhashable), []
    original = vars(ThreadPoolExecutor)["submit"]

    def submit(self, function, *args):
        calls.append(1)
        return original(self, function, *args)

    ThreadPoolExecutor.submit = submit

    def look():
        does_nothing(pool)
        if vars(ThreadPoolExecutor)["submit"] is not submit or calls != [1]:
            return "the other patch is not as it was"
        return None if pool._work_queue.maxsize == 5 else "the queue is another"

    nothing_seen(in_forked_child(look))


@in_child
def test_queue_whose_class_needs_arguments():
    safethread_patch.install()
    base = queue_module().LifoQueue

    class Queue(base):
        def __init__(self, name):
            base.__init__(self)

    def new_pool():
        pool = ThreadPoolExecutor(1)
        pool._work_queue = Queue("a name")
        return pool

    busy, unused = Busy(), new_pool()
    pool = new_pool()
    pool.submit(int).result()

    def look():
        future = pool.submit(abs, -3)
        assert future.result() == 3  # its new worker has the old queue
        return does_nothing(unused) or does_nothing(new_pool()) or ends_otherwise(busy.queued)

    nothing_seen(in_forked_child(look))
    busy.finish()


@pytest.mark.skipif(sys.version_info < (3, 7), reason="3.7 and later")
@in_child
def test_default_executor_of_asyncio():
    import asyncio

    safethread_patch.install()
    loop = asyncio.new_event_loop()
    for _ in range(2):
        loop.run_until_complete(loop.run_in_executor(None, int))

    def look():
        assert loop.run_until_complete(loop.run_in_executor(None, abs, -3)) == 3
        if hasattr(asyncio, "to_thread"):
            assert loop.run_until_complete(asyncio.to_thread(abs, -3)) == 3
        loop.close()

    nothing_seen(in_forked_child(look))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="3.14 and later")
@in_child
def test_pool_of_interpreters_that_was_not_used():
    # one that was used makes os.fork() itself crash in the child, on stock as well
    from concurrent.futures import InterpreterPoolExecutor

    safethread_patch.install()
    pool = InterpreterPoolExecutor(1)
    with Holder(pool._shutdown_lock):
        nothing_seen(in_forked_child(lambda: does_nothing(pool)))


# Nothing is imported or changed for it


NOT_IMPORTED = """
import os, sys
import safethread_patch
safethread_patch.install()
if os.fork(): os.wait()
print("concurrent.futures.thread" in sys.modules)
"""


def test_concurrent_futures_is_not_imported():
    ended = run([sys.executable, "-W", "ignore", "-c", NOT_IMPORTED])
    assert (ended.status, ended.out) == (0, "False\nFalse\n"), ended


def snapshot():
    return dict(vars(ThreadPoolExecutor)), dict((name, value) for name, value in vars(module).items() if name != "__builtins__")


@in_child
def test_parent_is_as_before_and_uninstall_puts_back_in_a_child():
    before = snapshot()
    safethread_patch.install()
    pool = used_pool(1)
    nothing_seen(in_forked_child(lambda: None))
    assert snapshot() == before

    def look():
        does_nothing(pool)
        if hasattr(ThreadPoolExecutor, "_shutdown_lock") or snapshot() == before:
            return "not patched as expected"
        if safethread_patch.uninstall() is not True or snapshot() != before:
            return "not as it was"
        ThreadPoolExecutor(1).submit(int).result()
        return does_nothing(pool)

    nothing_seen(in_forked_child(look))
    nothing_seen(in_grandchild(look))
    safethread_patch.uninstall()
    nothing_seen(in_forked_child(lambda: "patched" if snapshot() != before else None))


def fork_with_a_stand_in():
    sys.modules[_pools.MODULE] = object()
    safethread_patch.install()
    nothing_seen(in_forked_child(lambda: None if threading.Thread(target=int).start() is None else "no start"))


def test_stand_in_for_the_module():
    ended = start_in_child(fork_with_a_stand_in)
    assert (ended.status, ended.out, ended.err) == (0, "done None\n", ""), ended


@in_child
def test_pool_that_is_not_initialised():
    safethread_patch.install()
    pool = ThreadPoolExecutor.__new__(ThreadPoolExecutor)

    def look():
        error = error_of(AttributeError, pool.submit, int)
        return None if "_shutdown_lock" in str(error) else str(error)

    nothing_seen(in_forked_child(look))
