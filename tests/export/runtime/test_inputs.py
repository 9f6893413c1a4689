"""Class vectors of one's own."""

from __future__ import annotations

import numpy as np
import pytest

from medzoo.data.errors import OnnxFileError
from medzoo.export.runtime.inputs import check_class_embeddings, unit_means


def test_a_class_vector_is_the_unit_mean_of_its_texts() -> None:
    groups = [np.array([[1, 0], [0, 1]], np.float32), np.array([[0, 1]], np.float32), np.array([[0.6, 0.8], [1, 0]], np.float32)]
    vectors = unit_means(group for group in groups)
    np.testing.assert_allclose(vectors, [[0.5**0.5, 0.5**0.5], [0, 1], [2 / 5**0.5, 1 / 5**0.5]], rtol=1e-6)
    assert vectors.dtype == np.float32
    assert check_class_embeddings(vectors, 2) is vectors
    with pytest.raises(OnnxFileError, match="not unit vectors"):
        check_class_embeddings(2 * vectors, 2)
