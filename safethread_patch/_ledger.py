"""The only place that changes an attribute of the standard library: puts a replacement in, and takes it out again."""
import functools
import gc
import sys
import threading
import types

from safethread_patch import UnsupportedInterpreter


def _wrap_object(owner, name, factory):  # what wrapt's does, for a factory that returns a plain function
    setattr(owner, name, factory(None))


def prepare():
    """Import wrapt, with which put() puts in place from then on. Raises ImportError.

    Not at the top of the module, because the newest wrapt imports asyncio and ssl: automatic loading does without. Not in
    put(), because that is also called in a forked child, where Python 2's import lock may be held by a thread that exists
    in the parent only.
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


def resolve_lazy_imports(names, done=()):
    """Import now what 3.15 may leave for the first use (PEP 810), which is in start(), or in a forked child.

    ``names``: the globals of a module of the package. What it imports of the package is resolved as well, and the modules of
    the standard library whose functions those call.
    """
    lazy = getattr(types, "LazyImportType", None)
    if lazy is None:
        return
    done = done or set()
    done.add(id(names))
    for name, value in list(names.items()):
        if type(value) is lazy:
            names[name] = value = value.resolve()
        if type(value) is types.ModuleType and id(vars(value)) not in done:
            if value.__name__.startswith("safethread_patch._") or value.__name__ in ("threading", "weakref", "functools"):
                resolve_lazy_imports(vars(value), done)


class Entry(object):
    """One attribute that was replaced. ``inherited``: the owner had none of its own."""

    def __init__(self, owner, name, original, replacement, inherited):
        self.owner = owner
        self.name = name
        self.original = original
        self.replacement = replacement
        self.inherited = inherited

    def current(self):
        """Return the owner's attribute as it is now, or None."""
        return vars(self.owner).get(self.name)


def put(entries, owner, name, template):
    """Replace ``owner``'s attribute ``name`` by a copy of the function ``template``, and append an entry to ``entries``.

    ``owner`` is a class or a module. The copy has globals of its own, in which ``call_original`` calls what it replaced.
    Not a closure: free-threaded 3.13 locks a cell to read it, and a fork may leave it locked in the child. And not the
    template's own globals: Python 2 sets those to None at exit, while daemon threads run.

    The copy is a plain function with the original's metadata, not a wrapt.FunctionWrapper, which breaks pickle, copy and
    ``type(...) is FunctionType``, and makes each call more expensive.

    Raises UnsupportedInterpreter if Nuitka or Cython has compiled the package.
    """
    if type(template) is not types.FunctionType:  # the copy would have no code that can run
        raise UnsupportedInterpreter(
            "install() found safethread_patch compiled, to functions of type %s, and changed nothing: leave the package out of "
            "what is compiled (Nuitka: --nofollow-import-to=safethread_patch) and ship its .py files" % type(template).__name__
        )
    # not getattr(), which returns an unbound method on Python 2
    original = next(vars(place)[name] for place in getattr(owner, "__mro__", [owner]) if name in vars(place))
    call_original = original
    if hasattr(owner, "__mro__") and type(original) is not types.FunctionType:
        call_original = functools.partial(_call_bound, original)
    names = dict(template.__globals__, call_original=call_original)
    replacement = types.FunctionType(template.__code__, names, template.__name__, template.__defaults__)
    assigned = [attr for attr in functools.WRAPPER_ASSIGNMENTS if hasattr(original, attr)]
    functools.update_wrapper(replacement, original, assigned=assigned)
    # the entry first: a child that is forked between the two lines can take out what it has
    entries.append(Entry(owner, name, original, replacement, name not in vars(owner)))
    _wrap_object(owner, name, lambda wrapped: replacement)


#: ``put_new(owner, name, value)`` gives ``owner`` an attribute that it lacks. Not a function in Python, and no entry: it is
#: called in each child, where both cost pages.
put_new = setattr


def _call_bound(original, thread, *args):
    if not hasattr(type(original), "__get__"):
        return original(*args)
    # Not original(thread, *args): another tool's wrapt wrapper would get no instance.
    return original.__get__(thread, type(thread))(*args)


def take_out(entry):
    """Put the original back if the replacement is in its place; return False if another patch may still call it."""
    if entry.current() is entry.replacement:
        if entry.inherited:
            delattr(entry.owner, entry.name)
        else:
            setattr(entry.owner, entry.name, entry.original)
        return True
    # other tools may have undone their patches in any order, and this one with them
    if entry.current() is (None if entry.inherited else entry.original) or is_stock(entry.current()):
        return True
    # gevent and eventlet put functions of their own, which call no other, where _thread's were
    return type(entry.original) is type(len) and not _wraps(entry.current(), entry.replacement)


def _wraps(function, other):
    named = [getattr(function, "__wrapped__", None)] + gc.get_referents(*getattr(function, "__closure__", None) or ())
    return any(value is other for value in named)


def is_stock(function):
    """Tell whether ``function`` is one of threading's own."""
    file = threading.enumerate.__code__.co_filename  # nobody patches that function
    return getattr(getattr(function, "__code__", None), "co_filename", None) == file
