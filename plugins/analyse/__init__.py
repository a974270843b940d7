"""Analyses of whole studies."""
