"""The state of the patch: the tables of the starts in flight, and whether the patch is active.

The steps of one start, and what the tables hold after each of them:

=== ==================================================  ==========  ============  ========  ============================
 #  step                                                by          claims        registry  the Thread is
=== ==================================================  ==========  ============  ========  ============================
 1  start() enters the claim                            starter     claim         none      not started
 2  the stock start() enters the Thread into _limbo     starter     claim         _limbo    not started
 3  the new thread sets its ident                       new thread  claim         _limbo    not started
 4  the new thread sets the started event               new thread  claim         _limbo    started, alive
 5  the stock start() returns; start() looks at _limbo  starter     claim         _limbo    started, alive
 6  start() enters a wakeup lock, and waits for it      starter     claim, lock   _limbo    started, alive
 7  the new thread moves from _limbo to _active         new thread  claim, lock   _active   registered
 8  run() releases the wakeup lock                      new thread  claim, lock   _active   registered
 9  start() removes the lock, then the claim            starter     none          _active   registered
10  run() is over, the new thread leaves _active        new thread  none          none      stopped
=== ==================================================  ==========  ============  ========  ============================

The steps of the starter and those of the new thread run side by side. If 7 comes before 5, then 6 and 8 are skipped. 10 may
come before 5, or before 9. On Python 2 the wakeup lock is entered between 1 and 2, see _py2.

A fork after step 1, 2 or 3 makes the Thread never started in the child, a fork after step 4 or later makes it stopped.

What holds at every moment:

- A Thread has one claim at most. ``claims.setdefault()`` decides between two starts. Only the start that entered the
  claim removes it, so that it may look and then delete. There is one exception: a Thread that calls ``__init__`` and
  start() within its own run() takes over the claim of its first start.
- A lock in ``wakeup_locks`` was acquired before it was entered. Any thread may release it, only the starter removes it.
- ``threading._limbo`` decides, not the tables: a released lock means "look again", never "registered".
- When no start() runs, ``claims``, ``wakeup_locks`` and ``claimed_threads`` are empty.
- A forked child has tables of its own, from its repair on.
- No table has a lock. Each access is a single operation of a dict with keys of type int, which is atomic. The accesses are
  written inline, because a signal handler may run wherever a Python function is called.
"""


class State(object):
    """What one process knows about its starts. A free-threaded child replaces the tables, see _facts.FREE_THREADED."""

    def __init__(self):
        #: True from install() to uninstall(). The replacements call the original, and do nothing else, while False.
        self.is_active = False

        #: ``id(thread): (thread, ident of the starter, [what tells whether the new thread is over])``. The key is the id,
        #: because a subclass may be unhashable, and then fails as on stock. The list is empty until the new thread is made,
        #: see _new_thread.is_over().
        self.claims = {}

        #: ``id(thread): the lock whose release wakes the starter of the thread``.
        self.wakeup_locks = {}

        #: ``id(thread): thread`` for each claim, on free-threaded builds only. A child cannot read ``claims`` there,
        #: which may be locked. It can read this table: objects with weak references are read without the lock.
        self.claimed_threads = {}

        #: True once _fork.before() has noted something that is worth a look in the child.
        self.has_notes = False

        #: What was noted of the fork that made this process, while an at-fork hook older than the patch's forks in it.
        self.outer_fork = None

        #: ``(thread, its end mark)`` of those that at-fork hooks older than the patch's have started in this process.
        self.early_threads = []

        #: True in a child from its first start() to the patch's own at-fork hook, if the start() comes first.
        self.is_before_hook = False

        #: True in parent and child once a fork may have marked Threads as stopped that were never started. start()
        #: then undoes that. Stays False where the interpreter does not do so, see _facts.CHILD_STOPS_UNSTARTED.
        self.has_forked = False

        #: The process that install() patched, or that was repaired, and the lock of its registry. A process with another
        #: pid is a child that is not repaired yet.
        self.pid = None
        self.limbo_lock = None


#: The one instance. Its attributes are replaced, never the object: each replacement keeps a reference to it.
state = State()


def call_original(*args):
    """Call the function that was replaced.

    Each function that _ledger.put() puts in place is a copy with globals of its own, in which this name is the
    function that it replaced. Only the template of such a function sees this one.

    Raises RuntimeError, because a template is never called itself.
    """
    raise RuntimeError("call_original() was called in a template: only what _ledger.put() puts in place has an original")


def wake(lock):
    """Release a wakeup lock, unless another thread has done so."""
    try:
        lock.release()
    except Exception:
        pass
