"""What ``safethread-patch run`` puts in front of PYTHONPATH: loads the patch, then the sitecustomize that it hides."""
import os
import sys

try:
    import _safethread_patch_autoload

    _safethread_patch_autoload.load("run")
except Exception:  # load() itself raises nothing; what it hides still wants to be loaded
    sys.stderr.write("safethread_patch: not loaded: %s\n" % (sys.exc_info()[1],))


def _load_hidden():
    here = os.path.dirname(os.path.abspath(__file__))
    places = [index for index, entry in enumerate(sys.path) if os.path.abspath(entry) == here]
    if not places:  # another tool's sitecustomize has taken us off the path, and loads us a second time
        return
    ours = sys.modules.pop("sitecustomize")
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    try:
        # site reports what it raises, as it would without us
        __import__("sitecustomize")
    except ImportError:
        if "sitecustomize" not in str(sys.exc_info()[1]).replace("'", "").split():
            raise
    finally:
        sys.path.insert(places[0], here)
        sys.modules.setdefault("sitecustomize", ours)


_load_hidden()
