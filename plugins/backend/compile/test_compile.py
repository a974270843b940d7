"""When the compiler can be used; that it agrees with eager is in the contract suite."""

import shutil

from prunery.registry import registry


def test_without_a_compiler_it_says_so(monkeypatch):
    backend = registry().configured("backend", "compile", {})
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/clang++" if name == "clang++" else None)
    assert backend.available() is None
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert backend.available() == "no C++ compiler: install g++ or clang++, or name one in CXX"
    asked = []
    monkeypatch.setattr(shutil, "which", asked.append)
    monkeypatch.setenv("CXX", "/opt/icpx")
    backend.available()
    assert "/opt/icpx" in asked
