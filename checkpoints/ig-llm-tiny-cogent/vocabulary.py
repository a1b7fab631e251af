"""Words, attribute names and limits of the scene-program language (SCENE_PROGRAM)."""

NUM_TOKEN = "[NUM]"
"""Text of the one token that stands for every number when a numeric head gives the values."""

MAX_NUMBER = 1e6
"""Largest magnitude of a number (SCENE_PROGRAM, "Grammar")."""

MAX_NUMBER_DIGITS = 100
"""Most digits of one number in a text, on both sides of the point together."""

MAX_PROGRAM_CHARACTERS = 2_000_000
"""Most characters of a text that the parser reads."""

MAX_OBJECTS = 10_000
"""Most objects of one scene program."""

SPELLINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "size": {"small": ("small", "tiny"), "large": ("large", "big")},
    "color": {color: (color,) for color in ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")},
    "material": {"metal": ("metal", "metallic", "shiny"), "rubber": ("rubber", "matte")},
    "shape": {"cube": ("cube", "block"), "sphere": ("sphere", "ball"), "cylinder": ("cylinder",)},
}
"""For each word attribute of a CLEVR object: canonical word -> all its spellings, the canonical one first."""

SIZES = tuple(SPELLINGS["size"])
"""The canonical words for `size`."""

COLORS = tuple(SPELLINGS["color"])
"""The words for `color`, of all families."""

MATERIALS = tuple(SPELLINGS["material"])
"""The canonical words for `material`."""

SHAPES = tuple(SPELLINGS["shape"])
"""The canonical words for `shape` of a CLEVR object; other families have words of their own."""

ATTRIBUTES = ("x", "y", "size", "color", "material", "shape", "loc", "rotation")
"""Every attribute name, in canonical writing order."""

QUANTITIES = ("x", "y", "z", "rotation")
"""What a number is: a coordinate of `loc` or of a 2D point, or a yaw or any component of a rotation."""

NO_QUANTITY = -1
"""Stands for an index in `QUANTITIES` at a token that belongs to no number."""

_CANONICAL = {
    attribute: {spelling: word for word, spellings in words.items() for spelling in spellings}
    for attribute, words in SPELLINGS.items()
}


def canonical_word(attribute: str, word: str) -> str:
    """The canonical spelling of a CLEVR `word`, e.g. `("shape", "ball")` -> `"sphere"`; an unknown word unchanged."""
    return _CANONICAL[attribute].get(word, word)
