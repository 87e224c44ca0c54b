"""The control plane: small messages over a socket between a server and its clients.

From the bytes upwards, one idea to a file:

- without any I/O: ``frames`` (bytes to payloads), ``codec`` (payloads to maps), ``messages`` (maps
  to checked dataclasses), ``states`` (who may say what when), ``endpoint`` (one end, all of these
  together), ``handshake`` (from hello to welcome);
- for both sides: ``address``, ``peer`` (the process at the other end), ``descriptors``;
- the client: ``dial`` (reach a server), ``line`` (its end of the socket), ``connection``;
- the server: ``listener`` (what a program holds), ``loop`` (its thread), ``socketfile`` and ``tcp``
  (where it listens), ``access`` and ``tokens`` (who may have what), ``door`` (where they are kept
  out), ``link`` (one connection), ``processes`` (their pidfds), ``sessions`` (what messages mean),
  ``service`` (the contract with those who offer something), ``forking``.

Services register with a server; nothing here knows what they do. Nothing is imported before it is
used, so that the protocol alone can run where there is no ``socket``.
"""
