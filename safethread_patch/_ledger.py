"""The only place that changes an attribute of the standard library: puts it in, takes it out if still ours."""
import functools


class Entry(object):
    """One attribute in whose place a replacement was put."""

    def __init__(self, owner, name, original, replacement):
        self.owner = owner
        self.name = name
        self.original = original
        self.replacement = replacement

    def found(self):
        """Return what stands in the place now, or None."""
        return vars(self.owner).get(self.name)


def put(owner, name, make):
    """Put ``make(original)`` in the place of ``vars(owner)[name]`` and return the entry.

    It is a plain function with the original's metadata, not a wrapt.FunctionWrapper: that one breaks
    pickle, copy and ``type(...) is FunctionType``, and costs each call more.
    """
    from wrapt import wrap_object  # here, because it imports asyncio and ssl in its newest versions

    original = vars(owner)[name]  # getattr would give Python 2's unbound method
    replacement = make(original)
    assigned = [attr for attr in functools.WRAPPER_ASSIGNMENTS if hasattr(original, attr)]
    functools.update_wrapper(replacement, original, assigned=assigned)
    wrap_object(owner, name, lambda found: replacement)
    return Entry(owner, name, original, replacement)


def take_out(entry):
    """Put the original back if the replacement is still in its place; return whether it was."""
    if entry.found() is not entry.replacement:
        return False
    setattr(entry.owner, entry.name, entry.original)
    return True
