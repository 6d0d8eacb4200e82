"""YAML that builds plain data only, and no more of it than the text has room for.

An alias costs two characters and stands for as much as one likes: forty lines can spell more
values than any memory holds. So the size of what a text describes is found out before it is built.
"""

from __future__ import annotations

from typing import Any

import yaml

LONGEST = 200_000
"""Characters of a text. A config with every key there is has some 30,000."""
MOST_VALUES, DEEPEST = 50_000, 40


class BoundedLoader(yaml.SafeLoader):
    """Safe YAML of bounded size, depth and expansion."""

    def get_single_node(self) -> yaml.Node | None:
        """The tree of the text, which is known to be small enough."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _count(node, {}, 0)
        return node


def parse_yaml(text: str, loader: type[BoundedLoader] = BoundedLoader, source: str = "") -> Any:
    """What a text describes.

    Args:
        text: of one document.
        loader: which values there are.
        source: that a loader names in its warnings.

    Raises:
        yaml.YAMLError: it is no YAML, or too large, or has a value that its tag does not fit.
    """
    if len(text) > LONGEST:
        raise yaml.YAMLError(f"{len(text)} characters; at most {LONGEST} are read")
    try:
        reader = loader(text)
        reader.source = source  # type: ignore[attr-defined]
        return reader.get_single_data()
    except yaml.YAMLError:
        raise
    except RecursionError:
        raise yaml.YAMLError("nested too deeply") from None
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise yaml.YAMLError(f"a value that is not of its kind ({error})") from error


def _count(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """Values below a node with every alias written out."""
    if id(node) in known:
        count = known[id(node)]
        if not count:
            raise _error(node, "a value contains itself")
        return count
    if depth > DEEPEST:
        raise _error(node, f"nested more than {DEEPEST} deep")
    known[id(node)] = 0  # until it is known
    count = 1
    if isinstance(node, yaml.MappingNode):
        count += sum(_count(n, known, depth + 1) for pair in node.value for n in pair)
    elif isinstance(node, yaml.SequenceNode):
        count += sum(_count(item, known, depth + 1) for item in node.value)
    if count > MOST_VALUES:
        raise _error(node, f"its aliases stand for more than {MOST_VALUES} values")
    known[id(node)] = count
    return count


def _error(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
