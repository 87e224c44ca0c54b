"""Array handles: objects of this process that stand for arrays of the server."""
