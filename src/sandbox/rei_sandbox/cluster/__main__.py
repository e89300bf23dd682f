"""`python -m rei_sandbox.cluster`: what `make cluster` and the tests call."""

from rei_sandbox.cluster.cli import cluster

cluster()
