"""Maintenance: the procedures that keep a bot running, each as a custom resource and as code.

They know no Kubernetes: the operator, `rei run -f` and the tests call the same functions.
"""
