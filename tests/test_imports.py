"""What each module of the package imports: what docs/internals.md allows, and no module of another generation."""
import ast
import os
import re
import sys

from conftest import HERE, in_child

import safethread_patch
from safethread_patch import _facts

PACKAGE = os.path.dirname(os.path.abspath(safethread_patch.__file__))


def read(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read().decode("utf-8")


def section(text, heading):
    return text.partition("\n## %s\n" % heading)[2].partition("\n## ")[0]


def table():
    """Return the rows of the table in docs/internals.md: the rooms of each, and the rooms that they may import."""
    rows = re.findall(r"^\| (`.*) \| .* \| (.*) \|$", section(read(HERE, "..", "docs", "internals.md"), "The modules"), re.M)
    return [[set(re.findall(r"`(\w+)`", cell)) for cell in row] for row in rows]


def modules():
    """Return each module of the package: the room that it is in, its path, and its syntax tree."""
    trees = []
    for folder, _, files in os.walk(PACKAGE):
        for file in sorted(files):
            if file.endswith(".py"):
                path = os.path.join(folder, file)
                room = os.path.relpath(path, PACKAGE).replace(".py", "").split(os.sep)[0]
                trees.append((room, path, ast.parse(read(path).encode("utf-8"))))
    return trees


def imported_rooms(tree):
    """Return the rooms that a module imports anything from, also within its functions."""
    rooms = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "safethread_patch":
            path = node.module.split(".")[1:]
            rooms.update(path[:1] or [name.name for name in node.names])
        elif isinstance(node, ast.Import):
            rooms.update(name.name.split(".")[1] for name in node.names if name.name.startswith("safethread_patch."))
    return rooms


def test_each_module_imports_what_the_table_allows_and_all_of_it():
    imported = {}
    for room, _, tree in modules():
        imported.setdefault(room, set()).update(imported_rooms(tree))
    public = set(safethread_patch.__all__)
    for rooms, may_import in table():
        used = set().union(*[imported.pop(room) for room in rooms])
        assert used - public - rooms == may_import - rooms, "docs/internals.md is not right about %s" % sorted(rooms)
    assert not imported, "docs/internals.md does not know %s" % sorted(imported)


def test_no_with_statement_has_two_items():
    # Python 2.6 does not compile it, and no other test runs there
    for _, path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.With):
                assert len(getattr(node, "items", [1])) == 1, "%s:%d" % (path, node.lineno)
                # Python 2.7 has a nested node for the second item, in the same line
                inner = node.body[0]
                assert not (isinstance(inner, ast.With) and inner.lineno == node.lineno), "%s:%d" % (path, node.lineno)


def test_only_facts_and_the_start_up_helper_read_the_version():
    readers = set()
    for _, path, tree in modules():
        if any(isinstance(node, ast.Attribute) and node.attr in ("version_info", "hexversion") for node in ast.walk(tree)):
            readers.add(os.path.basename(path))
    assert readers == set(["_facts.py", "_safethread_patch_autoload.py"])


@in_child
def test_no_module_of_another_generation_is_imported():
    safethread_patch.install()
    imported = set(name[len("safethread_patch.") :] for name in sys.modules if name.startswith("safethread_patch."))
    generations = {
        "_py2": _facts.PY2,
        "_fork_before_37": not _facts.AT_FORK_HOOKS,
        "_join_before_313": (3, 4) <= _facts.VERSION < (3, 13),
        "_threads._flags": _facts.VERSION < (3, 4),
        "_threads._tstate_lock": (3, 4) <= _facts.VERSION < (3, 13),
        "_threads._handle": _facts.VERSION >= (3, 13),
    }
    for name, is_needed in generations.items():
        assert (name in imported) is is_needed, (name, sorted(imported))


def opening(file):
    return " ".join((ast.get_docstring(ast.parse(read(HERE, file).encode("utf-8"))) or "").split())


def test_each_promise_is_tested_in_a_file_that_opens_with_it():
    promises = re.findall(r"^(\d)\. (.*(?:\n   .*)*)", section(read(HERE, "..", "README.md"), "What is promised"), re.M)
    openings = [opening(file).lower() for file in sorted(os.listdir(HERE)) if file.startswith("test_")]
    assert promises
    for number, text in promises:
        promise = ("Promise %s: %s" % (number, " ".join(text.split()).replace("`", ""))).lower()
        assert [1 for text in openings if text.startswith(promise)], "no test file opens with: " + promise
