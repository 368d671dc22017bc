"""Loads safethread_patch at start-up, in every process: patches threading.Thread when threading is imported.

``safethread-patch enable`` copies this file into the environment, ``safethread-patch disable`` removes it.
It needs the standard library only, and is silent when safethread_patch has been uninstalled.
"""
import os
import sys

# Not asked of sys.modules later: ddtrace removes it there. Not an import statement: 3.15 may leave that for later (PEP 810).
_thread = __import__("_thread") if sys.version_info >= (3,) else None

#: The way in: "run", "enable" or "auto". None until load() is called.
way = None


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
    # At the end of the import of threading, mostly in the middle of another one. The package imports nothing that imports
    # threading, and not wrapt.
    try:
        if "threading" not in sys.modules:  # not imported yet, or its import has failed
            return
        # 3.12: the frames of all interpreters are in sys._current_frames(), which the patch asks for
        if not getattr(_thread, "_is_main_interpreter", lambda: True)():
            _debug("not loaded: in a subinterpreter")
            return
        outermost = _half_imported()
        if outermost is not None:
            _patch_when_finished(outermost)
            return
        first = sys.modules.get("safethread_patch._install")
        if first is not None and first.threading is not sys.modules["threading"]:
            _patch_anew(first)
            return
        module = _import_install()
        if module is not None:
            module.install(uses_wrapt=False)
            _debug("threading.Thread is patched, by " + way)
    except Exception:
        _say_error()


def _half_imported():
    """Return the spec of the first module of the package that is being imported, and has imported threading, or None."""
    for name, module in list(sys.modules.items()):
        if name.startswith("safethread_patch._"):
            spec = getattr(module, "__spec__", None)
            if getattr(spec, "_initializing", False):
                return spec
    return None


def _patch_anew(first):
    """Patch a threading that was imported anew, with a copy of the package, of which ``first`` is told.

    The package itself stays that of the first threading, which may come back to sys.modules, as eventlet does it.
    """
    if _thread is not None and getattr(sys.modules.get("_thread"), "__name__", None) != "_thread":
        return  # eventlet's other copy, whose threads are greenlets
    package = _forget_package()
    try:
        copy = _import_install()
        if first.is_installed():
            copy.install(uses_wrapt=False)
        first.copies.append(copy)
    finally:
        _forget_package()
        sys.modules.update(package)


def _forget_package():
    names = [name for name in list(sys.modules) if name.partition(".")[0] == "safethread_patch"]
    return dict((name, sys.modules.pop(name)) for name in names)


def _import_install():
    """Return safethread_patch._install, or None if this interpreter has no safethread_patch."""
    # If this is the module in the package, the package is beside it, and another interpreter may have it nowhere else.
    file = globals().get("__file__")  # a frozen module has none
    folder = os.path.dirname(os.path.abspath(file)) if file else ""
    root = os.path.dirname(os.path.dirname(folder))
    is_beside = folder == os.path.join(root, "safethread_patch", "_bootstrap")
    if is_beside:
        sys.path.append(root)
    try:
        __import__("safethread_patch")
        if hasattr(sys.modules["safethread_patch"], "install"):
            __import__("safethread_patch._install")
            return sys.modules["safethread_patch._install"]
        del sys.modules["safethread_patch"]  # a folder of that name without a module
    except ImportError:
        error = sys.exc_info()[1]
        missing = getattr(error, "name", None) or str(error).split()[-1]
        if missing != "safethread_patch" or not str(error).startswith("No module named"):
            raise
    finally:
        if is_beside:
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(root)]
    _debug("not loaded: %s has no safethread_patch" % sys.executable)
    return None


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
            return None
        thread = _thread.get_ident()
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
        except Exception:  # another finder's: the import system asks it next, and reports what it raises
            _say_error()
        finally:
            self._asked_by.remove(thread)
        return None

    # Python 2 and 3.3

    def find_module(self, name, path=None):
        if self._loads or "threading" in sys.modules:
            return None
        # the others import threading, and would be needed in the middle of that import
        is_private = name.startswith("safethread_patch._") and not name.endswith("__main__")
        return self if is_private or name == "threading" else None

    def load_module(self, name):
        self._loads = True
        try:
            __import__("threading")
            _patch()
            __import__(name)
            return sys.modules[name]
        finally:
            self._loads = False


def _debug(text):
    if os.environ.get("SAFETHREAD_PATCH_DEBUG") == "1":
        _say(text)


def _say_error():
    error = sys.exc_info()[1]
    try:
        text = str(error)
    except Exception:
        text = "?"
    _say("not loaded: %s: %s" % (type(error).__name__, text))


def _say(text):
    say("safethread_patch: %s (process %d)\n" % (" ".join(text.split()), os.getpid()))


def say(line):
    """Write a line to stderr, at once and past its buffer, and drop it if it cannot be written. Never raises.

    What stays in the buffer is written once more by each forked child (3.8), or makes the exit status 120.
    """
    try:
        try:
            descriptor = sys.stderr.fileno()
        except Exception:  # not a file: the program's own stream, or none at all
            sys.stderr.write(line)
            sys.stderr.flush()
            return
        if not isinstance(line, bytes):
            line = line.encode(getattr(sys.stderr, "encoding", None) or "ascii", "backslashreplace")
        os.write(descriptor, line)
    except Exception:
        pass
