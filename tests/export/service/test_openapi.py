"""The document is what the service does: a fuzzer that reads nothing else finds no 500 and no answer that it does not name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from medzoo.export.service.limits import Limits
from tests.export.service.models import bottleneck, open_classes, text_tower
from tests.export.service.served import running, service
from tests.export.service.several import bags, modalities, rows


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("openapi")
    kinds = (bottleneck, open_classes, text_tower, modalities, bags, rows)
    files = [make(folder / f"{make.__name__}.onnx") for make in kinds]
    with running(service(*files, limits=Limits(pixels=100_000))) as address:
        schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
        refused = schema.config.checks.negative_data_rejection
        refused.expected_statuses = [*refused.expected_statuses, "413"]  # of too many files, which the document names
        yield schema


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_document_holds(api: Any, mode: GenerationMode) -> None:
    """With what it allows and what it does not. A schema cannot say which model knows which concept: 422 is an answer, too."""
    for result in api.get_all_operations():
        operation = result.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=5, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
        def holds(case: Any) -> None:
            case.call_and_validate(excluded_checks=[positive_data_acceptance])

        try:
            holds()
        except Unsatisfiable:  # nothing can be wrong with a request that has no parts
            assert mode is GenerationMode.NEGATIVE
            assert not operation.body
