"""What this interpreter can do and which defects it has.

The only reader of sys.version_info in the package, apart from the start-up helper, which ``enable`` copies and which has
to work alone.
"""
import os
import sys
import threading
from collections import namedtuple

VERSION = sys.version_info[:3]

PY2 = VERSION < (3,)

#: Windows, WASI and some embedders have none. Only the start side is at work there.
FORK = hasattr(os, "fork")

# [versions] Everything from here to DEFECTS.

#: 3.7+. Earlier interpreters call ``threading._after_fork`` by name instead.
AT_FORK_HOOKS = hasattr(os, "register_at_fork")

#: PEP 829: site reads NAME.start, instead of the import lines of NAME.pth.
STARTUP_FILES = VERSION >= (3, 15)

#: A build without the GIL. Every list, dict and closure cell has a lock there, which may be handed over to a thread that
#: has waited for it long. A fork in that moment leaves it locked in the child, where that thread does not exist. The build is
#: asked, not whether the GIL is on: the import of an extension switches it on for a moment.
FREE_THREADED = "free-threading build" in sys.version

#: 3.13: the interpreter keeps a handle of each thread that a Thread has started.
HAS_HANDLE = hasattr(threading, "_start_joinable_thread")

#: CPython.
COUNTS_REFERENCES = hasattr(sys, "getrefcount")

#: A new thread ends when it first wants the GIL while the interpreter ends, and its starter waits for it. 3.12 refuses to
#: make one.
START_HANGS_AT_EXIT = COUNTS_REFERENCES and (3, 8) <= VERSION < (3, 12)

#: The message of the RuntimeError that a second start() raises.
STARTED_TWICE = "thread already started" if VERSION < (2, 7) else "threads can only be started once"

#: The child marks every Thread as stopped, also those that were never started. Issue 18418 brought this, gh-134381 ended
#: it.
CHILD_STOPS_UNSTARTED = (3, 3, 3) <= VERSION < (3, 13, 4)

#: All of Python 2, and 3.3 before issue 18418: the child knows only the Threads in the registry, and makes no new locks
#: for one that had ended while another thread was in its join().
CHILD_FORGETS_ENDED = VERSION < (3, 3, 3)

#: Issue 14308: threading's part in the child fails at the first _DummyThread, which has deleted its Condition. 2.6 does
#: not use it there.
CHILD_FAILS_AT_DUMMIES = (2, 7) <= VERSION < (2, 7, 4)


#: join() and is_alive() take the lock that the interpreter releases at the end of the thread. 3.4 to 3.12, until gh-114271.
JOIN_TAKES_LOCK = hasattr(threading.Thread, "_wait_for_tstate_lock")

#: gh-88110: concurrent.futures has an at-fork hook that empties its list of workers in the child.
CHILD_FORGETS_WORKERS = VERSION >= (3, 12, 8)

#: Issue 44422: the lock of the registry is reentrant.
LIMBO_LOCK_IS_REENTRANT = VERSION >= (3, 10)


def _child_keeps_native_id():
    # gh-132542. The code is asked, not the version: distributions backport patches.
    renew = getattr(threading.Thread, "_set_native_id", None)
    if renew is None:
        return False
    after_fork = getattr(threading.Thread, "_after_fork", None)  # 3.13+
    return "_set_native_id" not in getattr(getattr(after_fork, "__code__", None), "co_names", ())


CHILD_KEEPS_NATIVE_ID = _child_keeps_native_id()


def _has_pools():
    if not PY2:
        return True
    import imp  # looks for the backport, and does not import it

    try:
        imp.find_module("futures", [imp.find_module("concurrent")[1]])
    except ImportError:
        return False
    return True


#: There is a ThreadPoolExecutor.
POOLS = _has_pools()

Defect = namedtuple("Defect", "id title here healed_upstream")

_ZOMBIES = VERSION < (2, 7, 6) or (3,) <= VERSION < (3, 3, 3)

#: Every defect that the patch heals. ``here``: whether this interpreter has it.
DEFECTS = (
    Defect(
        "unregistered-start",
        "start() returns before the thread is registered",
        True,
        None,
    ),
    Defect(
        "zombie-after-fork",
        "forked right after start(): the thread stays alive in the child",
        FORK and _ZOMBIES,
        "2.7.6, 3.3.3 (issue 18418)",
    ),
    Defect(
        "zombie-fork-during-start",
        "forked while another thread is in start(): the thread stays alive in the child",
        FORK and _ZOMBIES,
        "2.7.6, 3.3.3 (issue 18418)",
    ),
    Defect(
        "unstarted-after-fork",
        "made before the fork, started in the child: not alive while it runs, or start() refuses",
        FORK and CHILD_STOPS_UNSTARTED,
        "3.13.4 (gh-134381)",
    ),
    Defect(
        "inflight-after-fork",
        "start in flight at the fork: the child can neither start nor join the Thread",
        FORK and not _ZOMBIES,
        None,
    ),
    Defect(
        "spoiled-child",
        "a signal, an odd Thread or a replaced lock ends threading's part in the child half-way",
        FORK,
        None,
    ),
    Defect(
        "dead-pool-after-fork",
        "an executor that was used before the fork waits in the child for workers that stayed in the parent",
        FORK and POOLS,
        None,
    ),
    Defect(
        "double-start",
        "two threads start one Thread: a crash, or both starts succeed",
        True,
        None,
    ),
    Defect(
        "hung-start",
        "the new thread dies before it says that it runs: start() hangs",
        True,
        None,
    ),
    Defect(
        "refused-start",
        "the system refuses a thread: the Thread can never be started again",
        HAS_HANDLE,
        None,
    ),
    Defect(
        "stale-native-id",
        "native_id in the child is the parent's",
        FORK and CHILD_KEEPS_NATIVE_ID,
        "3.13.4, 3.14 (gh-132542)",
    ),
    Defect(
        "interrupted-join",
        "Ctrl-C in join(): not alive while it runs, or alive when it is over, and join() hangs",
        JOIN_TAKES_LOCK,
        "3.13 (gh-114271)",
    ),
)


def interpreter():
    """Return the version, implementation, platform and executable of this interpreter, as a dict of strings."""
    import platform  # not at the top: install() does not need it

    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": sys.platform,
        "executable": sys.executable or "",
    }
