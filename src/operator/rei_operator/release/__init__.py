"""What an install and an upgrade ask of a cluster: `rei apply` and `rei rollout`.

The chart's hooks run these in Jobs. Its default maintenance cannot be the chart's own objects, since
their kinds come with the same release; a backup before an upgrade is ordered from the operator that
still runs; and afterwards somebody looks whether the new pods have become ready.

    objects    what is applied, what is pruned, what has ended: pure
    apply      makes the cluster so, and waits
    rollout    waits for Deployments

Everything may be killed and done again: objects have fixed names, and applying is no counting.
"""
