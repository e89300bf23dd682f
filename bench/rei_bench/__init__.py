"""Rei's benchmark: every figure beside its peers and the limit of the machine, in the same run."""
