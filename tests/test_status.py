"""safethread-patch status: says whether and how the patch is loaded in this environment, what keeps it out, and what
an enable has left behind.
"""
import json
import os
import shutil

import pytest
from conftest import PY2


def status(environment, *flags, **kwargs):
    """Return the report of an interpreter with these flags."""
    ended = environment.python(*(flags + ("-m", "safethread_patch", "status", "--json")), **kwargs)
    assert ended.status == 0 and ended.err == "", ended
    return json.loads(ended.out)


def status_under_run(environment, **kwargs):
    ended = environment.command("run", "-m", "safethread_patch", "status", "--json", **kwargs)
    assert ended.status == 0 and ended.err == "", ended
    return json.loads(ended.out)


def base_names(paths):
    return sorted(os.path.basename(path) for path in paths)


def test_status(environment):
    report = status(environment)
    assert report["installed"] is False and report["way"] is None
    assert report["enabled"] == report["leftovers"] == report["kept_out"] == []
    assert report["others"] == {} and "double-start" in report["defects"]
    environment.command("enable")
    report = status(environment)
    assert report["installed"] is True and report["way"] == "enable"
    assert base_names(report["enabled"]) == environment.names_from_enable()
    report = status_under_run(environment, env={"SAFETHREAD_PATCH": "1"})
    assert report["installed"] is True
    environment.command("disable")
    report = status_under_run(environment)
    assert report["installed"] is True and report["way"] == "run"


def test_status_says_what_keeps_the_patch_out(environment):
    environment.command("enable")
    report = status(environment, env={"SAFETHREAD_PATCH": "off"})
    assert not report["installed"] and "SAFETHREAD_PATCH=off" in report["kept_out"][0]
    report = status(environment, "-E")
    assert report["installed"] and report["flags"] == ["-E"] and "keeps run out" in report["kept_out"][0]
    if not PY2:  # there the environment is the user's site folder
        program = """
import sys
sys.path.append(%r)
sys.argv[1:] = ["status", "--json"]
from safethread_patch._cli import main
main()
""" % environment.site
        report = json.loads(environment.python("-S", "-c", program).out)
        assert not report["installed"] and report["flags"] == ["-S"]
        assert "keeps run and enable out" in report["kept_out"][0]


def test_status_names_leftovers(environment):
    environment.command("enable")
    helper = os.path.join(environment.site, "_safethread_patch_autoload.py")
    environment.write(helper, "def load(): pass  # an older version's")
    environment.write(helper + ".tmp", "")
    report = status(environment)
    assert report["enabled"] == [] and not report["installed"]
    assert base_names(report["leftovers"]) == environment.names_from_enable()
    assert helper + ".tmp" in report["leftovers"] and helper in report["leftovers"]
    environment.command("enable")
    assert status(environment)["leftovers"] == []
    environment.command("disable")
    assert environment.names_from_enable() == []


def test_status_for_people(environment):
    environment.command("enable")
    ended = environment.command("status")
    assert ended.status == 0 and ended.err == "", ended
    assert "patched:      yes, by enable" in ended.out and "safethread_patch.pth" in ended.out, ended


# The package in a zip, or frozen


def zip_the_package(environment):
    """Move the package into a zip, and return the environment variables with which it is found there."""
    path = os.path.join(environment.cwd, "package")
    shutil.make_archive(path, "zip", environment.site, "safethread_patch")
    environment.uninstall("safethread_patch")
    return {"PYTHONPATH": path + ".zip"}


def test_package_in_a_zip(environment):
    env = zip_the_package(environment)
    report = status(environment, env=env)
    assert report["installed"] is False and report["enabled"] == report["leftovers"] == []
    assert status_under_run(environment, env=env)["way"] == "run"
    ended = environment.command("status", env=env)
    assert "in " + os.path.join(env["PYTHONPATH"], "safethread_patch") in ended.out, ended


@pytest.mark.skipif(PY2, reason="the environment is the user's site folder, and this would be enabled for all users")
def test_enable_of_a_package_in_a_zip(environment):
    env = zip_the_package(environment)
    ended = environment.command("enable", env=env)
    assert ended.status == 1 and "does not find safethread_patch" in ended.err, ended
    environment.write(os.path.join(environment.site, "package.pth"), env["PYTHONPATH"] + "\n")
    assert environment.command("enable").status == 0
    assert status(environment)["way"] == "enable"


FROZEN = """
import pkgutil, sys
import safethread_patch
from safethread_patch import _bootstrap, _cli
pkgutil.get_data = lambda package, name: None
del safethread_patch.__file__, _bootstrap.__file__
sys.exit(_cli.main(["status", "--json"]) or _cli.main(["status"]))
"""


def test_modules_without_a_file(environment):
    ended = environment.python("-c", FROZEN)
    assert ended.status == 0 and ended.err == "" and "enabled by:   nothing" in ended.out, ended
