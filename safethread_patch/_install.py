"""Puts the patch in place and takes it out: the order, and the lock. The promises are in __init__.py."""
import os
import sys
import threading
import warnings
from contextlib import contextmanager

from safethread_patch import (
    SafeThreadWarning,
    UnsupportedInterpreter,
    _announce,
    _facts,
    _fork,
    _ledger,
    _new_thread,
    _pools,
    _start,
    _threads,
    _uwsgi,
)
from safethread_patch._state import state

if _facts.FORK and not _facts.AT_FORK_HOOKS:
    from safethread_patch import _fork_before_37
if _facts.JOIN_TAKES_LOCK:
    from safethread_patch import _join_before_313
if _facts.PY2:
    from safethread_patch import _py2

#: The ledger's entries: what was replaced and has not been put back.
_entries = []

#: This module, in the copies of the package that the start-up helper has made for a threading that was imported anew.
copies = []

#: The open contexts of installed(), if the first of them has installed the patch.
_contexts = []

#: Whether the at-fork hooks are registered. They cannot be unregistered.
_is_hook_registered = False

#: A lock for each process, by pid: a child may be forked while another thread is in install().
_locks = {}


def _lock():
    return _locks.setdefault(os.getpid(), threading.Lock())


def install(uses_wrapt=True):
    """``uses_wrapt``: False for automatic loading, which is in the middle of an import of what wrapt may need."""
    _check_interpreter()
    if uses_wrapt:
        _ledger.prepare()  # not while the lock is held: on Python 2 another thread may call install() from within an import
    with _lock():
        return _install()


def uninstall():
    with _lock():
        was_there = state.is_active or bool(_entries)
        in_the_way = _uninstall()
    _warn(in_the_way)
    return was_there and not in_the_way


def is_installed():
    return state.is_active


@contextmanager
def installed():
    _check_interpreter()
    _ledger.prepare()
    context = object()
    with _lock():
        if _install() or _contexts:
            _contexts.append(context)
    try:
        yield
    finally:
        in_the_way = []
        with _lock():
            if context in _contexts:
                _contexts.remove(context)
                if not _contexts:
                    in_the_way = _uninstall()
        _warn(in_the_way)


def repair_child():
    return _fork.repair_child()


def status():
    if not _facts.FORK:
        fork = None
    elif _facts.AT_FORK_HOOKS:
        fork = "os.register_at_fork"
    else:
        fork = "threading._after_fork"
    return {
        "interpreter": _facts.interpreter(),
        "installed": is_installed(),
        "fork": fork,
        "defects": [defect.id for defect in _facts.DEFECTS if defect.here],
        "others": _others(),
    }


def _check_interpreter():
    missing = _threads.missing_from_threading()
    if missing:
        raise UnsupportedInterpreter(  # [versions]
            "install() found no %s in %s %s. Nothing was changed. safethread_patch knows CPython 2.6, 2.7 and "
            "3.3 to 3.15, and PyPy; look for a newer version of it."
            % (", ".join(missing), _facts.interpreter()["implementation"], _facts.interpreter()["version"])
        )


def _owner(name):
    # after gevent.monkey.patch_all() threading.Thread is a subclass that does not define start
    return next(cls for cls in threading.Thread.__mro__ if name in vars(cls))


def _install():
    global _is_hook_registered
    if state.is_active:
        _uwsgi.attach()
        return False
    _ledger.resolve_lazy_imports(globals())
    _uninstall()  # what a later patch kept in place may be free by now
    try:
        if _facts.FORK and not _facts.AT_FORK_HOOKS:
            _put(threading, "_after_fork", _fork_before_37.after_fork)
            if _facts.CHILD_FORGETS_ENDED:
                _put(_owner("join"), "join", _fork_before_37.join)
        if _facts.PY2:
            if __debug__:  # under -O nobody calls it
                _put(threading.Thread, "_note", _py2._note)
            _put(_owner("_Thread__stop"), "_Thread__stop", _py2.__stop)
        if _facts.FORK and hasattr(threading, "_DeleteDummyThreadOnDel"):
            _put(threading._DeleteDummyThreadOnDel, "__del__", _fork.__del__)
        if _facts.JOIN_TAKES_LOCK:
            for name in ("_stop", "_wait_for_tstate_lock"):
                _put(_owner(name), name, getattr(_join_before_313, name))
        _put(_owner("run"), "run", _announce.run)
        if not _facts.PY2:
            _put_over_builtin(threading, _new_thread.NAME, getattr(_new_thread, _new_thread.NAME))
        elif _facts.COUNTS_REFERENCES:
            _put_over_builtin(threading, _new_thread.NAME, _py2._start_new_thread)
        _put(_owner("start"), "start", _start.start)
        if _facts.FORK and _facts.AT_FORK_HOOKS and not _is_hook_registered:
            os.register_at_fork(
                before=_fork.before, after_in_parent=_fork.after_in_parent, after_in_child=_fork.after_in_child
            )
            _pools.comes_after_pools = _pools.MODULE in sys.modules
            os.register_at_fork(after_in_child=_fork.after_in_child)  # does what a signal kept the first one from
            _is_hook_registered = True
        for copy in copies:
            copy._install()
    except BaseException:
        _uninstall()
        raise
    if _facts.FORK and _facts.CHILD_STOPS_UNSTARTED:
        _threads.undo_stop_of_all()
    _threads.renew_native_ids()
    _fork.enter_process()
    state.is_active = True
    _uwsgi.attach()
    return True


def _put(owner, name, template):
    _ledger.put(_entries, owner, name, template)


def _put_over_builtin(owner, name, template):
    """As _put(), unless another tool, gevent for one, has put something there that may not make a thread."""
    if type(getattr(owner, name)) is type(len):
        _put(owner, name, template)


def _uninstall():
    """Take out every replacement that nobody patched over; return what is in the way of the others, in words."""
    state.is_active = False
    del _contexts[:]
    _entries.extend(_pools.take_entries())
    # The latest first: where this patch is over another tool's, and that over this patch, each takes out what it put in.
    # Twice, because the other tool may have taken one out already, when it undid its own.
    for _ in range(2):
        _entries[:] = reversed([entry for entry in reversed(_entries) if not _ledger.take_out(entry)])
    _start.wake_all()
    _uwsgi.detach()
    in_the_way = ["%s.%s to %s" % (entry.owner.__name__, entry.name, _describe(entry.current())) for entry in _entries]
    return sum([copy._uninstall() for copy in copies], in_the_way)


def _warn(in_the_way):
    if in_the_way:
        warnings.warn(
            "uninstall() left %s. safethread_patch is switched off, but stays under it as a pass-through. "
            "Undo the later patch, then call uninstall() again." % "; ".join(in_the_way),
            SafeThreadWarning,
            stacklevel=4,
        )


def _others():
    others = {}
    for name in ("start", "run"):
        function = vars(_owner(name))[name]
        for entry in reversed(_entries):
            if function is entry.replacement:  # not ==: a wrapt wrapper equals what it wraps
                function = entry.original
        if not _ledger.is_stock(function):
            others["Thread." + name] = _describe(function)
    return others


def _describe(function):
    code = getattr(getattr(function, "_self_wrapper", function), "__code__", None)
    name = "%s.%s" % (getattr(function, "__module__", "?"), getattr(function, "__name__", repr(function)))
    if code is None:
        return "%s (%s)" % (name, type(function).__name__)
    return "%s (%s:%d)" % (name, code.co_filename, code.co_firstlineno)
