"""JAX and PyTorch, which alias a batch and read it later, where they are installed.

tests/test_lease_copy.py imitates them without either.
"""

from __future__ import annotations

import importlib.util

import pytest

from tests.support.scripts import run_script

_JAX = """
    import logging, os, threading
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax, jax.numpy as jnp, numpy as np
    from shm_echo import Server

    logging.getLogger("shm_echo").setLevel(logging.ERROR)  # it tells of the copies
    example = {{"x": np.zeros(20_000, np.int32)}}
    update = jax.jit(lambda total, batch: total + batch["x"][:, 0].sum())

    def feed():
        for i in range(1600):
            server.submit({{"x": np.full(20_000, i // 4, np.int32)}})

    with Server(example, 4, num_buffers=3, lease={lease!r}) as server:
        feeder = threading.Thread(target=feed)
        feeder.start()
        total = jnp.zeros((), jnp.int32)
        for _ in range(400):
            sample = server.sample(timeout=60)
            total = update(total, sample.batch)
        feeder.join()
        print(int(total) == 4 * sum(range(400)))
"""

_TORCH = """
    import logging, warnings
    import numpy as np, torch
    from shm_echo import Server

    logging.getLogger("shm_echo").setLevel(logging.ERROR)
    with Server(np.zeros(8, np.float32), 2, num_buffers=3, writable=True) as server:
        kept = []
        for i in range(40):
            for _ in range(2):
                server.submit(np.full(8, i, np.float32))
            kept.append(torch.from_numpy(server.sample().batch))
        print(all(bool((tensor == i).all()) for i, tensor in enumerate(kept)))
"""


def installed(library: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(library) is None, reason=f"{library} is not installed"
    )


@installed("jax")
@pytest.mark.parametrize("lease", [True, "copy"])
def test_a_jitted_loop_of_jax_computes_the_right_total(lease: object) -> None:
    assert run_script(_JAX.format(lease=lease)) == "True\n"


@installed("torch")
def test_tensors_over_batches_that_are_kept_show_what_was_sent() -> None:
    assert run_script(_TORCH) == "True\n"
