"""Symmetries of tensors: the operations that keep them, the elements they save; no arrays."""
