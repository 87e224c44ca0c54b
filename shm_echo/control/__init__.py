"""The control plane: small messages over a Unix socket between a server and its clients.

From the bytes upwards: ``frames`` and ``codec`` (bytes to maps), ``messages`` (maps to frozen
dataclasses), ``states`` and ``endpoint`` (who may say what when), ``handshake``: none of them
touches a socket. ``peer`` knows the process at the other end, ``connection`` is the client,
``listener`` the server. Services register with the server; nothing here knows what they do.

This package imports its parts only where they are used, so that a process that speaks the
protocol over an inherited descriptor never loads ``socket``.
"""
