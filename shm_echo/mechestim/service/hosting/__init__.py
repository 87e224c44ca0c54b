"""Where a session runs: on threads of the server, or in a worker process of its own."""
