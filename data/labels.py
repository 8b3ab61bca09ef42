"""What a text may be labelled with, in a prompt file or a task."""

LABELS = ("domain", "group")  # optional columns of a prompt file
LABEL_CHARACTERS = 100


def checked_label(name: str, label: object, where: str) -> str | None:
    """A domain or a group; blank is none."""
    if label is None or (isinstance(label, str) and not label.strip()):
        return None
    if not isinstance(label, str):
        raise ValueError(f"{where}: the {name} is {type(label).__name__}, not a string; quote it")
    if len(label) > LABEL_CHARACTERS or not label.isprintable():
        raise ValueError(f"{where}: a {name} is one line of at most {LABEL_CHARACTERS} characters")
    return label.strip()
