"""The bill of materials of a bundle: the model and the libraries it was trained with, as CycloneDX JSON (version 1.6)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from medzoo.hub.licences import Licence
from medzoo.store.spec import ModelSpec

NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
"""Of names that are addresses (RFC 4122); equal weights then have an equal serial number, and no clock is read."""


def bill_of_materials(spec: ModelSpec, weights: str, links: Iterable[Licence]) -> dict[str, Any]:
    """Return the bill.

    Args:
        spec: Of the model, with the versions it was trained with.
        weights: SHA-256 of its weights.
        links: Licences of what it comes from.
    """
    addresses = {name: f"pkg:pypi/{name.lower().replace('_', '-')}@{version}" for name, version in sorted(spec.versions.items())}
    libraries: list[dict[str, Any]] = [
        {"type": "library", "bom-ref": address, "name": name, "version": spec.versions[name], "purl": address}
        for name, address in addresses.items()
    ]
    data: list[dict[str, Any]] = [
        {"type": "data", "bom-ref": f"data:{link.of}", "name": link.of, "licenses": [{"license": {"name": link.licence}}]}
        for link in links
        if not link.of.startswith("medzoo")
    ]
    model = {
        "type": "machine-learning-model", "bom-ref": "model", "name": spec.architecture, "version": spec.hash,
        "hashes": [{"alg": "SHA-256", "content": weights}],
    }  # fmt: skip
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, f'medzoo:{weights}')}",
        "version": 1,
        "metadata": {"component": model},
        "components": [*libraries, *data],
        "dependencies": [{"ref": "model", "dependsOn": [entry["bom-ref"] for entry in (*libraries, *data)]}],
    }
