"""What the readers of guides have before they begin, and no command of the guides can make."""

import contextlib


@contextlib.contextmanager
def given(name, folder):
    """The things of guide `name`, in `folder`, while it is walked."""
    yield
