"""The TCP transport: the server's side, and the client's."""
