"""Hierarchies of classes: node → children."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medzoo.data.errors import DatasetError, UnknownNameError


def descendants(ontology: Mapping[str, Sequence[str]], node: str) -> tuple[str, ...]:
    """Return the leaves below a node, each once, in the order of the lists; a leaf's own are itself alone.

    Args:
        ontology: Node → its children (as Derm1M's `ontology.json`, Yan et al. 2025); a leaf has none or is no key.
        node: Where to start.

    Raises:
        UnknownNameError: If there is no such node.
        DatasetError: If a node lies below itself; names the circle.
    """
    known = {*ontology, *(child for children in ontology.values() for child in children)}
    if node not in known:
        raise UnknownNameError("ontology node", node, known)
    leaves: dict[str, None] = {}
    done: set[str] = set()
    path, waiting = [node], [iter(ontology.get(node, ()))]
    while path:
        child = next(waiting[-1], None)
        if child is None:
            if not ontology.get(path[-1]):
                leaves[path[-1]] = None
            done.add(path.pop())
            waiting.pop()
        elif child in path:
            raise DatasetError(f"ontology: {' > '.join([*path[path.index(child) :], child])} is a circle; remove one step of it")
        elif child not in done:
            path.append(child)
            waiting.append(iter(ontology.get(child, ())))
    return tuple(leaves)
