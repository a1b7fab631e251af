"""CLEVR's lamps (spec BENCHMARKS, "Look")."""

from .sampled_scene import AreaLight

CLEVR_LIGHTS = (
    AreaLight("key", (6.447, -2.905, 4.258), 78.5, 0.5),
    AreaLight("fill", (-4.671, -4.014, 3.011), 23.6, 0.5),
    AreaLight("back", (-1.169, 2.646, 5.816), 39.3, 1.0),
)
