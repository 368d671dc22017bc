"""Loads safethread_patch at start-up, in every process: patches threading.Thread when threading is imported.

``safethread-patch enable`` copies this file into the environment, ``safethread-patch disable`` removes it.
It needs the standard library only, and is silent when safethread_patch or wrapt has been uninstalled.
"""
import os
import sys

#: The way in: "run", "enable" or "auto". None until load() is called.
way = None

#: Whether the patch is to be installed when a module has been imported that is being imported now.
_is_waiting = False


def load(by="enable"):
    """Patch threading.Thread, now or when threading is first imported. Never raises.

    Nothing happens where the environment has SAFETHREAD_PATCH=0, off, no or false.
    """
    global way
    try:
        if way is not None:  # some versions of site read the start-up files of a venv twice
            return
        way = by
        if is_off():
            _debug("SAFETHREAD_PATCH=%s: nothing is loaded" % os.environ["SAFETHREAD_PATCH"])
            return
        # The finder stays, because threading may be imported anew. A new list, because an import may iterate over this one.
        sys.meta_path = [_Finder()] + sys.meta_path
        _patch()
    except Exception:
        _say_error()


def is_off():
    """Tell whether the environment switches off automatic loading."""
    return os.environ.get("SAFETHREAD_PATCH", "").strip().lower() in ("0", "off", "no", "false")


def _patch():
    global _is_waiting
    try:
        if "threading" not in sys.modules:  # not imported yet, or its import has failed
            return
        if not getattr(sys.modules.get("_thread"), "_is_main_interpreter", lambda: True)():
            _debug("not loaded: in a subinterpreter")  # where wrapt's extension may crash 3.12
            return
        _is_waiting = _has_to_wait()
        if _is_waiting:
            return
        if _can_import("safethread_patch") and _can_import("wrapt"):
            sys.modules["safethread_patch"].install()
            _debug("threading.Thread is patched, by " + way)
    except Exception:
        _say_error()


def _can_import(name):
    # If this is the module in the package, the package is beside it, and another interpreter may have it nowhere else.
    # Not so wrapt: a wrapt beside the package may be for another version of Python.
    package, folder = os.path.split(os.path.dirname(os.path.abspath(__file__)))
    root = os.path.dirname(package)
    within = folder == "_bootstrap" and name == os.path.basename(package)
    if within:
        sys.path.append(root)
    try:
        __import__(name)
        if getattr(sys.modules[name], "__file__", None) is not None:
            return True
        del sys.modules[name]  # a folder of that name without a module
    except ImportError as error:
        missing = getattr(error, "name", None) or str(error).split()[-1]
        if missing != name or not str(error).startswith("No module named"):
            raise
    finally:
        if within:
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(root)]
    _debug("not loaded: %s has no %s" % (sys.executable, name), always=way == "auto")
    return False


# The newest wrapt imports asyncio, and with it logging, subprocess and others. It cannot be imported while one of those
# is being imported and has reached the line that imports threading.


def _has_to_wait():
    """Tell whether a module that wrapt may need is being imported. If so, the patch is installed when that is over."""
    is_needed = False
    frames = [sys._getframe()]
    # Other threads import as well. Their frames are asked for only if there are any: those of subinterpreters are among
    # them, and nobody may touch those of one with a GIL of its own (3.12+).
    if getattr(sys.modules.get("_thread"), "_count", int)():
        frames = list(sys._current_frames().values())
    for frame in frames:
        outermost = None
        while frame is not None:
            if frame.f_code.co_name == "<module>" and _may_be_needed(frame.f_globals):
                outermost = frame.f_globals.get("__spec__")
                is_needed = True
            frame = frame.f_back
        # the end of a LazyLoader's import is not noticed: the next import of anything tries again
        if getattr(outermost, "_initializing", False):
            _patch_when_finished(outermost)
    return is_needed


def _may_be_needed(names):
    name = names.get("__name__") or ""
    try:
        if type(sys).__getattribute__(sys.modules[name], "__dict__") is not names or name == "__main__":
            return False
    except Exception:  # not the globals of a module in sys.modules
        return False
    name = name.partition(".")[0]
    if name in ("wrapt", "safethread_patch"):
        return names["__name__"] != "safethread_patch.auto"
    # site ends after the last start-up file; and threading is in the middle of its import only on Python 2, which has
    # an old wrapt
    if name in ("site", "sitecustomize", "usercustomize", "threading") or sys.version_info < (3, 4):
        return False
    standard = getattr(sys, "stdlib_module_names", None)  # 3.10+
    if standard is not None:
        return name in standard
    file = names.get("__file__") or ""
    return file.startswith(os.path.dirname(os.__file__) + os.sep) and "-packages" + os.sep not in file


def _patch_when_finished(spec):
    """Patch when the module with this spec has been imported, or has failed to."""
    plain = type(spec)
    if getattr(plain, "is_watched", False):
        return

    class Watched(plain):
        is_watched = True

        def __setattr__(self, name, value):
            plain.__setattr__(self, name, value)
            # the last thing that the import system does, also if the module raises
            if name == "_initializing" and not value:
                self.__class__ = plain
                parent, _, child = self.name.rpartition(".")
                if parent in sys.modules and self.name in sys.modules:
                    setattr(sys.modules[parent], child, sys.modules[self.name])  # as the import system is about to do
                _patch()

    try:
        spec.__class__ = Watched
    except TypeError:  # another tool's class, with another layout
        _say_error()


class _Finder(object):
    """Finds threading as the other finders do, and patches it when it has been imported."""

    def __init__(self):
        self._loads = False
        self._asked_by = []

    def find_spec(self, name, path=None, target=None):
        if name != "threading":
            if _is_waiting:
                _patch()
            return None
        thread = sys.modules["_thread"].get_ident()
        if thread in self._asked_by:  # by another finder that asks all others, as this one does
            return None
        self._asked_by.append(thread)
        try:
            for finder in sys.meta_path:
                if finder is not self and hasattr(finder, "find_spec"):
                    spec = finder.find_spec(name, path, target)
                    if spec is not None:
                        _patch_when_finished(spec)
                        return spec
            return None
        finally:
            self._asked_by.remove(thread)

    # Python 2 and 3.3

    def find_module(self, name, path=None):
        if self._loads or "threading" in sys.modules:
            return None
        # the others import threading, and would be needed in the middle of that import
        is_private = name.startswith("safethread_patch._") and not name.endswith("__main__")
        return self if is_private or name in ("threading", "wrapt") else None

    def load_module(self, name):
        self._loads = True
        try:
            __import__("threading")
            _patch()
            __import__(name)
            return sys.modules[name]
        finally:
            self._loads = False


def _debug(text, always=False):
    if always or os.environ.get("SAFETHREAD_PATCH_DEBUG") == "1":
        _say(text)


def _say_error():
    error = sys.exc_info()[1]
    _say("not loaded: %s: %s" % (type(error).__name__, error))


def _say(text):
    try:
        sys.stderr.write("safethread_patch: %s (process %d)\n" % (" ".join(text.split()), os.getpid()))
    except Exception:  # closed, or none at all
        pass
