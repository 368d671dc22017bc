"""The command line."""
import argparse
import errno
import os
import sys

import safethread_patch
from safethread_patch._bootstrap._safethread_patch_autoload import say
from safethread_patch._cli import bench, check, enable, run, status


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        say("%s%s: error: %s\n" % (self.format_usage(), self.prog, message))
        raise SystemExit(2)


def main(argv=None):
    """Run the command line ``argv`` (default: that of the process) and return the exit status.

    0: success. 1: failure, or a defect that is not gone. 2: wrong usage. 130: Ctrl-C.

    .. versionadded:: 1.0
    """
    for name in ("stdout", "stderr"):  # they may be closed, as in a daemon
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))
    parser = _Parser(
        prog="safethread-patch",
        description="Patches threading.Thread: registered when start() returns, usable in forked children.",
    )
    parser.add_argument("--version", action="version", version="safethread_patch " + safethread_patch.__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in (check, bench, run, enable, status):
        command.add_to(commands)
    argv = list(sys.argv[1:] if argv is None else argv)
    # argparse does not see what follows "run", because it would take the program's options for its own
    rest = argv[1:] if argv[:1] == ["run"] and argv[1:2] not in (["-h"], ["--help"]) else []
    try:
        options = parser.parse_args(argv[: len(argv) - len(rest)])
        options.rest = rest
        if options.command is None:  # Python 3 allows it to be omitted
            parser.error("which command? There are: %s" % ", ".join(sorted(commands.choices)))
    except SystemExit as stop:
        return stop.code or 0
    try:
        exit_status = options.function(options)
        sys.stdout.flush()
        return exit_status
    except KeyboardInterrupt:
        return 130
    except EnvironmentError as error:
        # "check | head": the reader has closed the pipe; devnull, so that the interpreter's flush at exit does not fail
        if error.errno != errno.EPIPE:
            say("safethread-patch %s: %s\n" % (options.command, error))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
