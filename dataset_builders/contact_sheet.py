"""The first pictures of a split side by side: what a dataset card shows."""

from collections.abc import Sequence

from PIL import Image

PICTURES = 16
COLUMNS = 4
GAP = 4  # pixels
MAX_WIDTH = 1280  # pixels of the whole sheet


def make_contact_sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Lay pictures of one size out in rows of four on grey, at most `MAX_WIDTH` wide.

    Raises:
        ValueError: without any picture.
    """
    if not pictures:
        raise ValueError("a contact sheet needs at least one picture")
    width, height = pictures[0].size
    scale = min(1.0, (MAX_WIDTH / COLUMNS - GAP) / width)
    width, height = round(width * scale), round(height * scale)
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (width + GAP) - GAP, rows * (height + GAP) - GAP), "silver")
    for number, picture in enumerate(pictures):
        row, column = divmod(number, COLUMNS)
        sheet.paste(picture.convert("RGB").resize((width, height)), (column * (width + GAP), row * (height + GAP)))
    return sheet
