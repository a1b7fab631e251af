"""CLEVR's two materials as Cycles node trees (spec BENCHMARKS, "Look")."""

from dataclasses import dataclass
from typing import TypeAlias

import bpy

from ..palette import RGB
from .nodes import add_node, multiply
from .textures import add_texture

RUBBER_IOR = 1.25
RUBBER_SHEEN = 0.2
METAL_MIX = 0.6
GROUND_GRAY = 0.8
TRIM_GRAY = 0.03

# A linear RGBA colour, or the socket that computes one.
Color: TypeAlias = tuple[float, ...] | bpy.types.NodeSocket


@dataclass(frozen=True)
class Finish:
    """How rough the materials are, in [0, 1]: metal's two glossies, rubber's one. The defaults are CLEVR's."""

    metal_roughness: tuple[float, float] = (0.447, 0.1)
    rubber_roughness: float = 0.59


CLEVR_FINISH = Finish()


def make_material(
    kind: str, color: RGB, texture: int | None = None, finish: Finish = CLEVR_FINISH
) -> bpy.types.Material:
    """Create a material of `kind` "metal" or "rubber" in a linear RGB colour, multiplied by a texture if given.

    Raises:
        KeyError: for another kind.
        ValueError: for a texture out of [0, `NUM_TEXTURES`).
    """
    material, tree = _new_material(kind)
    shown: Color = (*color, 1.0)
    if texture is not None:
        shown = multiply(tree, color, add_texture(tree, texture))
    _connect_surface(tree, _SHADERS[kind](tree, shown, finish))
    material.diffuse_color = (*color, 1.0)
    return material


def make_two_sided(material: bpy.types.Material) -> None:
    """Let back faces look like front faces: a user's mesh may be open, or have its faces turned inwards.

    The Fresnel node takes what it sees from behind for the inside of a solid, where much of the light is reflected,
    and inverts its index of refraction: there it is given the inverse.
    """
    tree = material.node_tree
    assert tree is not None
    for fresnel in [node for node in tree.nodes if node.type == "FRESNEL"]:
        index = tree.nodes.new("ShaderNodeMath")
        index.operation = "MULTIPLY_ADD"  # IOR on front faces, 1 / IOR on back faces
        tree.links.new(tree.nodes.new("ShaderNodeNewGeometry").outputs["Backfacing"], index.inputs[0])
        index.inputs[1].default_value, index.inputs[2].default_value = 1 / RUBBER_IOR - RUBBER_IOR, RUBBER_IOR
        tree.links.new(index.outputs[0], fresnel.inputs["IOR"])


def trim_material() -> bpy.types.Material:
    """The dark grey of tyres, glass and screw caps: one material for all objects of the session."""
    name = "trim"
    if name in bpy.data.materials:
        return bpy.data.materials[name]
    material = make_material("rubber", (TRIM_GRAY,) * 3)
    material.name = name
    return material


def make_ground_material() -> bpy.types.Material:
    """Create the matte grey of the ground plane."""
    material, tree = _new_material("ground")
    gray = (GROUND_GRAY, GROUND_GRAY, GROUND_GRAY, 1.0)
    _connect_surface(tree, add_node(tree, "ShaderNodeBsdfDiffuse", Color=gray))
    material.diffuse_color = gray
    return material


def make_principled_copy(material: bpy.types.Material) -> bpy.types.Material:
    """Create the Principled BSDF nearest to one of this module's materials: the only kind that glTF export knows.

    It has the material's plain colour: a procedural texture cannot be exported.
    """
    copy, tree = _new_material(material.name)
    color = copy.diffuse_color = tuple(material.diffuse_color)
    # A surface here is metal exactly if it has no diffuse node.
    nodes = material.node_tree.nodes if material.node_tree else []
    is_metal = not any(node.type == "BSDF_DIFFUSE" for node in nodes)
    roughness = sum(CLEVR_FINISH.metal_roughness) / 2 if is_metal else CLEVR_FINISH.rubber_roughness
    principled = {"Base Color": color, "Metallic": float(is_metal), "Roughness": roughness}
    _connect_surface(tree, add_node(tree, "ShaderNodeBsdfPrincipled", **principled))
    return copy


def _new_material(name: str) -> tuple[bpy.types.Material, bpy.types.NodeTree]:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    assert material.node_tree is not None  # `use_nodes` has just made it
    material.node_tree.nodes.clear()
    return material, material.node_tree


def _mix(
    tree: bpy.types.NodeTree,
    factor: float | bpy.types.NodeSocket,
    first: bpy.types.NodeSocket,
    second: bpy.types.NodeSocket,
) -> bpy.types.NodeSocket:
    # The two shader inputs of this node share one name, so they are linked by position.
    node = tree.nodes.new("ShaderNodeMixShader")
    if isinstance(factor, bpy.types.NodeSocket):
        tree.links.new(factor, node.inputs[0])
    else:
        node.inputs[0].default_value = factor
    tree.links.new(first, node.inputs[1])
    tree.links.new(second, node.inputs[2])
    return node.outputs[0]


def _connect_surface(tree: bpy.types.NodeTree, surface: bpy.types.NodeSocket) -> None:
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(surface, output.inputs["Surface"])


def _glossy(tree: bpy.types.NodeTree, color: Color, roughness: float) -> bpy.types.NodeSocket:
    socket = add_node(tree, "ShaderNodeBsdfAnisotropic", Color=color, Roughness=roughness)
    socket.node.distribution = "GGX"
    return socket


def _metal(tree: bpy.types.NodeTree, color: Color, finish: Finish) -> bpy.types.NodeSocket:
    rough, smooth = finish.metal_roughness
    return _mix(tree, METAL_MIX, _glossy(tree, color, rough), _glossy(tree, color, smooth))


def _rubber(tree: bpy.types.NodeTree, color: Color, finish: Finish) -> bpy.types.NodeSocket:
    diffuse = add_node(tree, "ShaderNodeBsdfDiffuse", Color=color)
    sheen = add_node(tree, "ShaderNodeBsdfSheen", Color=color)
    body = _mix(tree, RUBBER_SHEEN, diffuse, sheen)
    fresnel = add_node(tree, "ShaderNodeFresnel", IOR=RUBBER_IOR)
    return _mix(tree, fresnel, body, _glossy(tree, (1.0, 1.0, 1.0, 1.0), finish.rubber_roughness))


_SHADERS = {"metal": _metal, "rubber": _rubber}
