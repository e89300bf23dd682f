"""`kubectl rei`: the words of `rei` for somebody who may use a cluster and has no way to its database.

    client     kubectl, as a program: the kubeconfig, context and login of whoever calls count
    manifests  what a word wants, as the resource that the operator carries out; pure
    pods       where `rei` itself can be run, for what only looks
    work       a word from the manifest to its outcome
    cli        the words

What changes something is a resource, so it leaves a trail in the cluster, is carried out by the one
operator, and works for people who may create resources and not run commands in pods.
"""
