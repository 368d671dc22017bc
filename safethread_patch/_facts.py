"""What this interpreter can do and which defects it has: the only reader of sys.version_info.

But for the start-up helper, which ``enable`` copies and which has to work alone.
"""
import os
import sys
import threading
from collections import namedtuple

VERSION = sys.version_info[:3]

PY2 = VERSION < (3,)

#: Windows, WASI and some embedders have none: then only the start side is at work.
FORK = hasattr(os, "fork")

# [versions] What is named here, down to DEFECTS, and missing_from_threading().

#: 3.7+. Earlier interpreters call ``threading._after_fork`` by name instead.
AT_FORK_HOOKS = hasattr(os, "register_at_fork")

#: PEP 829: site reads NAME.start, instead of the import lines of NAME.pth.
STARTUP_FILES = VERSION >= (3, 15)

#: Then every list, dict and closure cell has a lock, which may be handed over to a thread that has waited
#: for it long. A fork in that moment leaves it locked in the child, by a thread that is gone.
FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()

#: What a second start() is told.
STARTED_TWICE = "thread already started" if VERSION < (2, 7) else "threads can only be started once"

#: CPython issue 18418 made the child stop every Thread there is, those never started too;
#: gh-134381 ended it.
CHILD_STOPS_UNSTARTED = (3, 3, 3) <= VERSION < (3, 13, 4)

#: All of Python 2, and 3.3 before issue 18418: a child knows only the Threads in the registry, and gives no new
#: locks to one that had ended while another thread was in its join().
CHILD_FORGETS_ENDED = VERSION < (3, 3, 3)

#: CPython issue 14308: threading's part in the child fails at the first _DummyThread, which has deleted its lock.
#: 2.6 does without that lock.
CHILD_FAILS_AT_DUMMIES = (2, 7) <= VERSION < (2, 7, 4)


def _child_keeps_native_id():
    # gh-132542, asked of the code and not of the version: distributions take patches back.
    renew = getattr(threading.Thread, "_set_native_id", None)
    if renew is None:
        return False
    after_fork = getattr(threading.Thread, "_after_fork", None)  # 3.13+
    return "_set_native_id" not in getattr(getattr(after_fork, "__code__", None), "co_names", ())


CHILD_KEEPS_NATIVE_ID = _child_keeps_native_id()

Defect = namedtuple("Defect", "id title here healed_upstream")

_ZOMBIES = VERSION < (2, 7, 6) or (3,) <= VERSION < (3, 3, 3)

#: Every defect that the patch heals. ``here``: does this interpreter have it.
DEFECTS = (
    Defect(
        "unregistered-start",
        "start() returns before the thread is registered",
        True,
        None,
    ),
    Defect(
        "zombie-after-fork",
        "alive for ever in a child forked right after start()",
        FORK and _ZOMBIES,
        "2.7.6, 3.3.3 (issue 18418)",
    ),
    Defect(
        "zombie-fork-during-start",
        "alive for ever in a child forked while another thread starts it",
        FORK and _ZOMBIES,
        "2.7.6, 3.3.3 (issue 18418)",
    ),
    Defect(
        "unstarted-after-fork",
        "made before the fork, started in the child: dead while it runs, or refused",
        FORK and CHILD_STOPS_UNSTARTED,
        "3.13.4 (gh-134381)",
    ),
    Defect(
        "inflight-after-fork",
        "start in flight at the fork: in the child neither startable nor joinable",
        FORK and not _ZOMBIES,
        None,
    ),
    Defect(
        "double-start",
        "two threads start one Thread: a crash, or both are told that it worked",
        True,
        None,
    ),
    Defect(
        "stale-native-id",
        "native_id in the child is the parent's",
        FORK and CHILD_KEEPS_NATIVE_ID,
        "3.13.4, 3.14 (gh-132542)",
    ),
)


def interpreter():
    """Return what names this interpreter, as a dict of strings."""
    import platform  # here: install() does without it

    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": sys.platform,
        "executable": sys.executable or "",
    }


def missing_from_threading():
    """Return the names that the patch needs and this interpreter's threading lacks."""
    missing = [
        "threading." + name for name in ("_limbo", "_active", "_active_limbo_lock") if not hasattr(threading, name)
    ]
    if PY2:
        private = ["_Thread__started", "_Thread__stopped", "_Thread__block", "_Thread__stop"]
    elif VERSION < (3, 4):
        private = ["_started", "_stopped", "_block"]
    elif VERSION < (3, 13):
        private = ["_started", "_is_stopped", "_tstate_lock"]
    elif VERSION < (3, 14):
        private = ["_started", "_handle"]
    else:
        private = ["_started", "_os_thread_handle"]
    if FORK and not AT_FORK_HOOKS and not hasattr(threading, "_after_fork"):
        missing.append("threading._after_fork")
    if FORK and CHILD_STOPS_UNSTARTED and not hasattr(threading, "_dangling"):
        missing.append("threading._dangling")
    # asked of the threads that there are, among them the main thread: making one up would shift the names
    # of the program's own, and on Python 2 leave a _DummyThread where a raw thread installs
    threads = list(getattr(threading, "_active", {}).values())
    missing.extend(
        "threading.Thread." + name for name in private if not any(hasattr(thread, name) for thread in threads)
    )
    return missing
