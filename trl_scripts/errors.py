"""What a command reports to its user in one line."""


class CommandError(Exception):
    """Bad input of a command: the message names the file or value and says what to do."""
