"""`shm_echo.jax`: batches as JAX arrays, which stay as they are. Each test is a program of its own.

JAX starts threads, beside which the other tests must not fork.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.log_filters import without_wait_hints
from tests.support.scripts import run_script
from tests.support.waiting import WATCHDOG

ROOT = Path(__file__).resolve().parents[1]

needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="JAX is not installed: tox -e jax"
)

DATASET = """
import gc, json, sys
import jax
import jax.numpy as jnp
import numpy as np
import shm_echo
from shm_echo.jax import DataLoader, to_device

class Images:
    def __len__(self):
        return 400

    def __getitem__(self, i):
        return {"image": np.full((8, 8), i % 256, np.uint8), "label": i, "noise": i / 7}
"""


def run(folder: Path, text: str, env: Mapping[str, str] | None = None) -> Any:
    """Run a program whose main part is `text`; return the JSON that it prints.

    It is a file: the workers import it.
    """
    main = textwrap.indent(textwrap.dedent(text), "    ")
    program = folder / "program.py"
    program.write_text(f"{DATASET}\nif __name__ == '__main__':\n{main}")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **(env or {})},
        capture_output=True,
        text=True,
        timeout=WATCHDOG,
    )
    assert (done.returncode, without_wait_hints(done.stderr)) == (0, "")
    return json.loads(done.stdout)


# ---------------------------------------------------------------- without JAX

WITHOUT = """
import sys
sys.modules["jax"] = None  # as if it were not installed
try:
    import shm_echo.jax
except ImportError as error:
    print(type(error).__name__, error.name, error, sep="|")
