# -*- coding: utf-8 -*-
"""safethread_fork names a value or an exception that resists pickle and repr."""
import sys

import pytest


class Hidden(object):
    def __init__(self, error):
        self.error = error

    def __reduce__(self):
        raise self.error

    def __repr__(self):
        raise ValueError(u"hé")


class ExitsWhenUnpickled(object):
    def __reduce__(self):
        return sys.exit, (3,)


@pytest.mark.parametrize("error", [ValueError(u"hé"), KeyboardInterrupt(), SystemExit(3)])
def test_value(safethread_fork, error):
    with pytest.raises(TypeError) as caught:
        safethread_fork(Hidden, error)
    assert "a value that cannot be pickled, <Hidden>" in str(caught.value)


def test_value_that_exits_when_unpickled(safethread_fork):
    with pytest.raises(TypeError) as caught:
        safethread_fork(ExitsWhenUnpickled)
    assert "SystemExit: 3" in str(caught.value)


def test_exception(safethread_fork):
    class Local(Exception):
        pass

    def function():
        raise Local(u"hé")

    outcome = safethread_fork(function)
    assert isinstance(outcome.exception, RuntimeError) and "Local: " in str(outcome.exception)
    assert "Local" in outcome.traceback
