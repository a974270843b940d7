"""The built-in methods of the stage `spectral_fit`."""
