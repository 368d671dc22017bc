"""What the commands share."""
from __future__ import division

import argparse
import os
import sys

import safethread_patch
from safethread_patch._bootstrap._safethread_patch_autoload import say


def package_folder():
    """Return the folder of the package. In a program whose modules have no ``__file__`` it is the program's."""
    file = getattr(safethread_patch, "__file__", None)
    return os.path.dirname(os.path.abspath(file or sys.executable))


def positive(text):
    """Return the whole number from 1 on that ``text`` is; the type of an argument, for argparse."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError("%r is no number of rounds: give a whole number from 1" % text)
    return number


def add_options(parser, rounds, what):
    """Add ``--json``, and ``--rounds``: the rounds of each ``what``, by default ``rounds``."""
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object on stdout")
    parser.add_argument(
        "--rounds", type=positive, default=rounds, metavar="N", help="rounds of each %s (%%(default)s)" % what
    )


def median(values):
    """Return the middle one of ``values``, or the mean of the two."""
    values = sorted(values)
    return (values[len(values) // 2] + values[(len(values) - 1) // 2]) / 2


class Progress(object):
    """A line on the terminal that says what runs. Nothing is written where the output is piped."""

    def __init__(self, steps):
        self._steps = steps
        self._step = 0
        self._on = sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def step(self, text):
        self._step += 1
        self._write("[%d/%d] %s" % (self._step, self._steps, text))

    def _write(self, text):
        if self._on:
            say("\r\033[K" + text)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._write("")
