"""`echo.trajectory_accumulator`."""

from shm_echo import TrajectoryAccumulator

__all__ = ["TrajectoryAccumulator"]
