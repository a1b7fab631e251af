"""Scripts that are run with what is not there say so in one line."""

from pathlib import Path

import pytest

from trl_scripts import assemble, merge_adapter, real_images, tower_scores


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (assemble, ["--out", "FOLDER/out"], "assemble: give --llava, or --vision and --text; got None"),
        (assemble, ["--llava", "FOLDER/none", "--out", "FOLDER/out"], "FOLDER/none"),
        (merge_adapter, ["--adapter", "FOLDER/none", "--out", "FOLDER/out"], "merge_adapter: "),
        (real_images, ["FOLDER", "--model", "none"], "real_images: there is no FOLDER/labels.json"),
        (tower_scores, ["FOLDER/none", "--dataset", "FOLDER/none", "--dataset_config", "clevr"], "'FOLDER/none'"),
    ],
)
def test_what_is_not_there_is_one_line(
    script: object, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = script.main([argument.replace("FOLDER", str(tmp_path)) for argument in arguments])  # type: ignore[attr-defined]
    assert code == 2
    assert message.replace("FOLDER", str(tmp_path)) in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()
