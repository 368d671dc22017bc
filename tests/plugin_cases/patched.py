"""What the cases of test_pytest_plugin.py share.

A case is a test file whose name keeps pytest from collecting it by itself.
"""
import threading


def is_patched():
    return threading.Thread.start.__code__.co_filename.replace("\\", "/").endswith("safethread_patch/_start.py")
