"""Run torch's tests of its DataLoader against ours: ``python -m tests.loader.torch_suite FILE``.

FILE is `test/test_dataloader.py` of a checkout of PyTorch, or a file of the same form: tests of
`unittest` that use `torch.utils.data.DataLoader`. The file is imported with our loader in that
place. Tests whose names stand in EXCLUDED are left out, for the reason given there.

The run succeeds if all other tests pass.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.util
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

__all__ = ["EXCLUDED", "main", "select"]

# By `Class.test` or `test`, with * for any text. The table of differences is in
# docs/how-to/from-torch.md.
EXCLUDED: dict[str, str] = {
    "TestDataLoaderDeviceType*": "needs a device",
    "*cuda*": "needs a GPU",
    "TestCuda*": "needs a GPU",
    "*pin_memory*": "needs a GPU",
    "TestIndividualWorkerQueue.*": "any worker makes any item: batch b is not worker b mod N's",
    "test_proper_exit": "a worker that is killed is replaced, and the loop goes on",
    "test_large_sampler_indices": "looks at the queues of torch's iterator",
}


def reason_to_exclude(test: unittest.TestCase) -> str | None:
    """Return why a test is left out; None if it is run."""
    kind, _, name = test.id().rpartition(".")
    full = f"{kind.rpartition('.')[2]}.{name}"
    for pattern, reason in EXCLUDED.items():
        if fnmatch.fnmatch(full, pattern) or fnmatch.fnmatch(name, pattern):
            return reason
    return None


def load(path: Path) -> ModuleType:
    """Import a test file by its name, so that processes that it spawns find it, too."""
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def select(
    module: ModuleType, pattern: str = ""
) -> tuple[unittest.TestSuite, list[tuple[str, str]]]:
    """Return the tests to run, and the names of the others with their reasons.

    Args:
        module: the tests.
        pattern: only tests whose name has this text in it.
    """
    suite, excluded = unittest.TestSuite(), []
    for test in _tests(unittest.defaultTestLoader.loadTestsFromModule(module)):
        reason = reason_to_exclude(test)
        if reason is not None:
            excluded.append((test.id(), reason))
        elif pattern in test.id():
            suite.addTest(test)
    return suite, excluded


def _tests(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for entry in suite:
        if isinstance(entry, unittest.TestSuite):
            yield from _tests(entry)
        else:
            yield entry


def main(arguments: list[str] | None = None) -> int:
    """Run the tests; return 0 if all that are run pass, and 2 if there are none to run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="the tests")
    parser.add_argument("-k", default="", metavar="TEXT", help="only tests with this in their name")
    options = parser.parse_args(arguments)
    if not options.file.is_file():
        print(f"{options.file} is no file", file=sys.stderr)
        return 2
    try:
        import torch.utils.data as torch_data

        import shm_echo.torch
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    torch_data.DataLoader = shm_echo.torch.DataLoader
    suite, excluded = select(load(options.file), options.k)
    if not suite.countTestCases():
        print("no test was found", file=sys.stderr)
        return 2
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    for name, reason in excluded:
        print(f"excluded: {name}: {reason}")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
