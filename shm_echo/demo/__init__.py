"""`shm-echo demo`: an application of the library, from actor processes to a learning curve.

It is also an example for other applications: `actor` and `learner` make every call into the
    library.

- `fragment`: the structure of a sample. `policy`, `advantage`, `ppo`: the algorithm, in NumPy.
- `actor`, `actor_config`, `fleet`, `chaos`: the actor processes, their restarts and random kills.
- `ledger`, `delivery_audit`: the proof that no sample was lost, torn or duplicated.
- `learner`: the loop that owns the ring. `run_records`, `history`: its records.
- `view`, `log_capture`, `summary`, `plot`: the output.

The command line is in `shm_echo.cli.demo`. The rest of the library does not import this package.
"""
