"""A patch of threading.Thread: registered when start() returns, and either stopped or never started in a forked child.

>>> import safethread_patch
>>> safethread_patch.install()
True
"""
from __future__ import absolute_import  # or Python 2 notes that the package has no module sys

import sys

# Nothing of the package is imported before it is called: each pytest run imports this one for its plugin, before coverage
# starts. And Python 2.7 has no __getattr__ of modules.

__version__ = "1.0.0"

__all__ = [
    "SafeThreadWarning",
    "UnsupportedInterpreter",
    "install",
    "installed",
    "is_installed",
    "repair_child",
    "status",
    "uninstall",
]


class UnsupportedInterpreter(RuntimeError):
    """This interpreter's ``threading`` lacks something that the patch needs, or the package was compiled; nothing was changed.

    .. versionadded:: 1.0
    """


class SafeThreadWarning(UserWarning):
    """The patch could not be taken out in full, because another tool patched over it.

    .. versionadded:: 1.0
    """


def install():
    """Patch ``threading.Thread`` for the whole process.

    From then on ``Thread.start`` returns once the new thread is registered. Of two threads that start one
    Thread at the same time, one gets RuntimeError. In a forked child, every Thread but the current one is
    either stopped or never started. An exception out of join(), as of Ctrl-C, leaves the Thread as it is: alive
    while it runs, and waited for by other joins and at exit. Running threads, subclasses and third-party
    libraries are covered. May be called at any time, from any thread, and more than once. It is best called
    early, by the application.

    Returns True if this call patched, False if the patch was installed already.

    Raises :exc:`UnsupportedInterpreter` if ``threading`` lacks what the patch needs, or if Nuitka or Cython has
    compiled the package, and ImportError if wrapt is missing; nothing is changed then.

    The wait in start() comes from A. Jesse Jiryu Davis's SafeThread ("Dawn of the Thread", 2013).

    .. versionadded:: 1.0
    """
    from safethread_patch import _install

    return _install.install()


def uninstall():
    """Take the patch out: ``Thread.start``, ``Thread.run`` and all else are the very same functions as before.

    A patch that another tool has put on top is left alone. This one then becomes an inert pass-through under
    it; call uninstall() again when the other one is undone.

    Returns True if everything was put back. Returns False if the patch is not installed, or if a later patch
    is in the way, which a :exc:`SafeThreadWarning` names.

    .. versionadded:: 1.0
    """
    from safethread_patch import _install

    return _install.uninstall()


def is_installed():
    """Return True if the patch is installed.

    .. versionadded:: 1.0
    """
    from safethread_patch import _install

    return _install.is_installed()


def installed():
    """Return a context manager that installs the patch, and uninstalls it at the end.

    Contexts nest, also across threads: the last one to end uninstalls, if the first one has installed.
    Raises what install() raises.

    .. versionadded:: 1.0
    """
    from safethread_patch import _install

    return _install.installed()


def repair_child():
    """Repair this process if C code forked it without Python's at-fork hooks: call it in the child, before all else.

    Then all is as after ``os.fork()``: every Thread but the current one is either stopped or never started. uWSGI's processes
    are repaired by themselves, and the first start() of any other such child does it as well. May be called at any time, from any
    thread, and more than once. Raises nothing.

    Returns True if this call repaired the process, False if there was nothing to repair: hooks did run, or another
    call or start() has repaired it, or the patch is not installed.

    .. versionadded:: 1.1
    """
    # no import: a thread that does not exist here may be in the middle of one
    install = sys.modules.get("safethread_patch._install")
    return install is not None and install.repair_child()


def status():
    """Return a dict about the patch in this process.

    ``interpreter``: a dict of version, implementation, platform and executable.
    ``installed``: whether the patch is installed.
    ``fork``: what repairs a child, ``"os.register_at_fork"`` or ``"threading._after_fork"``; None where there
    is no ``os.fork``, and only start() is patched.
    ``defects``: the ids of the defects that this interpreter has without the patch.
    ``others``: a dict of ``"Thread.start"`` and ``"Thread.run"``, as far as another tool has patched them, and
    the name of its function.

    .. versionadded:: 1.0
    """
    from safethread_patch import _install

    return _install.status()
