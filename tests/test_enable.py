"""safethread-patch enable: patches every process of this environment, by start-up files and a helper module in its
site folder. disable removes them; after a pip uninstall alone they stay, and stay silent.
"""
import errno
import glob
import json
import os
import shutil
import sys

import pytest
from conftest import PY2
from environments import PACKAGES, PATCHED, assert_one_message, assert_printed

import safethread_patch
from safethread_patch._cli import enable

WRITTEN = ["_safethread_patch_autoload.py", "safethread_patch.pth"]
if sys.version_info >= (3, 15):
    WRITTEN.append("safethread_patch.start")


def modes(environment):
    return [os.stat(os.path.join(environment.site, name)).st_mode & 0o777 for name in WRITTEN]


# What they do


def test_enable_and_disable(environment):
    assert_printed(environment.python("-c", PATCHED), False)
    for _ in range(2):
        ended = environment.command("enable")
        assert ended.status == 0 and ended.err == "" and "safethread_patch.pth" in ended.out, ended
        assert environment.names_from_enable() == WRITTEN
        assert modes(environment) == [0o644] * len(WRITTEN)
    for flags in ([], ["-E"], ["-W", "error"], ["-O"]) + (([],) if PY2 else (["-I"],)):
        assert_printed(environment.python(*(flags + ["-c", PATCHED])), True)
    assert environment.python("-S", "-c", "pass").err == ""
    environment.python("-c", "pass", env={"PYTHONDONTWRITEBYTECODE": ""})  # disable removes the compiled helper, too
    assert PY2 or glob.glob(os.path.join(environment.site, "__pycache__", "*autoload*"))
    for message in ("disabled", "was not enabled"):
        ended = environment.command("disable")
        assert ended.status == 0 and ended.out.startswith(message) and ended.err == "", ended
        assert environment.names_from_enable() == []
        assert glob.glob(os.path.join(environment.site, "__pycache__", "*autoload*")) == []
    assert_printed(environment.python("-c", PATCHED), False)


def test_enable_makes_its_files_readable_for_all(environment):
    program = """
import os, sys
os.umask(0o077)
os.execv(sys.executable, [sys.executable, "-m", "safethread_patch", "enable"])
"""
    assert environment.python("-c", program).status == 0
    os.chmod(os.path.join(environment.site, "safethread_patch.pth"), 0o600)
    assert environment.python("-c", program).status == 0
    assert environment.names_from_enable() == WRITTEN
    assert modes(environment) == [0o644] * len(WRITTEN)


@pytest.mark.skipif(PY2, reason="the environment is the user's site folder")
def test_user_site(environment, tmpdir):
    user_site = tmpdir.mkdir("user")
    env = {"PYTHONUSERBASE": str(user_site)}
    refused = environment.command("enable", "--user", env=env)
    assert refused.status == 1 and "does not look into the user's site folder" in refused.err, refused
    assert "Nothing was changed" in refused.err and user_site.listdir() == []
    config = os.path.join(environment.folder, "pyvenv.cfg")
    with open(config) as file:
        text = file.read()
    setting = "include-system-site-packages = %s"
    assert setting % "false" in text
    environment.write(config, text.replace(setting % "false", setting % "true"))
    try:
        ended = environment.command("enable", "--user", env=env)
        assert ended.status == 0 and str(user_site) in ended.out and ended.err == "", ended
        assert environment.names_from_enable() == []
        for flag, is_enabled in (["-S", False], ["-s", False], ["-B", True]):
            assert_printed(environment.python(flag, "-c", PATCHED, env=env), is_enabled)
        report = json.loads(environment.command("status", "--json", env=env).out)
        assert len(report["enabled"]) >= 2 and not report["leftovers"] and report["kept_out"] == []
        report = json.loads(environment.python("-s", "-m", "safethread_patch", "status", "--json", env=env).out)
        assert any("user's site folder" in reason for reason in report["kept_out"])
        assert environment.command("disable", "--user", env=env).status == 0
        assert json.loads(environment.command("status", "--json", env=env).out)["enabled"] == []
    finally:
        environment.write(config, text)


@pytest.mark.skipif(PY2, reason="no venv")
def test_virtual_environment_that_finds_the_package_outside(environment, tmpdir):
    # in the user's folder, or in the system's: every environment that looks there would be patched
    env = {"PYTHONUSERBASE": str(tmpdir.mkdir("user"))}
    outside = environment.python("-c", "import site; print(site.getusersitepackages())", env=env).out.strip()
    shutil.copytree(environment.site, outside)
    for name in PACKAGES:
        environment.uninstall(name)
    before = sorted(os.listdir(outside))
    config = os.path.join(environment.folder, "pyvenv.cfg")
    with open(config) as file:
        text = file.read()
    environment.write(config, text.replace("packages = false", "packages = true"))
    try:
        ended = environment.command("enable", env=env)
        assert ended.status == 0 and environment.site in ended.out, ended
        assert environment.names_from_enable() == WRITTEN and sorted(os.listdir(outside)) == before
        assert_printed(environment.python("-c", PATCHED, env=env), True)
        ended = environment.command("disable", env=env)
        assert ended.status == 0 and ended.out.startswith("disabled: " + environment.site), ended
        assert environment.names_from_enable() == [] and sorted(os.listdir(outside)) == before
    finally:
        environment.write(config, text)


# When enable refuses, or fails


def test_enable_without_wrapt_is_refused(environment):
    environment.uninstall("wrapt")
    ended = environment.command("enable")
    assert ended.status == 1 and "does not find wrapt" in ended.err and "-m pip" in ended.err, ended
    assert environment.names_from_enable() == []


