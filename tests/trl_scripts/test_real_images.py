"""Labels without positions are compared along image x."""

import json
from pathlib import Path

import pytest
from PIL import Image

from modeling_igllm import parse_program
from trl_scripts.errors import CommandError
from trl_scripts.real_images import count_right, left_to_right, main, read_labelled

A = {"size": "large", "color": "gray", "material": "metal", "shape": "cube"}
B = {"size": "small", "color": "red", "material": "rubber", "shape": "sphere"}
C = {"size": "small", "color": "cyan", "material": "rubber", "shape": "cylinder"}


def test_a_perfect_prediction_is_right_in_everything() -> None:
    assert count_right([A, B, C], [A, B, C]) == {"size": 3, "color": 3, "material": 3, "shape": 3, "objects": 3}


@pytest.mark.parametrize("predicted", [[B, C], [A, C], [A, B]])
def test_a_missing_object_costs_itself_only(predicted: list[dict[str, str]]) -> None:
    assert count_right(predicted, [A, B, C])["objects"] == 2


def test_an_object_too_many_does_not_shift_the_others() -> None:
    assert count_right([A, C, B, C], [A, B, C])["objects"] == 3


def test_a_wrong_order_is_an_error() -> None:
    assert count_right([B, A], [A, B])["objects"] == 1


def test_no_prediction_is_all_wrong() -> None:
    assert count_right([], [A, B])["objects"] == 0


def test_objects_are_ordered_by_image_x_and_not_by_world_x() -> None:
    # The camera stands at (7.5, -6.5) and looks at the origin: the image's right is world (+x, +y).
    program = (
        "add(size='large', color='gray', material='metal', shape='cube', loc=(0.000, 2.000, 0.700))\n"
        "add(size='small', color='red', material='rubber', shape='sphere', loc=(1.000, -2.000, 0.350))\n"
    )
    assert left_to_right(parse_program(program)) == [B, A]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("{", "holds no labels of images: Expecting property name"),
        ("{}", "holds no labels of images: it needs size, color, material, shape"),
        ("[]", "holds no labels of images: it needs"),
        ('{"a.png": [{"size": "large"}]}', "holds no labels of images: it needs"),
        ('{"a.png": 3}', "holds no labels of images: "),
        (json.dumps({"none.png": [A]}), r"there is no .*none\.png, an image that .*labels\.json names"),
        (json.dumps({"labels.json": [A]}), "labels.json: not a readable image"),
    ],
)
def test_a_folder_without_labelled_images_is_refused_by_name(tmp_path: Path, labels: str, message: str) -> None:
    (tmp_path / "labels.json").write_text(labels)
    with pytest.raises(CommandError, match=message):
        read_labelled(tmp_path)


def test_labelled_images_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--model", "none"]) == 2
    assert (
        capsys.readouterr().err
        == f"real_images: there is no {tmp_path}/labels.json: name a folder of labelled images\n"
    )
    (tmp_path / "labels.json").write_text(json.dumps({"ä.png": [A, B]}, ensure_ascii=False), encoding="utf-8")
    Image.new("RGB", (16, 12)).save(tmp_path / "ä.png")
    ((name, (image, truth)),) = read_labelled(tmp_path).items()
    assert (name, image.size, truth) == ("ä.png", (16, 12), [A, B])
