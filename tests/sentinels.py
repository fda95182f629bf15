"""Files of the user's in and around an output, and a look at everything that is not Haigo's own."""

import os
from pathlib import Path

from haigo import files
from haigo.ownership import names_in


def look(root):
    """Every file of a folder as it is: bytes, or where a link leads; none of what Haigo made."""
    found = {}
    for place, folders, names in os.walk(root):
        made = names_in(Path(place))
        for name in [*names, *(each for each in folders if (Path(place) / each).is_symlink())]:
            path = Path(place) / name
            if name not in made and name not in (files.JOURNAL, files.LOCK):
                found[str(path.relative_to(root))] = os.readlink(path) if path.is_symlink() else path.read_bytes()
    return found


def plant(out):
    """Files of the user's in and around an output."""
    precious = out.parent / "precious"
    precious.mkdir(parents=True, exist_ok=True)
    (precious / "a.txt").write_text("precious")
    for place in (out, out / "sub", out.parent):
        place.mkdir(parents=True, exist_ok=True)
        for name in ("notes.txt", ".x.tmp", f".{out.name}.123.tmp", f".{out.name}.99.partial", f"{out.name}.bak"):
            (place / name).write_text(f"mine, {name}")
    for name, target in (("link", precious / "a.txt"), ("folder", precious), ("nowhere", "no/such")):
        if not (out / name).is_symlink():
            (out / name).symlink_to(target)
