"""The only place that changes an attribute of the standard library: puts it in, takes it out if still ours."""
import functools
import threading

_wrap_object = None


def prepare():
    """Import wrapt, without which put() does not work. Raises ImportError.

    Not at the top, because the newest wrapt imports asyncio and ssl; and not in put(), because that one is
    also called in a forked child, where another thread may have held Python 2's import lock.
    """
    global _wrap_object
    from wrapt import wrap_object

    _wrap_object = wrap_object


class Entry(object):
    """One attribute in whose place a replacement was put; it may have been inherited."""

    def __init__(self, owner, name, original, replacement, inherited):
        self.owner = owner
        self.name = name
        self.original = original
        self.replacement = replacement
        self.inherited = inherited

    def found(self):
        """Return what stands in the place now, or None."""
        return vars(self.owner).get(self.name)


def put(entries, owner, name, make):
    """Put ``make(original)`` in the place of ``owner``'s attribute ``name``, with an entry in ``entries``.

    It is a plain function with the original's metadata, not a wrapt.FunctionWrapper: that one breaks
    pickle, copy and ``type(...) is FunctionType``, and costs each call more.
    """
    # not getattr, which would give Python 2's unbound method
    original = next(vars(cls)[name] for cls in getattr(owner, "__mro__", [owner]) if name in vars(cls))
    replacement = make(original)
    assigned = [attr for attr in functools.WRAPPER_ASSIGNMENTS if hasattr(original, attr)]
    functools.update_wrapper(replacement, original, assigned=assigned)
    # the entry first: a child that is forked in between can take out what it finds
    entries.append(Entry(owner, name, original, replacement, name not in vars(owner)))
    _wrap_object(owner, name, lambda found: replacement)


def take_out(entry):
    """Put the original back if the replacement is in its place; return False if it may still be under another."""
    if entry.found() is entry.replacement:
        if entry.inherited:
            delattr(entry.owner, entry.name)
        else:
            setattr(entry.owner, entry.name, entry.original)
        return True
    # others may have undone theirs in any order, and ours with it
    return entry.found() is (None if entry.inherited else entry.original) or is_stock(entry.found())


def is_stock(function):
    """Tell whether ``function`` is one of threading's own."""
    file = threading.enumerate.__code__.co_filename  # nobody patches that one
    return getattr(getattr(function, "__code__", None), "co_filename", None) == file
