"""Which thread works now: the leader/followers pool, its scheduler and CPU migration."""
