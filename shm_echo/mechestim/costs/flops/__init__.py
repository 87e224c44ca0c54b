"""Prices in FLOPs, one module for each family of operations."""
