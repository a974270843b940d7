"""Reading YAML strictly: a mistake is one line that names the file and the place, and no key may stand twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from prunery.errors import PruneryError

MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses a key that stands twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As usual, once all keys are found to differ. Raises `PruneryError` with the line of the second one."""
        seen: dict[str, int] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                if key.value in seen:
                    first = f"it stands in line {seen[key.value]} already: keep one"
                    raise PruneryError(f"{self.name}, line {line}: the key {key.value!r} is there twice: {first}")
                seen[key.value] = line
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """What a YAML file (or a JSON file) holds.

    Raises `PruneryError` naming the file, and the line where there is one, if it is absent or no YAML.
    """
    try:
        with path.open(encoding="utf-8") as file:
            content = yaml.load(file, _Loader)
        _check_ends(content, [])
    except PruneryError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise PruneryError(f"{path}{where}: this is no YAML: {error.problem or error.context}: mend it") from error
    except FileNotFoundError as error:
        raise PruneryError(f"there is no file {str(path)!r}: name one that exists") from error
    except Exception as error:  # bytes that are no UTF-8, a date that is none: the library has many ways to fail
        raise PruneryError(f"{path} is not readable YAML ({error}): mend it, or save it as UTF-8 text") from error
    return content


def _check_ends(value: Any, above: list[int]) -> None:
    """Refuse an anchor that holds itself, which no reader of the content would come to an end with."""
    if id(value) in above:
        raise ValueError("an anchor holds an alias of itself")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        _check_ends(each, [*above, id(value)])


def read_mapping(path: Path) -> dict[str, Any]:
    """The keys of a YAML file. Raises `PruneryError` as `read_yaml` does, and if the file holds anything else."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise PruneryError(f"{path} holds {found}: write lines of 'key: value', see docs/config.md")
    return content
