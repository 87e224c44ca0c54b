"""`shm-echo demo`: an application of the library, from actor processes to a learning curve.

What it is: a program in small modules, and reading matter for those who write their own: `actor`
and `learner` hold every call into the library.

- `fragment`: what one sample is; `policy`, `advantage`, `ppo`: the algorithm, in NumPy.
- `actor`, `actor_config`, `fleet`, `chaos`: the actor processes and their misfortunes.
- `ledger`, `continuity`: the proof that nothing was lost, torn or duplicated.
- `learner`: the loop that owns the ring. `outcome`, `history`: its records.
- `view`, `news`, `summary`, `plot`: what the user sees.

What it leaves to others: the command line (`shm_echo.cli.demo`). The library imports nothing
from here.
"""
