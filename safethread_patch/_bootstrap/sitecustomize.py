"""The sitecustomize that ``safethread-patch run`` puts in front of PYTHONPATH: loads the patch, then the one it hides."""
import os
import sys

try:
    import _safethread_patch_autoload

    _safethread_patch_autoload.load("run")
except Exception:  # load() raises nothing, its import may; the hidden sitecustomize is to be loaded all the same
    try:  # as say() in the module that could not be imported
        text = "safethread_patch: not loaded: %s\n" % (sys.exc_info()[1],)
        os.write(sys.stderr.fileno(), text if isinstance(text, bytes) else text.encode("ascii", "backslashreplace"))
    except Exception:
        pass


def _load_hidden():
    here = os.path.dirname(__file__)  # the entry of sys.path
    if here not in sys.path:  # another tool's sitecustomize has removed the entry, and imports this module again
        return
    place = sys.path.index(here)
    this = sys.modules.pop("sitecustomize")
    sys.path[:] = [entry for entry in sys.path if entry != here]
    try:
        # site reports what it raises, as it does without this module
        __import__("sitecustomize")
    except ImportError:
        error = sys.exc_info()[1]
        if getattr(error, "name", None) != "sitecustomize" and str(error) != "No module named sitecustomize":
            raise
    finally:
        sys.path.insert(place, here)
        sys.modules.setdefault("sitecustomize", this)


_load_hidden()
