"""Shader node trees from Python."""

import bpy


def add_node(tree: bpy.types.NodeTree, kind: str, **inputs: object) -> bpy.types.NodeSocket:
    """Add a node, set or link its inputs by socket name, and return its first output."""
    node = tree.nodes.new(kind)
    for name, value in inputs.items():
        if isinstance(value, bpy.types.NodeSocket):
            tree.links.new(value, node.inputs[name])
        else:
            node.inputs[name].default_value = value
    return node.outputs[0]


def multiply(
    tree: bpy.types.NodeTree, first: bpy.types.NodeSocket | tuple[float, ...], second: bpy.types.NodeSocket
) -> bpy.types.NodeSocket:
    """Add a node that multiplies two colours or numbers, the first of them possibly constant."""
    node = tree.nodes.new("ShaderNodeVectorMath")
    node.operation = "MULTIPLY"
    # The inputs of this node share one name, so they are set by position.
    if isinstance(first, bpy.types.NodeSocket):
        tree.links.new(first, node.inputs[0])
    else:
        node.inputs[0].default_value = first
    tree.links.new(second, node.inputs[1])
    return node.outputs[0]
