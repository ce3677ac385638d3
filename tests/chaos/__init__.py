"""Kills a real hub before, during and after everything it waits for, and looks what the next one makes of it.

`plugged.py` runs in the hub's process in place of `python -m minihub`: it wraps the methods at which the hub waits for the
store, ssh, Slurm, a launcher's report or a user's Jupyter. Each passage is a *crossing* with a name; a plan names one of
them and the phase in which the process kills itself. The product knows nothing of it.

`scenarios.py` has what people do, `lane.py` one hub and its people, `judging.py` what must hold afterwards, `cases.py` where
to kill, `run.py` the command line of scripts/chaos. `test_chaos.py` runs a seeded part of the same.
"""
