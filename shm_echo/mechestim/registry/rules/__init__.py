"""Rules for registry entries: `rules.flops` are prices, `rules.memory` are bounds of bytes."""
