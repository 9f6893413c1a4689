"""Which files a service of single images is not for."""

from __future__ import annotations

from medzoo.export.runtime.model import OnnxModel


def beyond_images(model: OnnxModel) -> str | None:
    """Return what a file takes in place of single images, in words; None: it takes images, or texts.

    Where images come one by one, all but the first modality of such a file would be missing, and each member a bag of its own:
    answers that nobody meant.
    """
    if model.modalities is not None:
        return "several modalities a sample"
    if model.takes_bags:
        return "bags of any number of members"
    return None
