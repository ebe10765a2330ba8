"""The algorithms: the maths, one file each, pure functions over one NamedTuple of state."""
