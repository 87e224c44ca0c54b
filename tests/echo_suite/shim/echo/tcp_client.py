"""`echo.tcp_client`."""

from shm_echo import ConnectionClosedError, TcpClient

__all__ = ["ConnectionClosedError", "TcpClient"]
