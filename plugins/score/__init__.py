"""The built-in methods of the stage `score`."""
