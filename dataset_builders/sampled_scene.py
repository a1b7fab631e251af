"""What a sampler hands to a renderer: a scene program with its camera, its lamps and where it came from."""

from dataclasses import dataclass

from modeling_igllm import SceneObject, SceneProgram

from .camera import Camera, Vector3
from .palette import RGB


@dataclass(frozen=True)
class AreaLight:
    """A square area lamp aimed at the world origin: place in metres, `energy` in watts, side length in metres."""

    name: str
    location: Vector3
    energy: float
    size: float


@dataclass(frozen=True)
class SampledScene:
    """One drawn scene: everything that decides its picture, and the numbers that reproduce it.

    `visible_pixels[i]` counts the pixels of object i at 320x240 against the analytic shapes (spec BENCHMARKS); it is
    empty in families without that rule. A flat scene has no camera and no lights. `textures[i]` is the number of the
    texture that multiplies the colour of object i, None for none; it is empty where no object has one. `rgbs[i]`
    is the linear colour in which object i is rendered in place of that of its word, which then means nothing; it is
    empty where the words hold.
    """

    objects: tuple[SceneObject, ...]
    camera: Camera | None
    lights: tuple[AreaLight, ...]
    visible_pixels: tuple[int, ...]
    family: str
    split: str
    seed: int
    index: int
    attempt: int
    textures: tuple[int | None, ...] = ()
    rgbs: tuple[RGB, ...] = ()

    @property
    def program(self) -> SceneProgram | None:
        """The scene as data of the scene-program language; None where that has no words for the colours."""
        return None if self.rgbs else SceneProgram(self.objects)
