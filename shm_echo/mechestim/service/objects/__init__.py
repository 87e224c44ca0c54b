"""The objects that a session owns on the server, and their form on the wire."""
