"""A plot for each row of a run: `draw.py full.json FOLDER` writes FOLDER/ROW.svg.

Bars are medians, whiskers the lowest and the highest round; cases of another unit get axes of their
own below. In an environment of its own, because matplotlib is needed for nothing else.
"""

import json
import re
import sys
from pathlib import Path
from statistics import median

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

OURS, OTHERS = "#2a6f97", ["#adb5bd", "#ced4da", "#868e96", "#dee2e6", "#6c757d", "#e9ecef"]
mpl.rcParams.update({"svg.hashsalt": "rei", "font.size": 9, "axes.spines.top": False,
                     "axes.spines.right": False})  # fmt: skip


def is_ours(name):
    return name.startswith("Rei") or name == "full tables"


def names_of(cases):
    return list(dict.fromkeys(each["name"] for case in cases for each in case["contenders"]))


def draw(row, file):
    units = dict.fromkeys(case.get("unit") for case in row["cases"])
    groups = [[case for case in row["cases"] if case.get("unit") == unit] for unit in units]
    heights = [0.9 + 0.24 * len(names_of(cases)) * len(cases) for cases in groups]
    figure, all_axes = plt.subplots(len(groups), squeeze=False, figsize=(8, sum(heights)),
                                    height_ratios=heights)  # fmt: skip
    figure.subplots_adjust(hspace=1.2)
    for axes, unit, cases in zip(all_axes[:, 0], units, groups, strict=True):
        draw_cases(axes, cases)
        better = row["better"] if unit is None else "less"
        axes.set_xlabel(f"{unit or row['unit']} ({better} is better)")
        if (unit or row["unit"]) == "ms":
            axes.set_xscale("log")
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def draw_cases(axes, cases):
    names = names_of(cases)
    height = 0.8 / len(names)
    greys = iter(OTHERS * 3)
    blues = iter([OURS, "#61a5c2", "#a9d6e5"])
    for number, name in enumerate(names):
        places, values, below, above = [], [], [], []
        for place, case in enumerate(cases):
            found = next((each for each in case["contenders"] if each["name"] == name), None)
            if found is None:
                continue
            middle = median(found["values"])
            places.append(place + (number - (len(names) - 1) / 2) * height)
            values.append(middle)
            below.append(middle - min(found["values"]))
            above.append(max(found["values"]) - middle)
        colour = next(blues if is_ours(name) else greys)
        axes.barh(places, values, height, xerr=[below, above], label=re.sub("`", "", name),
                  color=colour, ecolor="#495057", capsize=2)  # fmt: skip
    axes.set_yticks(range(len(cases)), [case["name"] for case in cases])
    axes.invert_yaxis()
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.12 - 0.5 / len(cases)), ncols=3,
                frameon=False, fontsize=8)  # fmt: skip


def main():
    run = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for row in run["rows"]:
        if row["cases"]:
            draw(row, folder / f"{row['key']}.svg")


main()
