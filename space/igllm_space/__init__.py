"""The Space's parts: checkpoint, picture in, table and 3D view out, Blender in a child process, page, server."""
