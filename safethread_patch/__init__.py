"""threading.Thread tells the truth: when start() returns, and in a forked child.

>>> import safethread_patch
>>> safethread_patch.install()
True
"""
# Only what is called is imported: a pytest plugin of this package is imported in every test run, before
# coverage starts, and Python 2.7 knows no __getattr__ of modules.

__version__ = "1.0.0"

__all__ = [
    "SafeThreadWarning",
    "UnsupportedInterpreter",
    "install",
    "installed",
    "is_installed",
    "status",
    "uninstall",
]


class UnsupportedInterpreter(RuntimeError):
    """This interpreter's ``threading`` lacks something that the patch needs; nothing was changed.

    .. versionadded:: 1.0
    """


class SafeThreadWarning(UserWarning):
    """The patch could not be taken out in full, because somebody patched over it.

    .. versionadded:: 1.0
    """


def install():
    """Patch ``threading.Thread`` for the whole process.

    From then on ``Thread.start`` returns once the new thread is registered, one of two concurrent starts
    of one Thread gets RuntimeError, and in a forked child every Thread tells the truth about itself.
    Threads that run already, subclasses and third-party libraries are covered. May be called at any time,
    from any thread, also again; best early, once, by the application.

    Returns True if this call patched, False if the patch was installed already.

    Raises :exc:`UnsupportedInterpreter` if ``threading`` lacks what the patch needs, and ImportError if
    wrapt is missing; nothing is changed then.

    The wait in start() is A. Jesse Jiryu Davis's SafeThread ("Dawn of the Thread", 2013).

    .. versionadded:: 1.0
    """
    from safethread_patch import _install

    return _install.install()


def uninstall():
    """Take the patch out: ``Thread.start`` and ``Thread.run`` are the very same functions as before.

    Where somebody patched over ours, theirs is left alone and ours becomes an inert pass-through; call
    again when theirs is gone.

    Returns True if everything was put back; False if the patch is not installed, or if a later patch is
    in the way: then a :exc:`SafeThreadWarning` names it.

    .. versionadded:: 1.0
    """
    from safethread_patch import _install

    return _install.uninstall()


def is_installed():
    """Return True between install() and uninstall().

    .. versionadded:: 1.0
    """
    from safethread_patch import _install

    return _install.is_installed()


def installed():
    """Return a context manager with the patch installed inside.

    Contexts nest, also across threads: the last one to end uninstalls, and only if the first one
    installed. Raises what install() raises.

    .. versionadded:: 1.0
    """
    from safethread_patch import _install

    return _install.installed()


def status():
    """Return a dict that says how things stand in this process.

    ``interpreter``: its version, implementation, platform and executable.
    ``installed``: whether the patch is.
    ``fork``: where a child is repaired, ``"os.register_at_fork"`` or ``"threading._after_fork"``; None
    where there is no ``os.fork``, and only the start side is at work.
    ``defects``: the ids of the defects that this interpreter has without the patch.
    ``others``: for each of ``Thread.start`` and ``Thread.run`` that somebody else has patched too, by whom.

    .. versionadded:: 1.0
    """
    from safethread_patch import _install

    return _install.status()
