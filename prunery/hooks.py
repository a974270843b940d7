"""The one hook of Prunery: a plugin returns its classes, a dictionary does the rest."""

import pluggy

PROJECT = "prunery"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """What a plugin may implement."""

    @hookspec
    def register_methods(self) -> list[type]:
        """Return the method classes of this plugin; each states its `stage` and its `name`."""
        raise NotImplementedError
