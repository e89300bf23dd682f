"""Jobs and pods of a real cluster while it scaled: `draw_cluster.py FOLDER TO` writes TO/cluster-WAY.svg
for each FOLDER/WAY.json."""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

PODS, LEAVING, QUEUED, RUNNING = "#2a6f97", "#a9d6e5", "#bc6c25", "#606c38"
mpl.rcParams.update({"svg.hashsalt": "rei", "font.size": 9, "axes.spines.top": False,
                     "axes.spines.right": False, "svg.fonttype": "none"})  # fmt: skip


def draw(course, file):
    moments, slots = course["moments"], course["slots"]
    times = [one["at"] for one in moments]
    figure, (jobs, pods) = plt.subplots(2, sharex=True, figsize=(8, 4), height_ratios=[1, 1.2])
    jobs.step(times, [one["queued"] for one in moments], where="post", color=QUEUED, linewidth=1)
    jobs.set_ylabel("jobs that wait")
    jobs.set_ylim(bottom=0)
    ready = [one["ready"] * slots for one in moments]
    leaving = [(one["ready"] + one["leaving"]) * slots for one in moments]
    pods.fill_between(times, ready, leaving, step="post", color=LEAVING, label="of pods that go")
    pods.step(times, ready, where="post", color=PODS, linewidth=1, label="of ready pods")
    pods.step(times, [one["running"] for one in moments], where="post", color=RUNNING, linewidth=1,
              label="at work")  # fmt: skip
    pods.set_ylim(0, max(leaving) * 1.25)
    pods.set_ylabel(f"slots ({slots} a pod)")
    pods.set_xlabel("seconds from the first order")
    pods.legend(loc="upper right", ncols=3, frameon=False, fontsize=8)
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def main():
    folder, to = map(Path, sys.argv[1:])
    for file in sorted(folder.glob("*.json")):
        draw(json.loads(file.read_text()), to / f"cluster-{file.stem}.svg")


main()
