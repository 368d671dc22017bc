"""uWSGI forks in C, and runs no at-fork hook unless it is told to. Its own post-fork hook repairs its workers instead.

It looks ``post_fork_hook`` up in the dict of its module ``uwsgi``, in each worker, mule and spooler, right after the fork. The
program sets that attribute, too, or lets ``uwsgidecorators`` do so, before or after install(). So the module gets a class in
which the attribute is a property: the dict keeps the patch's function, which calls the program's.
"""
import os
import sys
import types

from safethread_patch import _fork

NAME = "post_fork_hook"

#: ``{NAME: what the program has set}``, or empty.
_of_program = {}


def _hook():
    try:
        _fork.repair_child()
    finally:
        hook = _of_program.get(NAME)
        if hook is not None:
            hook()


class _Module(types.ModuleType):
    """The class of the module ``uwsgi`` while the patch is installed."""

    @property
    def post_fork_hook(self):
        try:
            return _place(self)[NAME]
        except KeyError:
            raise AttributeError("module 'uwsgi' has no attribute 'post_fork_hook'")

    @post_fork_hook.setter
    def post_fork_hook(self, hook):
        _place(self)[NAME] = hook

    @post_fork_hook.deleter
    def post_fork_hook(self):
        try:
            del _place(self)[NAME]
        except KeyError:
            raise AttributeError(NAME)


def _place(module):
    """Return the dict that holds the program's hook."""
    return _of_program if vars(module).get(NAME) is _hook else vars(module)


def attach():
    """Repair the processes that uWSGI forks from now on, if this process is uWSGI's."""
    module = sys.modules.get("uwsgi")
    if not isinstance(getattr(module, "worker_id", None), types.BuiltinFunctionType):  # none, or a stand-in of a test's
        if _is_starting():
            sys.meta_path = [_Finder()] + sys.meta_path
        return
    names = vars(module)
    if names.get(NAME) is _hook:
        return
    _of_program.clear()
    if NAME in names:
        _of_program[NAME] = names[NAME]
    try:
        module.__class__ = _Module
    except TypeError:  # before 3.5: what the program sets from now on replaces the hook
        pass
    names[NAME] = _hook


def detach():
    """Undo attach()."""
    for finder in [finder for finder in sys.meta_path if type(finder) is _Finder]:
        finder.leave()
    module = sys.modules.get("uwsgi")
    names = vars(module) if isinstance(module, types.ModuleType) else {}
    if names.get(NAME) is not _hook:
        return
    del names[NAME]
    names.update(_of_program)
    if type(module) is _Module:
        module.__class__ = types.ModuleType


def _is_starting():
    """Tell whether this is a uWSGI that starts the interpreter, and adds its module once ``site`` has been imported."""
    try:
        return "uwsgi" in os.path.basename(os.readlink("/proc/self/exe")) and "uwsgi" not in sys.modules
    except (AttributeError, EnvironmentError):
        return False


class _Finder(object):
    """Finds nothing; the first import after uWSGI has added its module calls attach()."""

    def find_spec(self, name, path=None, target=None):
        if "uwsgi" in sys.modules:
            self.leave()
            attach()

    find_module = find_spec  # before 3.4

    def leave(self):
        # a new list: an import may iterate over this one
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]
