"""CLEVR's two materials as Cycles node trees (spec BENCHMARKS, "Look")."""

import bpy

from ..palette import RGB

RUBBER_IOR = 1.25
RUBBER_ROUGHNESS = 0.59
RUBBER_SHEEN = 0.2
METAL_MIX = 0.6
METAL_ROUGHNESS = (0.447, 0.1)
GROUND_GRAY = 0.8


def make_material(kind: str, color: RGB) -> bpy.types.Material:
    """Create a material of `kind` "metal" or "rubber" in a linear RGB colour; KeyError for another kind."""
    material, tree = _new_material(kind)
    _connect_surface(tree, _SHADERS[kind](tree, (*color, 1.0)))
    return material


def make_ground_material() -> bpy.types.Material:
    """Create the matte grey of the ground plane."""
    material, tree = _new_material("ground")
    _connect_surface(tree, _add(tree, "ShaderNodeBsdfDiffuse", Color=(GROUND_GRAY, GROUND_GRAY, GROUND_GRAY, 1.0)))
    return material


def make_principled_copy(material: bpy.types.Material) -> bpy.types.Material:
    """Create the Principled BSDF nearest to one of this module's materials: the only kind that glTF export knows."""
    copy, tree = _new_material(material.name)
    # Every surface here has its colour in the first node that has one, and is metal exactly if it has no diffuse node.
    nodes = material.node_tree.nodes if material.node_tree else []
    color = next(tuple(node.inputs["Color"].default_value) for node in nodes if "Color" in node.inputs)
    is_metal = not any(node.type == "BSDF_DIFFUSE" for node in nodes)
    roughness = sum(METAL_ROUGHNESS) / 2 if is_metal else RUBBER_ROUGHNESS
    principled = {"Base Color": color, "Metallic": float(is_metal), "Roughness": roughness}
    _connect_surface(tree, _add(tree, "ShaderNodeBsdfPrincipled", **principled))
    return copy


def _new_material(name: str) -> tuple[bpy.types.Material, bpy.types.NodeTree]:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    assert material.node_tree is not None  # `use_nodes` has just made it
    material.node_tree.nodes.clear()
    return material, material.node_tree


def _add(tree: bpy.types.NodeTree, kind: str, **inputs: object) -> bpy.types.NodeSocket:
    """Add a node, set or link its inputs by socket name, and return its first output."""
    node = tree.nodes.new(kind)
    for name, value in inputs.items():
        if isinstance(value, bpy.types.NodeSocket):
            tree.links.new(value, node.inputs[name])
        else:
            node.inputs[name].default_value = value
    return node.outputs[0]


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


def _glossy(tree: bpy.types.NodeTree, color: tuple[float, ...], roughness: float) -> bpy.types.NodeSocket:
    socket = _add(tree, "ShaderNodeBsdfAnisotropic", Color=color, Roughness=roughness)
    socket.node.distribution = "GGX"
    return socket


def _metal(tree: bpy.types.NodeTree, color: tuple[float, ...]) -> bpy.types.NodeSocket:
    rough, smooth = METAL_ROUGHNESS
    return _mix(tree, METAL_MIX, _glossy(tree, color, rough), _glossy(tree, color, smooth))


def _rubber(tree: bpy.types.NodeTree, color: tuple[float, ...]) -> bpy.types.NodeSocket:
    diffuse = _add(tree, "ShaderNodeBsdfDiffuse", Color=color)
    sheen = _add(tree, "ShaderNodeBsdfSheen", Color=color)
    body = _mix(tree, RUBBER_SHEEN, diffuse, sheen)
    fresnel = _add(tree, "ShaderNodeFresnel", IOR=RUBBER_IOR)
    return _mix(tree, fresnel, body, _glossy(tree, (1.0, 1.0, 1.0, 1.0), RUBBER_ROUGHNESS))


_SHADERS = {"metal": _metal, "rubber": _rubber}
