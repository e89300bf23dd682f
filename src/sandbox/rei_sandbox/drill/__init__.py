"""`rei drill`: breaks the running system in each way that people on call know, and measures.

rules.py     the chart's alerts, with a minute become a second
system.py    all of Rei as real processes, a real API server, Prometheus and Alertmanager
customers.py who buys meanwhile: whether a picture can be had is what "healthy" means
drills.py    what is broken, who has to hear of it, what mends it
account.py   the kopecks that are missing afterwards
run.py       one drill after the other; report.py the table
"""
