"""The client's end of the control plane: connects to a server's socket and sends requests."""
