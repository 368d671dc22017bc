"""What ``safethread-patch run`` puts in front of PYTHONPATH: loads the patch, then the sitecustomize that it hides."""
import os
import sys

try:
    import _safethread_patch_autoload

    _safethread_patch_autoload.load("run")
except Exception:  # load() itself raises nothing; what it hides still wants to be loaded
    if sys.stderr is not None:
        sys.stderr.write("safethread_patch: not loaded: %s\n" % (sys.exc_info()[1],))


def _load_hidden():
    here = os.path.dirname(__file__)  # as it is in sys.path
    if here not in sys.path:  # another tool's sitecustomize has taken us off the path, and loads us a second time
        return
    place = sys.path.index(here)
    ours = sys.modules.pop("sitecustomize")
    sys.path[:] = [entry for entry in sys.path if entry != here]
    try:
        # site reports what it raises, as it would without us
        __import__("sitecustomize")
    except ImportError:
        error = sys.exc_info()[1]
        if getattr(error, "name", None) != "sitecustomize" and str(error) != "No module named sitecustomize":
            raise
    finally:
        sys.path.insert(place, here)
        sys.modules.setdefault("sitecustomize", ours)


_load_hidden()
