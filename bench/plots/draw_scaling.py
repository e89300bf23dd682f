"""Pods and queue of each replay: `draw_scaling.py scaling.json FOLDER` writes FOLDER/SCENARIO.svg."""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

OURS, ORACLE, WORK = "#2a6f97", "#868e96", "#bc6c25"
mpl.rcParams.update({"svg.hashsalt": "rei", "font.size": 9, "axes.spines.top": False,
                     "axes.spines.right": False, "svg.fonttype": "none"})  # fmt: skip
DAY_SECONDS = 20 * 3600


def draw(course, file):
    moments = course["moments"]
    hours = moments[-1]["at"] > DAY_SECONDS
    times = [one["at"] / (3600 if hours else 60) for one in moments]
    figure, (queue, pods) = plt.subplots(2, sharex=True, figsize=(8, 3.4), height_ratios=[1, 1.4])
    queue.plot(times, [one["queued"] for one in moments], color=WORK, linewidth=1)
    queue.set_ylabel("jobs that wait")
    queue.set_ylim(bottom=0)
    pods.step(times, [one["pods"] for one in moments], where="post", color=OURS, linewidth=1,
              label="pods")  # fmt: skip
    pods.step(times, course["oracle_pods"], where="post", color=ORACLE, linewidth=1,
              linestyle="--", label="the oracle's")  # fmt: skip
    pods.set_ylim(0, 9.5)
    pods.set_ylabel("pods")
    pods.set_xlabel("hours" if hours else "minutes")
    pods.legend(loc="upper left", ncols=2, frameon=False, fontsize=8)
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def main():
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for course in json.loads(Path(sys.argv[1]).read_text())["courses"]:
        draw(course, folder / f"{course['scenario']}.svg")


main()
