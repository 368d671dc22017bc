"""Executors in a forked child: a ThreadPoolExecutor that had workers in the parent gets new ones when it is next used.

A pool has a set of its workers, and a semaphore that counts the idle ones. In a child they are gone, and the pool waits for
them without end. Each pool is renewed when its ``_shutdown_lock`` is first asked for: submit() and shutdown() take that before
they do anything else, also those of subclasses and under other tools' patches. For that a descriptor of the same name is put
into the class, in the child only.

The at-fork hook cannot renew the pools, because nothing lists them. A pool in whose first submit() another thread was at the
fork, with the lock taken, is known to its owner alone. But the hook ends the futures that wait in a queue: a child may ask for
their results and never use the pool. concurrent.futures lists the queues of all workers.

What the parent has queued stays where it is in the child, and lives as long as the pool: the finalizer of an argument could
delete a file that the parent still needs.
"""
import functools
import gc
import sys
import threading
from os import getpid

from safethread_patch import _facts, _ledger, _threads
from safethread_patch._state import state, wake

#: Looked up in sys.modules, never imported: a program without pools pays nothing.
MODULE = "concurrent.futures.thread"

#: What the future says of work that waited in a queue at the fork.
LEFT_IN_PARENT = (
    "this work waited in the queue of an executor when the process forked: its worker stayed in the parent, which has the "
    "work done. Submit it again if this process needs it as well"
)

#: Whether the at-fork hooks of concurrent.futures are older than those of the patch.
comes_after_pools = False

#: The names of the module, and the class that has the descriptor, in a child.
_names = _patched = None

#: ``(names of the module, ThreadPoolExecutor, the table of all workers)``, or None.
_noted = None

#: Made anew in each child: it marks what this process has renewed, and holds the lock for that.
_process = {}


class Workers(set):
    """The workers of a pool that ``process`` has made or renewed. ``of_parent``: what a renewed pool had before."""

    process = of_parent = None


class NoFuture(object):
    """Takes the place of the future of work that is not done in this process. If a worker is left, it passes over it."""

    def set_running_or_notify_cancel(self):
        return False

    def cancel(self):
        return True

    def set_exception(self, exception):
        pass


_NO_FUTURE = NoFuture()


class ShutdownLock(object):
    """The descriptor that takes the place of each pool's ``_shutdown_lock``, and renews the pool first."""

    def __get__(self, pool, cls=None):
        if pool is None:
            raise AttributeError("type object %r has no attribute '_shutdown_lock'" % cls.__name__)
        attributes = pool.__dict__
        # not in a grandchild that C code has forked, and that is not repaired yet
        if _is_of_parent(attributes) and state.pid == getpid():
            with _process.setdefault("lock", _names["threading"].RLock()):
                if _is_of_parent(attributes):
                    _renew(attributes)
        try:
            return attributes["_shutdown_lock"]
        except KeyError:
            raise AttributeError("%r object has no attribute '_shutdown_lock'" % type(pool).__name__)

    def __set__(self, pool, lock):
        attributes = pool.__dict__
        attributes["_shutdown_lock"] = lock
        if type(attributes.get("_threads")) is set and not attributes["_threads"]:  # it is being made in this process
            attributes["_threads"] = Workers()
            attributes["_threads"].process = _process


_SHUTDOWN_LOCK = ShutdownLock()


def _is_of_parent(attributes):
    """Tell whether the pool with these attributes was neither made nor renewed in this process."""
    workers = attributes.get("_threads")
    return type(workers) is set or type(workers) is Workers and workers.process is not _process


def take_entries():
    """Return the ledger's entries for what is in place, and forget it."""
    global _patched
    owner, _patched = _patched, None
    return [] if owner is None else [_ledger.Entry(owner, "_shutdown_lock", None, _SHUTDOWN_LOCK, True)]


def note():
    """Note the module, if it is imported.

    On a free-threaded build this is called before the fork: another thread may have the lock of sys.modules at the fork.
    """
    global _noted
    module = sys.modules.get(MODULE)
    if module is None:
        _noted = None
        return
    try:
        names = object.__getattribute__(module, "__dict__")  # not vars(), which would load a lazy module
        _noted = names, names["ThreadPoolExecutor"], names["_threads_queues"]
    except (AttributeError, KeyError, TypeError):  # another thread is importing it, or it is a stand-in
        _noted = None


def repair(is_hook=True, starting=None):
    """Let the pools of this process, a forked child, be renewed, and end what waits in their queues. It can be repeated.

    ``is_hook``: an at-fork hook calls this. ``starting``: the Thread that is being started, if start() does.
    """
    global _names, _patched, _process
    try:
        if not _facts.FREE_THREADED or _noted is None:
            note()
        if _noted is None:
            return
        _names, executor, workers = _noted
        has_workers, _process = bool(workers.data), {}
        if _patched is None:
            _ledger.put_new(executor, "_shutdown_lock", _SHUTDOWN_LOCK)
            _patched = executor
    except (AttributeError, TypeError):  # a stand-in
        return
    if has_workers or comes_after_pools or not is_hook:
        _threads.quietly(functools.partial(_repair_workers, is_hook), starting)
        _threads.raise_interrupts()


