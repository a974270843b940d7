"""The built-in methods of the stage `bench`."""
