"""The control protocol without I/O: frames, codec, messages, transition table and handshake."""
