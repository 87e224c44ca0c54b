"""The platforms that the build rejects, each with a message of its own."""

from __future__ import annotations

import sys
import sysconfig

import pytest

pytest.importorskip("setuptools", reason="only needed to build")

from setuptools.errors import PlatformError

from csrc.python import build


def test_this_platform_is_supported() -> None:
    build.check_platform()


def test_another_system_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(PlatformError, match="runs on Linux only"):
        build.check_platform()


def test_a_free_threaded_python_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: int(name == "Py_GIL_DISABLED"))
    with pytest.raises(PlatformError, match="does not support free-threaded Python"):
        build.check_platform()
