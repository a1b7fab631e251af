"""Everything that needs Blender."""

import bpy  # noqa: F401  (before bmesh and mathutils, which exist only once bpy is loaded)
