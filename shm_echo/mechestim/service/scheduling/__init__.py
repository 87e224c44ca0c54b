"""The choice of the thread that works now: the pool, its scheduler and CPU migration."""
