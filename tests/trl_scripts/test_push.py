"""What `igllm push` puts on a Hub loads in a Python without this package; a broken push changes nothing."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pytest
import tiny
from local_hub import TOKEN, run_fresh

from dataset_builders.dataset_card import write_dataset_card
from dataset_builders.painters import Painter, Picture
from dataset_builders.shards import SplitPlan, claim_folder, render_shard
from metrics.scene_program.scoring import score_programs
from modeling_igllm import IGLLMProcessor
from trl_scripts.cli import main
from trl_scripts.errors import CommandError
from trl_scripts.scene_rows import load_scene_rows

METRIC = Path(__file__).parents[2] / "metrics" / "scene_program"
RED = "add(size='large', color='red', material='metal', shape='sphere', loc=(1.000, 0.000, 0.700))"
MODEL, DATASET, METRIC_SPACE = "user/ig-llm", "user/ig-llm-bench", "user/scene_program"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with its processor."""
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    save_checkpoint(folder, tiny.make_processor(), seed=0)
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Black pictures of sampled scenes: two splits of one shard each."""
    for split in ("val_id", "val_ood"):
        save_split(SplitPlan(tmp_path / "data", "clevr_cogent", split, 2, seed=0, width=32, height=24, samples=1))
    write_dataset_card(tmp_path / "data")
    return tmp_path / "data"


def save_checkpoint(folder: Path, processor: IGLLMProcessor, seed: int) -> None:
    tiny.make_model(processor, seed).save_pretrained(folder)
    processor.save_pretrained(folder)


def save_split(plan: SplitPlan) -> None:
    claim_folder(plan)
    for shard in range(plan.num_shards):
        black = Picture(np.zeros((plan.height, plan.width, 3), np.uint8))
        list(render_shard(plan, shard, Painter(lambda _, black=black: black, "4.5.0")))


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The line with which a push fails."""
    assert main(["push", *map(str, arguments)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("igllm push: ")
    return line


def test_pushed_model_loads_at_a_revision_without_the_package(hub, checkpoint, tmp_path):
    save_checkpoint(tmp_path / "newer", tiny.make_processor(), seed=1)
    assert main(["push", "model", str(checkpoint), MODEL, "--revision", "v1"]) == 0
    assert main(["push", "model", str(tmp_path / "newer"), MODEL]) == 0
    loaded = run_fresh(
        hub,
        tmp_path,
        f"""
from transformers import AutoModel, AutoProcessor
models = [AutoModel.from_pretrained("{MODEL}", trust_remote_code=True, revision=name) for name in ("v1", "main")]
processor = AutoProcessor.from_pretrained("{MODEL}", trust_remote_code=True, revision="v1")
sums = [float(next(model.parameters()).detach().double().sum()) for model in models]
print(json.dumps([type(processor).__name__, *sums]))
""",
    )
    sums = [first_weights(seed) for seed in (0, 1)]
    assert loaded == ["IGLLMProcessor", pytest.approx(sums[0]), pytest.approx(sums[1])]
    assert sums[0] != sums[1]


def first_weights(seed: int) -> float:
    model = tiny.make_model(tiny.make_processor(), seed)
    return float(next(model.parameters()).detach().double().sum())


def test_pushed_dataset_loads_and_streams(hub, dataset, tmp_path):
    assert main(["push", "dataset", str(dataset), DATASET]) == 0
    rows, streamed = run_fresh(
        hub,
        tmp_path,
        f"""
from datasets import load_dataset
rows = load_dataset("{DATASET}", "clevr_cogent", split="val_ood")
streamed = load_dataset("{DATASET}", "clevr_cogent", split="val_ood", streaming=True)
assert rows[0]["image"].size == (32, 24)
print(json.dumps([[(row["scene"]["split"], row["program"]) for row in part] for part in (rows, streamed)]))
""",
    )
    files = str(dataset / "clevr_cogent" / "val_ood-*.parquet")
    local = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert rows == streamed == [["val_ood", program] for program in local["program"]]


def test_pushed_metric_computes_without_the_package(hub, tmp_path):
    assert main(["push", "metric", str(METRIC), METRIC_SPACE]) == 0
    assert hub.repository("spaces", METRIC_SPACE).sdk == "gradio"
    scores = run_fresh(
        hub,
        tmp_path,
        f"""
import evaluate
metric = evaluate.load("{METRIC_SPACE}")
print(json.dumps(metric.compute(predictions=["{RED}", ""], references=["{RED}"] * 2, published_quirks=True)))
""",
    )
    np.testing.assert_equal(scores, score_programs([RED, ""], [RED, RED], published_quirks=True))


def test_repeated_push_sends_nothing(hub, dataset, capsys):
    main(["push", "dataset", str(dataset), DATASET])
    commits, uploads = hub.repository("datasets", DATASET).history(), list(hub.uploads)
    assert len(commits) == 2 and len(uploads) == 2  # the two shards
    assert main(["push", "dataset", str(dataset), DATASET]) == 0
    assert hub.repository("datasets", DATASET).history() == commits and hub.uploads == uploads
    assert f"already holds this: {hub.url}/datasets/{DATASET}/commit/{commits[0].sha}" in capsys.readouterr().out


def test_interrupted_push_changes_nothing_and_can_be_repeated(hub, checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client waits before each of its retries
    main(["push", "model", str(checkpoint), MODEL])
    repository = hub.repository("models", MODEL)
    before = repository.at("main")
    changed = tmp_path / "changed"
    save_checkpoint(changed, tiny.make_processor(), seed=1)
    (changed / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    hub.uploads_to_drop = 100
    line = refusal(capsys, "model", changed, MODEL)
    assert "model.safetensors" in line and "nothing was committed: push again" in line
    assert repository.at("main") == before
    hub.uploads_to_drop = 1  # one lost connection is retried by itself
    assert main(["push", "model", str(changed), MODEL]) == 0
    after = repository.at("main")
    assert after.parent == before.sha and "README.md" in after.files
    assert after.files["model.safetensors"].content == (changed / "model.safetensors").read_bytes()


def test_shards_that_are_gone_leave_the_hub_and_foreign_files_stay(hub, dataset):
    main(["push", "dataset", str(dataset), DATASET])
    api = huggingface_hub.HfApi()
    for path in ("notes.md", "clevr_cogent/val_ood-00001.parquet"):
        api.upload_file(path_or_fileobj=b"PAR1", path_in_repo=path, repo_id=DATASET, repo_type="dataset")
    assert main(["push", "dataset", str(dataset), DATASET]) == 0
    files = set(api.list_repo_files(DATASET, repo_type="dataset"))
    assert "notes.md" in files and "clevr_cogent/val_ood-00001.parquet" not in files


def test_temporary_files_and_caches_stay_at_home(hub, checkpoint, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(checkpoint, folder)
    kept = ("evaluation/fresh.json", ".eval_results/ig_llm.yaml")
    wanted = {path.name for path in folder.iterdir()} | {*kept}
    junk = (
        ".12.tmp",
        ".12-model.safetensors",
        "cache-1.arrow",
        "__pycache__/a.pyc",
        "training_args.bin",
        "features/0a/1.safetensors",
        "trainer_state.json",
        "scene_arguments.json",
        "tower_arguments.json",
        "non_finite_step_3.json",
        "non_finite_step_3_rank_1.safetensors",
    )
    for name in (*junk, *kept, "checkpoint-3/model.safetensors", ".cache/huggingface/a.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    main(["push", "model", str(folder), MODEL])
    assert set(hub.repository("models", MODEL).at("main").files) == wanted | {".gitattributes"}


def test_private_repository_is_seen_by_its_owner_only(hub, checkpoint, capsys):
    main(["push", "model", str(checkpoint), MODEL, "--private"])
    api = huggingface_hub.HfApi()
    assert api.model_info(MODEL).private
    for token in (False, "hf_token_of_another"):
        with pytest.raises(huggingface_hub.errors.RepositoryNotFoundError):
            api.model_info(MODEL, token=token)
    main(["push", "model", str(checkpoint), "user/public"])
    assert "user/public exists and is public: make it private" in refusal(
        capsys, "model", checkpoint, "user/public", "--private"
    )


@pytest.mark.parametrize(
    ("kind", "repo_id", "expected"),
    [
        ("model", MODEL, "is no model: it has no config.json"),
        ("dataset", DATASET, "is no dataset: it has no README.md with `configs`"),
        ("metric", METRIC_SPACE, "is no metric: it has no empty.py"),
    ],
)
def test_folder_of_the_wrong_kind_is_refused(hub, tmp_path, capsys, kind, repo_id, expected):
    folder = tmp_path / "empty"
    folder.mkdir()
    line = refusal(capsys, kind, folder, repo_id)
    assert str(folder) in line and expected in line
    assert "is not a folder" in refusal(capsys, kind, tmp_path / "missing", repo_id)
    assert not hub.store.repositories


def test_unfinished_folders_are_refused(hub, checkpoint, dataset, tmp_path, capsys):
    (dataset / "clevr_cogent" / "val_ood-00000.parquet").unlink()
    assert "names clevr_cogent/val_ood-*.parquet, which is not there" in refusal(capsys, "dataset", dataset, DATASET)
    (dataset / "README.md").write_text("---\nconfigs: [1\n---\n")
    assert "README.md is not YAML" in refusal(capsys, "dataset", dataset, DATASET)
    weightless = tmp_path / "model"
    shutil.copytree(checkpoint, weightless, ignore=shutil.ignore_patterns("*.safetensors"))
    assert "it has no *.safetensors" in refusal(capsys, "model", weightless, MODEL)
    assert not hub.store.repositories


def test_a_dataset_whose_growth_was_interrupted_is_refused(hub, dataset, capsys, monkeypatch, tmp_path):
    grown = SplitPlan(dataset, "clevr_cogent", "val_ood", 102, seed=0, width=32, height=24, samples=1)
    claim_folder(grown)
    black = Picture(np.zeros((24, 32, 3), np.uint8))
    list(render_shard(grown, 1, Painter(lambda _: black, "4.5.0")))
    line = refusal(capsys, "dataset", dataset, DATASET)
    assert "README.md counts 2 rows in clevr_cogent/val_ood-*.parquet, there are 4; repeat the last" in line
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    with pytest.raises(
        CommandError, match=r"README\.md counts other rows than there are; repeat the last `igllm build`"
    ):
        load_scene_rows(str(dataset), "clevr_cogent", "val_ood")
    write_dataset_card(dataset)
    assert main(["push", "dataset", str(dataset), DATASET]) == 0
    (dataset / "clevr_cogent" / "val_ood-00001.parquet").write_bytes(b"PAR1")
    assert "val_ood-00001.parquet is damaged" in refusal(capsys, "dataset", dataset, DATASET)


def test_a_dataset_whose_card_counts_nothing_is_pushed(hub, dataset):
    files = "[{split: val_id, path: clevr_cogent/val_id-*.parquet}]"
    head = f"configs: [{{config_name: clevr_cogent, data_files: {files}}}]\ndataset_info: {{features: []}}"
    (dataset / "README.md").write_text(f"---\n{head}\n---\n")
    assert main(["push", "dataset", str(dataset), DATASET]) == 0


def test_a_model_that_lacks_a_part_of_its_weights_is_refused(hub, checkpoint, tmp_path, capsys):
    folder = tmp_path / "model"
    tiny.make_model(tiny.make_processor()).save_pretrained(folder, max_shard_size="50KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1 and main(["push", "model", str(folder), MODEL]) == 0
    shards[0].unlink()
    assert f"is no finished model: it has no {shards[0].name}" in refusal(capsys, "model", folder, MODEL)
    (folder / "model.safetensors.index.json").write_text("[]")
    assert "model.safetensors.index.json is damaged" in refusal(capsys, "model", folder, MODEL)


@pytest.mark.parametrize("repo_id", ["ig-llm", "user/ig llm", "user/a/b", "user/-a"])
def test_bad_repository_id_is_quoted(hub, checkpoint, capsys, repo_id):
    assert f"{repo_id!r} is no repository id" in refusal(capsys, "model", checkpoint, repo_id)


def test_refusals_of_the_hub_say_what_to_do(hub, checkpoint, capsys, monkeypatch):
    assert "may not write to another/ig-llm" in refusal(capsys, "model", checkpoint, "another/ig-llm")
    assert f"{MODEL}: " in refusal(capsys, "model", checkpoint, MODEL, "--revision", "refs/pr/1")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "refused the token: run `hf auth login`" in refusal(capsys, "model", checkpoint, MODEL)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", "/nowhere/token")
    assert "not logged in: run `hf auth login`" in refusal(capsys, "model", checkpoint, MODEL)


def test_unreachable_hub_is_named(checkpoint, capsys, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    line = refusal(capsys, "model", checkpoint, MODEL)
    assert "lost http://127.0.0.1:9" in line and "check the network and HF_ENDPOINT" in line


def test_command_reads_the_environment_of_the_stock_client(hub, dataset, tmp_path):
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "trl_scripts.cli", "push", "dataset", str(dataset), DATASET]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sha = hub.repository("datasets", DATASET).at("main").sha
    assert done.stdout == f"{hub.url}/datasets/{DATASET}/commit/{sha}\n"
