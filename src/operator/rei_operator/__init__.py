"""The operator: custom resources of the group rei.bot become maintenance, Jobs, status and Events."""
