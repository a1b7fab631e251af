"""What a command reports to its user in one line."""

NO_BLENDER = 'rendering needs Blender: pip install "ig-llm[render]" on Python 3.11'


class CommandError(Exception):
    """Bad input of a command: the message names the file or value and says what to do."""


def check_blender(advice: str) -> None:
    """See that bpy can be imported; `advice` is what to do without it.

    Raises:
        CommandError: if it cannot.
    """
    try:
        import dataset_builders.rendering  # noqa: F401
    except ImportError as error:
        raise CommandError(f"{error}; {NO_BLENDER}, or {advice}") from error


def one_line(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its class when it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
