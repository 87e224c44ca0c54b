"""The connection to a server: frames, requests, the value codec and what both ends share."""