@pytest.mark.skipif(PY2, reason="the environment is the user's site folder")
def test_package_that_is_nowhere_installed(environment):
    # it is in the current directory alone: a process that is started elsewhere does not find it
    environment.uninstall("safethread_patch")
    root = os.path.dirname(os.path.dirname(os.path.abspath(safethread_patch.__file__)))
    ended = environment.command("enable", cwd=root)
    assert ended.status == 1, ended
    assert_one_message(ended, "does not find safethread_patch")
    assert environment.names_from_enable() == []


def test_folder_in_the_place_of_a_file(environment):
    # it stands for a site folder that cannot be written to: root can write to every folder
    os.makedirs(os.path.join(environment.site, "safethread_patch.pth", "x"))
    ended = environment.command("enable")
    assert ended.status == 1 and ended.out == "", ended
    assert_one_message(ended, "safethread_patch.pth", "Nothing was changed")
    assert environment.names_from_enable() == ["safethread_patch.pth"]
    assert os.listdir(os.path.join(environment.site, "safethread_patch.pth")) == ["x"]


@pytest.mark.parametrize("leads_to", ["nothing", "what enable writes"])
def test_link_in_the_place_of_a_file_is_replaced(environment, tmpdir, leads_to):
    path = os.path.join(environment.site, "safethread_patch.pth")
    environment.command("enable")
    with open(path) as file:
        text = file.read()
    os.remove(path)
    target = tmpdir.join("target")
    if leads_to != "nothing":
        target.write(text)
    os.symlink(str(target), path)
    ended = environment.command("enable")
    assert ended.status == 0 and not os.path.islink(path) and open(path).read() == text, ended
    assert target.check() is (leads_to != "nothing")


class Options(object):
    name = "enable"
    user = False


@pytest.fixture
def site_folder(tmpdir, monkeypatch):
    """A folder that enable(Options) of this process takes for the site folder."""
    monkeypatch.setattr(enable, "_folder", lambda options: str(tmpdir))
    monkeypatch.setattr(enable, "_check_import", lambda folder: None)
    return tmpdir


def test_folder_that_others_own(site_folder, monkeypatch, capsys):
    def refuse(source, target):
        raise OSError(13, "Permission denied", target)

    monkeypatch.setattr(os, "rename", refuse)
    assert enable.enable(Options) == 1
    err = capsys.readouterr()[1]
    reason, advice, _ = err.partition("Run it as the owner of that folder")
    assert "Permission denied" in reason and advice, err
    assert site_folder.listdir() == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_disable_where_nothing_can_be_removed(site_folder, monkeypatch, capsys, number):
    def refuse(path):
        raise OSError(number, os.strerror(number), path)

    for name, text in enable.contents():
        site_folder.join(name).write(text)
    monkeypatch.setattr(enable.site, "ENABLE_USER_SITE", True)
    monkeypatch.setattr(os, "remove", refuse)
    options = Options()
    options.name = "disable"
    assert enable.disable(options) == 1
    err = capsys.readouterr()[1]
    assert os.strerror(number) in err and "SAFETHREAD_PATCH=0" in err and "--user" not in err, err
    assert ("owner of that folder" in err) is (number == errno.EACCES), err


def test_enable_on_a_read_only_file_system(site_folder, monkeypatch, capsys):
    def refuse(source, target):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), target)

    monkeypatch.setattr(os, "rename", refuse)
    assert enable.enable(Options) == 1
    err = capsys.readouterr()[1]
    assert "file system writable" in err and "owner" not in err, err


def test_write_that_fails_halfway_puts_back_what_was_there(site_folder, monkeypatch):
    names = [name for name, _ in enable.contents()]
    site_folder.join(names[0]).write("an older helper")
    real = os.rename
    renames = []

    def rename(source, target):
        renames.append(target)
        if len(renames) == len(names):
            raise OSError(28, "No space left on device", target)
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    assert enable.enable(Options) == 1
    assert len(renames) > len(names)
    assert os.listdir(str(site_folder)) == [names[0]] and site_folder.join(names[0]).read() == "an older helper"


def test_disable_that_fails_leaves_no_start_up_file_without_helper(environment):
    environment.command("enable")
    path = os.path.join(environment.site, "safethread_patch.start")
    if os.path.exists(path):
        os.remove(path)
    os.makedirs(os.path.join(path, "x"))
    ended = environment.command("disable")
    assert ended.status == 1, ended
    assert_one_message(ended)
    names = environment.names_from_enable()
    assert "_safethread_patch_autoload.py" in names and "safethread_patch.pth" not in names


# When the package is gone, or broken


def test_enabled_and_then_uninstalled_is_silent(environment):
    environment.command("enable")
    environment.uninstall("safethread_patch")
    assert_printed(environment.python("-c", PATCHED), False)
    ended = environment.python("-c", PATCHED, env={"SAFETHREAD_PATCH_DEBUG": "1"})
    assert_one_message(ended, "has no safethread_patch")


def test_folder_named_like_the_package_is_not_the_package(environment):
    environment.command("enable")
    environment.uninstall("safethread_patch")
    os.makedirs(os.path.join(environment.cwd, "safethread_patch"))
    ended = environment.python("-c", PATCHED + "print('safethread_patch' in sys.modules)")
    assert_printed(ended, False, False)


@pytest.mark.parametrize("names", [["_install.py"], ["_install.py", "__init__.py"]])
def test_broken_package_is_not_taken_for_gone(environment, names):
    environment.command("enable")
    for name in names:
        with open(os.path.join(environment.site, "safethread_patch", name), "a") as file:
            file.write("from safethread_patch import no_such_thing\n")
    ended = environment.python("-c", PATCHED)
    assert ended.out == "False\n", ended
    assert_one_message(ended, "not loaded: ImportError")
