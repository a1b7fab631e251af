"""One page that sets each published claim beside what was measured here."""

from typing import Any

from .claims import judge
from .page import table
from .results import Results, missing_runs, total_minutes

_INTRODUCTION = """# Published claims and what was measured here

Every claim of IG-LLM (Kulits et al., TMLR 2024) that an experiment of this project can be set beside, at a scale that
a machine of two cores can train: models of a few million parameters on a small frozen tower instead of Vicuna-7B on
CLIP, thousands of scenes, minutes of training. What is compared is the claim's direction, never its size. The paper's
own figures were not available when this was written: where they would stand, it says "not available".

`igllm experiment NAME --data data --out experiments` makes or continues an experiment; the recipes are in
`trl_scripts/recipes/experiments/`, those of the published sizes in its folder `published/` (never run here)."""


def overview_page(recipes: dict[str, dict[str, Any]], results: dict[str, Results]) -> str:
    """Markdown of the overview.

    Args:
        recipes: experiment -> its recipe as the JSON holds it.
        results: experiment -> its JSON, of those that were begun.
    """
    minutes = sum(total_minutes(one) for one in results.values())
    sections = [_INTRODUCTION, f"**{minutes:.0f} minutes of computing in all.**", _experiments(recipes, results)]
    rows = []
    for name, recipe in recipes.items():
        found = results.get(name)
        made_by = recipe if found is None else found["recipe"]
        for claim in made_by["claims"]:
            link = f"[{name}]({name}.md)" if found else name
            rows.append([claim["text"], claim["source"], "not available", link, *judge(claim, found)])
        rows += [
            [text, "", "not available", name, reason, "not compared"] for text, reason in made_by["unreported"].items()
        ]
    header = ["published claim", "where", "the paper's figures", "experiment", "measured here", "verdict"]
    return "\n\n".join([*sections, "## Claims", table(header, rows)]) + "\n"


def _experiments(recipes: dict[str, dict[str, Any]], results: dict[str, Results]) -> str:
    rows = []
    for name, recipe in recipes.items():
        found = results.get(name)
        if found is None:
            rows.append([name, recipe["title"], "not run yet", ""])
            continue
        planned, missing = len(found["planned"]), len(missing_runs(found))
        rows.append(
            [
                f"[{name}]({name}.md)",
                recipe["title"],
                f"{planned - missing} of {planned} runs",
                f"{total_minutes(found):.0f}",
            ]
        )
    return table(["experiment", "what it is", "state", "minutes"], rows)
