"""Promise 5: uninstall() puts back the very same function objects. A patch that another tool has put on top is left
alone: this one becomes an inert pass-through under it, and a SafeThreadWarning names what is in the way.
"""
import functools
import threading
import warnings

import pytest
from conftest import in_child
from helpers import error_of

import safethread_patch
from safethread_patch import _install, _start
from safethread_patch._defects._hold import HeldRegistration, daemon
from safethread_patch._state import state

Thread = threading.Thread

# keeps what a failing test leaves patched from the tests after it
pytestmark = pytest.mark.forked


def methods():
    return vars(Thread)["start"], vars(Thread)["run"]


def wrapper_over(original):
    """Return what another tool puts in the place of ``original``."""

    def start(self):
        return original(self)

    return start


def uninstall_with_warning():
    """Call uninstall(), which something has to be in the way of, and return the text of its warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert safethread_patch.uninstall() is False
    (warning,) = caught
    assert warning.category is safethread_patch.SafeThreadWarning
    return str(warning.message)


def start_and_join():
    thread = Thread(target=int)
    thread.start()
    thread.join()
    return thread


# Nothing is in the way


def test_uninstall_puts_back_the_very_same_functions():
    before = methods()
    names = set(vars(Thread))
    safethread_patch.install()
    assert methods()[0] is not before[0] and methods()[1] is not before[1]
    assert safethread_patch.uninstall() is True
    assert methods()[0] is before[0] and methods()[1] is before[1]
    assert set(vars(Thread)) == names
    assert safethread_patch.uninstall() is False
    assert not safethread_patch.is_installed()


# Another tool's patch on top


def test_patch_on_top_is_left_alone_and_named():
    stock = methods()
    safethread_patch.install()
    replacement = methods()[0]
    on_top = Thread.start = wrapper_over(replacement)
    try:
        message = uninstall_with_warning()
        assert "Thread.start" in message and "test_uninstall.py" in message
        assert not safethread_patch.is_installed()
        assert methods() == (on_top, stock[1])
        start_and_join()
        assert "Thread.start" in uninstall_with_warning()
    finally:
        Thread.start = replacement  # the other tool undoes its patch and puts back what it replaced
    assert safethread_patch.uninstall() is True
    assert methods() == stock


@in_child(deadline=30)
def test_inert_under_a_patch_on_top():
    safethread_patch.install()
    Thread.start = wrapper_over(vars(Thread)["start"])
    uninstall_with_warning()
    _start.PAUSES[:] = [60]  # start() would exceed the deadline if it waited
    thread = daemon()
    with HeldRegistration(thread):
        thread.start()
        assert thread in threading._limbo and not state.claims


def test_installed_again_over_a_patch_on_top():
    stock = methods()
    safethread_patch.install()
    replacement = methods()[0]
    on_top = Thread.start = wrapper_over(replacement)
    uninstall_with_warning()
    assert safethread_patch.install() is True
    second_replacement = methods()[0]
    assert second_replacement is not on_top and second_replacement is not replacement
    ran = []
    thread = Thread(target=ran.append, args=(1,))
    thread.start()
    thread.join()
    assert ran == [1]
    error_of(RuntimeError, thread.start)
    uninstall_with_warning()
    assert methods()[0] is on_top
    Thread.start = replacement
    assert safethread_patch.install() is True
    names = [entry.name for entry in _install._entries]
    assert len(names) == len(set(names))  # not two layers of this patch
    assert safethread_patch.uninstall() is True
    assert methods() == stock


def test_wrapt_wrapper_on_top_is_not_taken_for_what_it_wraps():
    import wrapt

    stock = methods()
    safethread_patch.install()
    replacement = methods()[0]
    Thread.start = wrapt.FunctionWrapper(replacement, lambda wrapped, instance, args, kwargs: wrapped(*args, **kwargs))
    assert methods()[0] == replacement  # although it is another object
    try:
        assert "Thread.start" in safethread_patch.status()["others"]
        uninstall_with_warning()
    finally:
        Thread.start = replacement
    assert safethread_patch.uninstall() is True
    assert methods() == stock


# Another tool's patch underneath


def test_patch_underneath_is_named_and_stays():
    stock = methods()[0]
    underneath = Thread.start = wrapper_over(stock)
    try:
        with safethread_patch.installed():
            assert "test_uninstall.py" in safethread_patch.status()["others"]["Thread.start"]
        assert methods()[0] is underneath
    finally:
        Thread.start = stock


def test_uninstall_after_the_other_tool_has_undone_its_patch_in_any_order():
    stock = methods()[0]
    Thread.start = wrapper_over(stock)
    safethread_patch.install()
    Thread.start = stock  # the other tool undoes its patch, and this one with it
    assert safethread_patch.uninstall() is True

    safethread_patch.install()
    replacement = methods()[0]
    Thread.start = wrapper_over(replacement)
    uninstall_with_warning()
    safethread_patch.install()
    Thread.start = replacement
    assert safethread_patch.uninstall() is True
    assert methods()[0] is stock


def test_descriptor_underneath_is_bound():
    # a wrapt wrapper that is called from the dict of the class gets no instance
    import wrapt

    seen = []

    @wrapt.decorator
    def note(wrapped, instance, args, kwargs):
        seen.append(instance)
        return wrapped(*args, **kwargs)

    stock = methods()[0]
    Thread.start = note(stock)
    try:
        with safethread_patch.installed():
            thread = start_and_join()
        assert seen == [thread]
    finally:
        Thread.start = stock


class CallableObject(object):
    def __init__(self, function):
        self.function = function

    def __call__(self, *args):
        self.function(*args)


UNBOUND_CALLABLES = {
    "an object with __call__": CallableObject,
    "functools.partial": lambda function: functools.partial(function, 1),
}


@pytest.mark.parametrize("kind", sorted(UNBOUND_CALLABLES))
@in_child
def test_callable_underneath_that_cannot_be_bound(kind):
    calls = []

    def note(*args):
        calls.append(args)

    def numbers_of_arguments():
        del calls[:]
        Thread().start()
        return [len(args) for args in calls]

    Thread.start = UNBOUND_CALLABLES[kind](note)
    numbers = numbers_of_arguments()
    assert len(numbers) == 1
    with safethread_patch.installed():
        assert numbers_of_arguments() == numbers
