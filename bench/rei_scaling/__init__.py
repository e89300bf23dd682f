"""Replays a day of orders against the autoscaler, and against one that knows the future.

arrivals    who orders when, and how long each picture takes
hpa         Kubernetes' HorizontalPodAutoscaler, as its source has it
policy      what we choose: target, windows, periods
replay      orders, queue, pods and autoscaler, event by event
oracle      the least that the same orders could have cost, for the least that they had to wait
figures     percentiles, ratios, tables
study       what is replayed, and what was tried
"""
