"""The child's side of conftest.in_child(): python child.py MODULE FUNCTION ARGUMENTS.

Calls one function of a test module in this process, and writes "done" and what it returned as the last line.
"""
from __future__ import print_function

import ast
import signal
import sys
import types
import warnings


class Decorator(object):
    """Takes the place of what decorates a test: leaves the function as it is."""

    def __getattr__(self, name):
        return self

    def __call__(self, *args, **kwargs):
        return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else self


class Pytest(types.ModuleType):
    """Takes the place of pytest: importing that takes longer than most of the children, and it imports too much."""

    def __getattr__(self, name):
        if name not in ("mark", "param", "fixture", "hookimpl"):
            raise AttributeError("pytest.%s in the body of a test that runs in a child: it has no effect there" % name)
        return Decorator()


def main(module, name, arguments):
    sys.modules["pytest"] = Pytest("pytest")
    function = getattr(__import__(module), name)
    function = getattr(function, "body", function)

    from safethread_patch._defects._hold import warm_up

    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12+: fork in a process with threads
    signal.alarm(300)  # ends a hang also if pytest does not live to end it
    warm_up()
    args, kwargs = ast.literal_eval(arguments)
    result = function(*args, **kwargs)
    print("done %r" % (result,))


if __name__ == "__main__":
    main(*sys.argv[1:])
