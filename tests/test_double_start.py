"""Promise 2: of two threads that start one Thread at the same time, exactly one succeeds. The other gets the
RuntimeError of a second start.
"""
import threading

import pytest
from conftest import in_child
from helpers import clean, error_of, error_of_a_second_start

import safethread_patch
from safethread_patch._defects._hold import HeldBootstrap, LimboLock, start_in_background, wait_for, witnessed
from safethread_patch._threads import started_event


@pytest.mark.parametrize("lock", ["as it is", "exchanged meanwhile"])
@in_child
def test_start_of_a_thread_that_another_is_starting(lock):
    # the claim of a start holds the registry's lock
    error_of_stock = error_of_a_second_start()
    safethread_patch.install()
    thread, alive = witnessed(HeldBootstrap)
    original = threading._active_limbo_lock
    if lock == "exchanged meanwhile":
        threading._active_limbo_lock = LimboLock(lambda: None)
    first = start_in_background(thread)
    thread.reached.wait()
    threading._active_limbo_lock = original
    for _ in range(2):  # a refused start leaves the other's claim alone
        assert str(error_of(RuntimeError, thread.start)) == error_of_stock
    thread.go.set()
    wait_for(lambda: first, "the first start() returns")
    thread.join()
    assert first == ["ok"] and alive == [True]
    clean()


@in_child
def test_signal_handler_cannot_start_what_it_interrupted():
    # it runs in the same thread, so that only the registry tells it from start wrappers that nest
    error_of_stock = error_of_a_second_start()
    safethread_patch.install()
    thread, alive = witnessed(HeldBootstrap)
    told = []

    class Event(type(thread.reached)):
        def wait(self, timeout=None):
            try:
                thread.start()
            except RuntimeError as error:
                told.append(str(error))
            thread.go.set()
            return type(thread.reached).wait(self, timeout)

    event = started_event(thread)
    event.__class__ = Event
    thread.start()
    thread.join()
    assert told == [error_of_stock] and alive == [True], (told, alive)
    clean()
