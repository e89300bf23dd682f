"""A real Kubernetes, for tests and for a person to play with.

**An API server on loopback**, anywhere: kube-apiserver, etcd and kube-controller-manager as child
processes. RBAC, admission, CEL, watches, ServiceAccount tokens, garbage collection and the end of
namespaces are the real ones. There is no kubelet and no scheduler: a Pod stays as it was written, and
nothing of it ever runs.

**A whole one with a node**, as root on Linux: pods run, from images that are built here too.

    errors          what goes wrong, by cause
    builds          what takes minutes: told about, one at a time
    go_programs     programs built from pinned Go modules, once for a machine
    programs        which programs there are: given ones, else built ones
    certificates    who may call whom, made anew for each control plane
    servers         child processes with a log and a pid file
    control_plane   the three servers together
    kubeconfig      how to reach it, as its admin or as a ServiceAccount
    shared          one control plane for all processes of a test run
    images          container images without Docker
    namespace       the network that a node lives in
    cgroups         where its pods are counted
    node_config     what its programs are told
    node            control plane, node and pods together
    leftovers       what is left of them, found without their memory

Danger: etcd's data is not synced, and all of it goes when the control plane ends.
"""
