"""One client: its stream of frames, its requests, and its errors and warnings."""
