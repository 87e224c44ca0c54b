"""Upper bounds of the memory that results and scratch take, one module for each family."""
