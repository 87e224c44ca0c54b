"""One client: its stream of frames, its requests and the errors and warnings it is sent."""
