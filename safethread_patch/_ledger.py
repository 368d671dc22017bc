"""The only place that changes an attribute of the standard library: puts it in, takes it out if still ours."""
import functools
import sys
import threading
import types

_wrap_object = None


def prepare():
    """Import wrapt, without which put() does not work. Raises ImportError.

    Not at the top, because the newest wrapt imports asyncio and ssl; and not in put(), because that one is
    also called in a forked child, where another thread may have held Python 2's import lock.
    """
    global _wrap_object
    try:
        from wrapt import wrap_object
    except ImportError as error:
        raise ImportError(
            "install() needs wrapt and could not import it: %s. Nothing was changed. Install it with: %s -m pip install wrapt"
            % (error, sys.executable)
        )
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


def put(entries, owner, name, template):
    """Put a copy of the function ``template`` in the place of ``owner``'s attribute ``name``.

    Adds an entry to ``entries``. The copy has globals of its own, in which ``original`` is what it took the
    place of, and ``call`` the same, bound when it is called with a thread. Not a closure: free-threaded 3.13
    locks a cell to read it, and a fork may leave it locked in the child. And not the module's own globals:
    Python 2 sets them to None at exit, while daemon threads run.

    It is a plain function with the original's metadata, not a wrapt.FunctionWrapper: that one breaks
    pickle, copy and ``type(...) is FunctionType``, and costs each call more.
    """
    # not getattr, which would give Python 2's unbound method
    original = next(vars(cls)[name] for cls in getattr(owner, "__mro__", [owner]) if name in vars(cls))
    names = dict(template.__globals__, original=original, call=_bound(original))
    replacement = types.FunctionType(template.__code__, names, template.__name__, template.__defaults__)
    assigned = [attr for attr in functools.WRAPPER_ASSIGNMENTS if hasattr(original, attr)]
    functools.update_wrapper(replacement, original, assigned=assigned)
    # the entry first: a child that is forked in between can take out what it finds
    entries.append(Entry(owner, name, original, replacement, name not in vars(owner)))
    _wrap_object(owner, name, lambda found: replacement)


def _bound(original):
    if type(original) is types.FunctionType:
        return original
    return functools.partial(_call_as_found_in_class, original)


def _call_as_found_in_class(original, thread, *args):
    if not hasattr(type(original), "__get__"):
        return original(*args)
    # Not just original(thread): another tool's wrapt wrapper would see no instance.
    return original.__get__(thread, type(thread))(*args)


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
