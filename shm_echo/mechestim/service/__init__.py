"""The server's side of mechestim: sessions that own arrays, run operations and keep the count."""
