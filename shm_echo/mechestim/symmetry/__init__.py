"""What symmetric tensors are, what keeps them symmetric, and what that saves; no arrays here."""
