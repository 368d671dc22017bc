"""Loads safethread_patch at start-up, in every process: patches threading.Thread when threading is imported.

``safethread-patch enable`` copies this file into the environment, ``safethread-patch disable`` removes it.
It needs the standard library alone, and stays silent when safethread_patch or wrapt is gone.
"""
import os
import sys

#: By which way this process loads the patch: "run", "enable" or "auto". None until load().
way = None


def load(by="enable"):
    """Patch threading.Thread, or see to it that this happens when threading is first imported; never raise.

    Nothing happens where the environment has SAFETHREAD_PATCH=0, off, no or false.
    """
    global way
    try:
        if way is not None:  # some versions of site read the files of a venv twice
            return
        way = by
        if _is_off():
            return
        if "threading" in sys.modules:
            _patch()
        else:
            sys.meta_path.insert(0, _Finder())
    except Exception:
        _say_error()


def _is_off():
    value = os.environ.get("SAFETHREAD_PATCH", "")
    if value.strip().lower() not in ("0", "off", "no", "false"):
        return False
    _debug("SAFETHREAD_PATCH=%s: nothing is loaded" % value)
    return True


def _patch():
    try:
        spec = _unfinished()
        if spec is not None:
            _patch_when_finished(spec)
        elif _can_import("safethread_patch") and _can_import("wrapt"):
            sys.modules["safethread_patch"].install()
            _debug("threading.Thread is patched, by " + way)
    except Exception:
        _say_error()


def _can_import(name):
    # Within the package: it may be found nowhere else, in another interpreter. But not wrapt: what lies beside
    # the package may be for another version of Python.
    package, folder = os.path.split(os.path.dirname(os.path.abspath(__file__)))
    root = os.path.dirname(package)
    within = folder == "_bootstrap" and name == os.path.basename(package)
    if within:
        sys.path.append(root)
    try:
        __import__(name)
        return True
    except ImportError as error:
        if name not in str(error).replace("'", "").split("No module named ")[-1].split():
            raise
        _debug("not loaded: %s has no %s" % (sys.executable, name), always=way == "auto")
        return False
    finally:
        if within:
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(root)]


# The newest wrapt imports asyncio, and so logging, subprocess and others. It cannot be imported while one of
# those is being imported itself, and is just at the line that imports threading.


def _unfinished():
    """Return the spec of the outermost module that is being imported, of those that wrapt may need, or None."""
    found = None
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            spec = frame.f_globals.get("__spec__")
            if getattr(spec, "_initializing", False) and _may_be_needed(spec):
                found = spec
        frame = frame.f_back
    return found


def _may_be_needed(spec):
    name = spec.name.partition(".")[0]
    if name in ("wrapt", "safethread_patch"):
        return True
    # site is not done before all start-up files are
    if name in ("site", "sitecustomize", "usercustomize"):
        return False
    origin = spec.origin or ""
    return origin == "frozen" or (
        origin.startswith(os.path.dirname(os.__file__) + os.sep) and "-packages" + os.sep not in origin
    )


def _patch_when_finished(spec):
    plain = type(spec)

    class Watched(plain):
        def __setattr__(self, name, value):
            plain.__setattr__(self, name, value)
            # the import system does this last, also if the module raises
            if name == "_initializing" and not value:
                self.__class__ = plain
                parent, _, child = self.name.rpartition(".")
                if parent in sys.modules and self.name in sys.modules:
                    setattr(sys.modules[parent], child, sys.modules[self.name])  # as it is about to do itself
                _patch()

    spec.__class__ = Watched


class _Finder(object):
    """Finds threading like the finders after it, and patches it once it is imported."""

    def find_spec(self, name, path=None, target=None):
        if name != "threading":
            return None
        self._remove()
        for finder in list(sys.meta_path):
            if hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    spec.loader = _Loader(spec.loader)
                    return spec

    # Python 2 and 3.3

    def find_module(self, name, path=None):
        if name == "threading":
            return self
        # these import threading, and would be needed in the middle of it
        if name == "wrapt" or name.startswith("safethread_patch._") and not name.endswith("__main__"):
            return self
        return None

    def load_module(self, name):
        self._remove()
        __import__("threading")
        _patch()
        __import__(name)
        return sys.modules[name]

    def _remove(self):
        if self in sys.meta_path:
            sys.meta_path.remove(self)


class _Loader(object):
    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _patch()


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
