"""The page of an experiment, written from its JSON alone."""

from collections.abc import Sequence
from statistics import mean
from typing import Any

from .claims import interval, judge, show_interval, show_number
from .results import Results, missing_runs, total_minutes


def experiment_page(results: Results, pictures: dict[str, str]) -> str:
    """Markdown of one experiment.

    Args:
        pictures: caption -> file name beside the page.
    """
    recipe = results["recipe"]
    sections = [
        f"# {recipe['title']}",
        f"**{total_minutes(results):.0f} minutes of computing in all** ({_machines(results)}).",
        _status(results),
        recipe["about"].strip(),
        *_claims(results),
        *_tables(results),
        *(f"![{name.removesuffix('.png')}]({name})\n\n*{caption}*" for caption, name in pictures.items()),
        *_towers(results),
        *_how(results),
    ]
    return "\n\n".join(sections) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [list(header), ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _status(results: Results) -> str:
    missing = missing_runs(results)
    planned, seeds = results["planned"], sorted({run["seed"] for run in results["planned"]})
    done = [seed for seed in seeds if all(run["seed"] != seed for run in missing)]
    text = f"{len(planned) - len(missing)} of {len(planned)} runs, {len(done)} of {len(seeds)} seeds complete."
    if missing:
        names = ", ".join(f"{run['group']} ({run['train_scenes']} scenes, seed {run['seed']})" for run in missing)
        text += f" **Not run: {names}.**"
    return text


def _machines(results: Results) -> str:
    machines = [run["machine"] for run in results["runs"]]
    texts = {f"{item['cores']} cores, {item['system']}, {item['threads']} thread per run" for item in machines}
    return "; ".join(sorted(texts)) or "nothing run yet"


def _claims(results: Results) -> list[str]:
    rows = [
        [claim["text"], claim["source"], "not available", *judge(claim, results)]
        for claim in results["recipe"]["claims"]
    ]
    if not rows:
        return []
    header = ["published claim", "where", "the paper's figures", "measured here", "verdict"]
    return ["## Published claims", table(header, rows)]


def _tables(results: Results) -> list[str]:
    recipe = results["recipe"]
    sections = [
        "## Scores",
        "Strict scores with 95 % bootstrap intervals over the scenes of the split, one row per run.",
    ]
    for split in recipe["splits"]:
        scenes = {run["splits"][split]["scenes"] for run in results["runs"]}
        sections += [
            f"### `{split}` ({' or '.join(map(str, sorted(scenes))) or 'no'} scenes)",
            table(
                ["arm", "training scenes", "seed", *(f"`{name}`" for name in recipe["scores"])], _rows(results, split)
            ),
        ]
    return sections


def _rows(results: Results, split: str) -> list[list[str]]:
    """Rows by arm and training size, and behind several seeds their mean."""
    scores = results["recipe"]["scores"]
    rows = []
    for group, size in dict.fromkeys((run["group"], run["train_scenes"]) for run in results["planned"]):
        runs = [run for run in results["runs"] if (run["group"], run["train_scenes"]) == (group, size)]
        for run in sorted(runs, key=lambda run: run["seed"]):
            cells = [show_interval(interval(run, split, name)) for name in scores]
            rows.append([group, str(size), str(run["seed"]), *cells])
        if len(runs) > 1:
            rows.append([group, str(size), "mean", *(_mean(runs, split, name) for name in scores)])
        if not runs:
            rows.append([group, str(size), "", *(["not run"] * len(scores))])
    return rows


def _mean(runs: Sequence[dict[str, Any]], split: str, name: str) -> str:
    """Of all seeds, or `n/a`: seeds in which the score is not defined are no reason to praise the others."""
    found = [interval(run, split, name) for run in runs]
    values = [one[0] for one in found if one is not None]
    return f"**{show_number(mean(values))}**" if len(values) == len(found) else "n/a"


def _towers(results: Results) -> list[str]:
    rows = []
    for name, tower in results["towers"].items():
        scores = ", ".join(f"{key} {show_number(value)}" for key, value in tower["scores"].items())
        plan = results["recipe"]["towers"][name]
        rows.append(
            [
                f"`{name}`",
                _origin(tower["made_from"], plan["options"]),
                plan["seen"],
                f"{tower['minutes']:.1f}",
                scores or "n/a",
            ]
        )
    if not rows:
        return []
    header = ["tower", "made from", "what it has seen", "minutes", "scores at true centres"]
    sections = ["## Towers", table(header, rows)]
    for name, probe in results["preparation"].get("probes", {}).items():
        sections.append(
            f"A linear probe (ridge regression) on the frozen features of `{name}`, fitted to half of "
            f"`{probe['split']}` and tested on the other half, reads the position with a mean squared error of "
            f"{show_number(probe['mse'])} ({probe['scenes']} scenes; always answering the mean gives "
            f"{show_number(probe['mse_of_mean'])})."
        )
    return sections


def _origin(made_from: dict[str, Any], options: dict[str, Any]) -> str:
    if made_from["checkpoint"] is not None:
        return f"that of `{made_from['checkpoint']}`, weights with SHA-256 `{made_from['checkpoint_sha256'][:12]}`…"
    return f"`recipes/{made_from['recipe']}`" + (f", {_options(options)}" if options else "")


def _how(results: Results) -> list[str]:
    recipe, name = results["recipe"], results["experiment"]
    data = recipe["data"]
    splits = ", ".join(f"`{split}` {count}" for split, count in data["splits"].items())
    rows = [
        [
            run["group"],
            str(run["train_scenes"]),
            str(run["seed"]),
            str(run["tower"] or "none"),
            str(run["steps"] or "by minutes"),
            f"{run['parameters']:,}",
            *(f"{minutes:.1f}" for minutes in run["minutes"].values()),
        ]
        for run in results["runs"]
    ]
    header = ["arm", "scenes", "seed", "tower", "steps", "parameters", "minutes of training", "of evaluation"]
    spent = results["preparation"].get("minutes", {})
    return [
        "## How it was run",
        f"Data: family `{data['family']}`, {splits}, seed {data['seed']}, "
        f"{data['resolution'] or 'pictures of the usual size'}; {sum(spent.values()):.1f} minutes for data and cached "
        f"features. {_length_of_training(results)}",
        f"```bash\nigllm experiment {name} --data data --out experiments --jobs 2\n```",
        table(header, rows),
        _settings(results),
        _versions(results),
    ]


def _length_of_training(results: Results) -> str:
    """What the arms' trainings have in common, as far as it is so."""
    steps = sorted({run["steps"] for run in results["runs"] if run["steps"]})
    sentences = ["Steps of the arms differ."] if len(steps) > 1 else []
    if len(steps) == 1:
        sentences.append(
            f"All arms take {steps[0]:,} steps, so the comparison does not depend on how busy the machine was; "
            "minutes are what they took."
        )
    if any("ns_vqa" in options for options in results["recipe"]["arms"].values()):
        sentences.append("NS-VQA has a limit of minutes or epochs of its own.")
    return " ".join(sentences)


def _settings(results: Results) -> str:
    recipe = results["recipe"]
    arms = [[f"`{name}`", _options(options)] for name, options in recipe["arms"].items()]
    shared = _options(recipe["training"])
    return f"Options of `sft.py` that all arms share (not NS-VQA): {shared}.\n\n" + table(["arm", "options"], arms)


def _options(options: dict[str, Any]) -> str:
    flat: dict[str, Any] = {}
    for name, value in options.items():
        flat |= value if isinstance(value, dict) else {name: value}
    return "; ".join(f"{name}: {value}" for name, value in flat.items())


def _versions(results: Results) -> str:
    found: dict[str, list[str]] = {}
    for run in results["runs"]:
        for name, number in run["machine"]["versions"].items():
            numbers = found.setdefault(name, [])
            numbers += [number] if number not in numbers else []
    texts = [f"{name} {' or '.join(numbers)}" for name, numbers in found.items()]
    return f"Versions: {', '.join(texts) or 'nothing run yet'}."
