"""The client's end of the control plane: connect to a server's socket, then send requests."""
