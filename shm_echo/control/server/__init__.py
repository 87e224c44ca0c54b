"""The server's end of the control plane: listeners, connections, sessions and the event loop."""
