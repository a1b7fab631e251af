"""The `igllm` command: build data, predict, render, evaluate, experiment, push. `igllm COMMAND --help` says more."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .argument_types import count, positive, resolution
from .cluster import ENGINES, add_cluster_arguments, run_cluster
from .errors import CommandError
from .push import add_push_arguments, run_push


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 all done, 1 a prediction that is no program, 2 bad input."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except CommandError as error:
        print(f"igllm {parsed.command}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="igllm", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_build(commands.add_parser("build", help="render a benchmark family into a dataset folder"))
    _add_cluster(commands.add_parser("cluster", help="the same build on several machines, by datatrove"))
    _add_import_clevr(commands.add_parser("import-clevr", help="turn the published CLEVR_v1.0 into a dataset folder"))
    _add_predict(commands.add_parser("predict", help="read images, write scene programs"))
    _add_render(commands.add_parser("render", help="render a scene program"))
    _add_evaluate(commands.add_parser("evaluate", help="score a model on a built dataset"))
    _add_experiment(commands.add_parser("experiment", help="make or continue an experiment, and write its page"))
    _add_push(commands.add_parser("push", help="put a model, dataset, metric or demo on the Hugging Face Hub"))
    return parser


def _add_build(parser: argparse.ArgumentParser) -> None:
    _add_build_flags(parser)
    parser.add_argument("--workers", type=positive, help="Blender processes (default: one per core)")
    parser.set_defaults(run=_build)


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    engines = parser.add_subparsers(dest="engine", required=True)
    for engine, text in ENGINES.items():
        engine_parser = engines.add_parser(engine, help=text)
        _add_build_flags(engine_parser)
        add_cluster_arguments(engine_parser, engine)
        engine_parser.set_defaults(run=run_cluster)


def _add_build_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("family", help="clevr, clevr_cogent, two_d, so3, six_dof, shapenet, or one added by a package")
    parser.add_argument("--split", help="one split (default: all of the family)")
    parser.add_argument("--num-scenes", type=positive, help="scenes in each split (default: the benchmark's sizes)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resolution", type=resolution, metavar="WxH", help="default: the benchmark's")
    parser.add_argument("--samples", type=positive, default=16, help="Cycles samples per pixel, before denoising")
    parser.add_argument("--ground-truth", action="store_true", help="also fill the columns instance_mask and depth")
    parser.add_argument(
        "--meshes", type=Path, help="shapenet only: folder of your meshes, <category>/<id>/…/*.obj, .glb or .ply"
    )
    parser.add_argument(
        "--picture-seconds",
        type=positive,
        default=1800,
        help="a worker that needs longer for one picture is taken for hung and replaced (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, help="dataset folder; finished shards in it are kept")


def _add_import_clevr(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="CLEVR_v1.0", help="unpacked, with images/ and scenes/ in it")
    parser.add_argument("--num-scenes", type=positive, help="at most this many of each split (default: all)")
    parser.add_argument("--out", type=Path, required=True, help="dataset folder; finished shards in it are kept")
    parser.set_defaults(run=_import_clevr)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder for <stem>.json, <stem>.txt and <stem>.png")
    parser.add_argument("--render", action="store_true", help="also render the program beside the image (needs bpy)")
    _add_model_flags(parser)
    parser.set_defaults(run=_predict)


def _add_render(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("program", type=Path, help=".txt program, or .json as `predict` writes it")
    parser.add_argument("-o", "--out", type=Path, required=True, help="file ending in .png, .blend, .glb or .usd")
    parser.add_argument("--resolution", type=resolution, metavar="WxH", help="default: the family's")
    parser.add_argument("--samples", type=positive, default=64, help="Cycles samples per pixel, before denoising")
    parser.add_argument(
        "--family",
        choices=["clevr", "so3", "six_dof", "shapenet"],
        help="whose camera and lamps to use (default: of the family that has such objects)",
    )
    parser.add_argument("--meshes", type=Path, help="folder of meshes with all shapes of the program, as for build")
    parser.set_defaults(run=_render)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, help="folder or Hub repository of built scenes")
    parser.add_argument("--config", help="family (default: the dataset's only one)")
    parser.add_argument("--split", default="val_id")
    parser.add_argument("--out", type=Path, help="JSON file for the scores")
    parser.add_argument(
        "--image-space", action="store_true", help="also render predicted and true scenes and compare the pictures"
    )
    parser.add_argument("--meshes", type=Path, help="for --image-space: folder of meshes, as for build")
    parser.add_argument(
        "--camera-space", action="store_true", help="CLEVR: also score positions in pixels, and the floor of l2"
    )
    _add_model_flags(parser)
    parser.set_defaults(run=_evaluate)


def _add_experiment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="of a recipe in trl_scripts/recipes/experiments, or a .yaml file of your own")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder; what is missing is built into it")
    parser.add_argument("--out", type=Path, required=True, help="towers, features and runs; finished ones are kept")
    parser.add_argument("--pages", type=Path, default=Path("model_cards/experiments"), help="default: %(default)s")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="only these (default: all of the recipe)")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="only these (default: all of the recipe)")
    parser.add_argument("--jobs", type=positive, default=1, help="runs at a time, one thread each (default: 1)")
    parser.add_argument("--report-to", help="tensorboard, trackio, … as for transformers (default: none)")
    parser.add_argument("--smoke", action="store_true", help="four steps on a few scenes, all of it in OUT/smoke")
    parser.set_defaults(run=_experiment)


def _add_push(parser: argparse.ArgumentParser) -> None:
    add_push_arguments(parser)
    parser.set_defaults(run=run_push)


def _add_model_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="checkpoint folder or Hub repository")
    parser.add_argument("--revision", help="commit, tag or branch of a Hub repository")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps, … (default: cpu)")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--batch-size", type=positive, default=16)
    decoding = parser.add_mutually_exclusive_group()
    decoding.add_argument(
        "--no-grammar", action="store_true", help="decode freely by transformers' generate: answers may be no programs"
    )
    decoding.add_argument(
        "--view-shift",
        type=count,
        metavar="PIXELS",
        help="also read each picture shifted by as many pixels each way, and average; 0: once (default: the model's)",
    )


# Each command imports what it needs when it runs: torch and bpy take seconds.
def _build(parsed: argparse.Namespace) -> int:
    from .commands import run_build

    return run_build(parsed)


def _import_clevr(parsed: argparse.Namespace) -> int:
    from .commands import run_import_clevr

    return run_import_clevr(parsed)


def _predict(parsed: argparse.Namespace) -> int:
    from .prediction import run_predict

    return run_predict(parsed)


def _render(parsed: argparse.Namespace) -> int:
    from .commands import run_render

    return run_render(parsed)


def _evaluate(parsed: argparse.Namespace) -> int:
    from .evaluation import run_evaluate

    return run_evaluate(parsed)


def _experiment(parsed: argparse.Namespace) -> int:
    from .experiments.command import run_experiment

    return run_experiment(parsed)


if __name__ == "__main__":
    sys.exit(main())