"""


def test_without_jax_the_import_says_how_to_install_it() -> None:
    kind, name, text = run_script(WITHOUT).strip().split("|")

    assert (kind, name) == ("ImportError", "jax")
    assert text == ("shm_echo.jax needs JAX, which is not installed: pip install 'shm-echo[jax]'")


def test_another_module_that_jax_lacks_is_named() -> None:
    text = """
    import sys, types
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "jax":
                raise ModuleNotFoundError("No module named 'scipy'", name="scipy")
    sys.meta_path.insert(0, Broken())
    try:
        import shm_echo.jax
    except ImportError as error:
        print(error.name)
    """
    assert run_script(text) == "scipy\n"


def test_the_package_and_its_loader_do_not_import_jax() -> None:
    text = "import sys, shm_echo; shm_echo.DataLoader; print('jax' in sys.modules)"
    assert run_script(text) == "False\n"


# ---------------------------------------------------------------- batches


@needs_jax
def test_batches_are_those_of_the_numpy_loader_in_dtypes_of_jax(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        """
        same = []
        arguments = {"shuffle": True, "seed": 3}
        wanted = list(shm_echo.DataLoader(Images(), 64, **arguments))
        for workers in (0, 2):
            with DataLoader(Images(), 64, num_workers=workers, **arguments) as loader:
                batches = list(loader)
            for batch, other in zip(batches, wanted, strict=True):
                for key, leaf in other.items():
                    equal = bool((batch[key] == jnp.asarray(leaf)).all())
                    same.append(isinstance(batch[key], jax.Array) and equal)
        print(json.dumps([same, {key: str(leaf.dtype) for key, leaf in batch.items()}]))
        """,
    )

    assert found == [
        [True] * 2 * 7 * 3,
        {"image": "uint8", "label": "int32", "noise": "float32"},
    ]


@needs_jax
def test_batches_stay_as_they_are_with_the_collector_disabled(tmp_path: Path) -> None:
    """Some are kept, some are dropped while a computation may still read them."""
    found = run(
        tmp_path,
        """
        gc.disable()

        @jax.jit
        def total(batch):
            return batch["image"].astype(jnp.int32).sum()

        kept, totals = [], []
        with DataLoader(Images(), 8, num_workers=2) as loader:
            for epoch in range(4):
                for number, batch in enumerate(loader):
                    totals.append(total(batch))
                    if number % 7 == 0:
                        kept.append(batch["label"])
            stats = loader.stats()
        first = [int(label[0]) for label in kept]
        whole = [bool((label - label[0] == jnp.arange(8)).all()) for label in kept]
        sums = [int(one) for one in totals]
        print(json.dumps([first, all(whole), sums, stats.batches]))
        """,
    )

    wanted = [sum(64 * (i % 256) for i in range(n, n + 8)) for n in range(0, 400, 8)]
    assert found == [list(range(0, 400, 56)) * 4, True, wanted * 4, 200]


@needs_jax
def test_a_batch_may_be_donated(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        """
        from functools import partial

        @partial(jax.jit, donate_argnums=0)
        def change(images):
            return images + jnp.uint8(1)

        with DataLoader(Images(), 8, num_workers=1, rows_per_claim=8) as loader:
            found = [int(change(batch["image"])[0, 0, 0]) for _ in range(2) for batch in loader]
        print(json.dumps(found))
        """,
    )

    assert found == [(n + 1) % 256 for n in range(0, 400, 8)] * 2


@needs_jax
def test_batches_go_to_a_device_or_to_several(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        """
        first, second = jax.devices()
        mesh = jax.sharding.Mesh(np.array([first, second]), "rows")
        rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("rows"))
        found = []
        for device in (second, rows):
            (batch, *_) = DataLoader(Images(), 8, device=device)
            image = batch["image"]
            shards = [shard.data.shape[0] for shard in image.addressable_shards]
            devices = sorted(device.id for device in image.devices())
            found.append([devices, shards, int(image.sum())])
        print(json.dumps(found))
        """,
        {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
    )

    total = 64 * sum(range(8))
    assert found == [[[1], [8], total], [[0, 1], [4, 4], total]]


@needs_jax
def test_what_jax_has_no_type_for_stays_and_what_does_not_fit_is_named(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        """
        batch = {"x": np.ones(2, np.float64), "name": ["a", "b"], "when": np.zeros(2, "M8[s]")}
        there = to_device(batch)
        errors = []
        for action in (
            lambda: to_device({"ids": [np.array([1, 2**40])]}),
            lambda: DataLoader(Images(), reuse=True),
        ):
            try:
                action()
            except (OverflowError, ValueError) as error:
                errors.append(str(error))
        jax.config.update("jax_enable_x64", True)
        wide = to_device(np.array([1, 2**40]))
        print(json.dumps([str(there["x"].dtype), there["name"], there["when"] is batch["when"],
                          errors, wide.tolist()]))
        """,
    )

    *rest, errors, wide = found
    assert rest == ["float32", ["a", "b"], True]
    assert errors[0].startswith("['ids'][0] has int64 numbers beyond int32, ")
    assert errors[1].startswith("reuse=True gives the memory of a batch back ")
    assert wide == [1, 2**40]


@needs_jax
def test_a_loop_is_resumed_where_it_was(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        """
        loader = DataLoader(Images(), 100, shuffle=True, seed=1)
        loop = iter(loader)
        next(loop)
        assert loop.state_dict() == loader.state_dict()
        state = json.loads(json.dumps(loader.state_dict()))
        rest = [batch["label"].tolist() for batch in loop]
        again = DataLoader(Images(), 100, shuffle=True, seed=1)
        again.load_state_dict(state)
        print(json.dumps([batch["label"].tolist() for batch in again] == rest))
        """,
    )

    assert found is True


@needs_jax
def test_a_batch_of_ragged_rows_is_a_node_of_jax(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        """
        texts = [[i] * (i % 4) for i in range(8)]
        example = shm_echo.Ragged(np.int32, 3)
        with DataLoader(texts, 4, example=example, num_workers=1) as loader:
            batches = list(loader)
        count = jax.jit(lambda batch: (batch.padded > 0).sum() + batch.lengths.sum())
        print(json.dumps([
            all(isinstance(part, jax.Array) for b in batches for part in (b.padded, b.lengths)),
            [[row.tolist() for row in batch] for batch in batches],
            [int(count(batch)) for batch in batches],
            [jax.tree_util.keystr(path) for path, _ in
             jax.tree_util.tree_flatten_with_path(batches[0])[0]],
        ]))
        """,
    )
    rows = [[[i] * (i % 4) for i in range(first, first + 4)] for first in (0, 4)]
    assert found == [True, rows, [12, 12], [".padded", ".lengths"]]