def _repair_workers(is_hook, starting):
    # The current thread may be a worker that has forked in its work, and returns to its queue. A worker that is being started
    # has its queue already, and what is being submitted is the last in it.
    current = threading._active.get(_threads.low_level.get_ident())
    started_pool, submitted = None, []
    if not is_hook:
        _renew_global_lock()
    if starting is not None:
        started_pool = _pool_of(starting)
        if started_pool is not None:
            submitted = _items_of(started_pool._work_queue)[-1:]
    listed = _names["_threads_queues"].data
    queues = _threads.values_of(listed) if _facts.FREE_THREADED else list(listed.values())
    if not queues and _facts.CHILD_FORGETS_WORKERS:
        queues = _queues_of_dangling_workers()
    for queue in dict(zip(map(id, queues), queues)).values():
        # one in C can be asked without taking a lock, on builds with the GIL
        if _facts.FREE_THREADED or hasattr(queue, "__dict__") or not queue.empty():
            _end_futures(queue, submitted)
            if _is_in_python(queue):  # the end of its pool and of the process put something into it
                _renew_in_place(queue, submitted)
    if started_pool is not None:
        _renew(started_pool.__dict__, True, submitted)
    if getattr(current, _threads.TARGET, None) is _names["_worker"]:
        _names["_threads_queues"].pop(current, None)  # gh-88110: at the exit the current thread would join itself
        pool = _pool_of(current)
        if pool is not None:
            _renew(pool.__dict__, True)


def _pool_of(thread):
    """Return the pool that ``thread`` works for, or None."""
    if getattr(thread, _threads.TARGET, None) is not _names["_worker"]:
        return None
    return getattr(thread, _threads.ARGS)[0]()


def _queues_of_dangling_workers():
    queues = []
    for reference in _contents_of(threading._dangling.data):
        thread = reference()
        if getattr(thread, _threads.TARGET, None) is _names["_worker"]:
            queues += [arg for arg in getattr(thread, _threads.ARGS) if hasattr(arg, "get_nowait")]
    return queues


def _renew_global_lock():
    """Renew the lock of the module, which it does by an at-fork hook of its own, unless the current thread holds it."""
    lock, frame = _names.get("_global_shutdown_lock"), sys._getframe()
    if lock is None:  # before 3.9
        return
    while frame is not None:
        if frame.f_globals is _names:
            return
        frame = frame.f_back
    lock._at_fork_reinit()


def _renew(attributes, is_used=False, submitted=()):
    """Give the pool with these attributes new locks, and let it forget its workers.

    ``is_used``: but for one, the current thread or one that is being started.
    """
    queue, workers = attributes["_work_queue"], Workers()
    _end_futures(queue, submitted)
    if _is_in_python(queue):
        _renew_in_place(queue, submitted)
    elif not is_used:
        new = _new_queue(queue)
        attributes["_work_queue"] = queue if new is None else new
    if "_idle_semaphore" in attributes:  # 3.8
        attributes["_idle_semaphore"] = _names["threading"].Semaphore(0)
    attributes["_shutdown_lock"] = _names["threading"].Lock()
    workers.process, workers.of_parent = _process, (attributes["_threads"], queue)
    attributes["_threads"] = workers  # last: it tells that all is done


def _is_in_python(queue):
    attributes = getattr(queue, "__dict__", ())
    return "queue" in attributes or "_queue" in attributes


def _new_queue(queue):
    """Return a new queue like this one, or None: a class of its own may need arguments."""
    try:
        return queue.__class__()
    except Exception:
        return None


def _renew_in_place(queue, submitted):
    """Give ``queue``, one in Python, new locks, and take out of it all but what is in ``submitted``."""
    kept = [item for item in _items_of(queue) if any(item is other for other in submitted)]
    new = _new_queue(queue)
    if new is None:
        return
    attributes = dict(vars(new), of_parent=dict(vars(queue)))
    attributes.pop("maxsize", None)
    vars(queue).update(attributes)
    for item in kept:
        queue.put(item)


def _items_of(queue):
    """Return what is in ``queue``, without taking its lock."""
    for name in ("queue", "_queue"):  # of one in Python
        if hasattr(queue, name):
            return list(getattr(queue, name))
    items = []
    for referent in gc.get_referents(queue):
        if referent is not type(queue):
            items.extend(referent if type(referent) is list else [referent])
    return items


def _end_futures(queue, submitted):
    """End the futures that wait in ``queue``, but for those of ``submitted``."""
    for item in _items_of(queue):
        if isinstance(item, _names["_WorkItem"]) and not any(item is other for other in submitted):
            if item.future is not _NO_FUTURE:
                _end(item.future)
                item.future = _NO_FUTURE


def _end(future):
    """Let ``future``, whose worker is not in this process, end with an exception.

    Its callbacks are the parent's, which calls them when the work is done there.
    """
    threads, base = _names["threading"], _names["_base"]
    conditions = [future._condition]
    if future._state == base.PENDING:
        future._exception = RuntimeError(LEFT_IN_PARENT)
        for waiter in _contents_of(future._waiters):  # of wait() and as_completed()
            event, waiter.event, waiter.lock = waiter.event, threads.Event(), threads.Lock()
            if event.is_set():
                waiter.event.set()
            waiter.add_exception(future)
            if waiter.event.is_set():
                conditions.append(getattr(event, "_cond", None) or event._Event__cond)
        future._state = base.FINISHED
    future._condition = threads.Condition()
    for condition in conditions:  # the current thread waits there if a signal handler has forked
        waiters = getattr(condition, "_waiters", None) or getattr(condition, "_Condition__waiters", ())
        for lock in _contents_of(waiters):
            wake(lock)


def _contents_of(container):
    # on a free-threaded build its lock may be held
    return gc.get_referents(container) if _facts.FREE_THREADED else list(container)
