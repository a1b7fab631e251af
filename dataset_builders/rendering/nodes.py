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
