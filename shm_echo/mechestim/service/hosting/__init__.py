"""The hosts of sessions: threads of the server, or a worker process for each session."""
