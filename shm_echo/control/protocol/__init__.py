"""The control protocol without sockets: frames, messages, the state table and the handshake."""
