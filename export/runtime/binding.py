"""Tensors that stay where they are: inputs bound in place, outputs bound on the device, read when somebody reads them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medzoo.data.errors import ImageError, ProviderError

ROWS_OF_A_BATCH = ("image", "tokens", "members", "counts", "views")
"""Inputs that have a row for each image, text or member of a batch."""


def is_tensor(value: Any) -> bool:
    """Whether something is a torch tensor; torch is never imported for the question."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def run_bound(session: Any, feed: Mapping[str, Any], outputs: Sequence[str], device: str, device_id: int = 0) -> dict[str, Any]:
    """Run a session by I/O binding.

    Args:
        session: An `onnxruntime.InferenceSession`.
        feed: Input name → NumPy array, copied to the device; or contiguous torch tensor, used where it is, which must be that
            device. uint8, int64, float16 or float32.
        outputs: Names.
        device: `cpu` or `cuda`: where the outputs shall be.
        device_id: Number of the GPU.

    Returns:
        Output name → `onnxruntime.OrtValue` on that device: `.numpy()` copies it to the host,
        `torch.from_dlpack(value)` shares it.

    Raises:
        ProviderError: If a tensor lies on another device.
        ImageError: If a tensor is not contiguous, or of another type.
    """
    from onnxruntime import OrtValue

    binding = session.io_binding()  # a fresh one: outputs bound before keep the shape of the run before
    for name, value in feed.items():
        if is_tensor(value):
            _bind_tensor(binding, name, value, device, device_id)
        else:
            binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value), device, device_id))
    for name in outputs:
        binding.bind_output(name, device, device_id)
    binding.synchronize_inputs()
    session.run_with_iobinding(binding)
    binding.synchronize_outputs()
    return dict(zip(outputs, binding.get_outputs(), strict=True))


def run_parts(images: Any, batch_size: int, run: Callable[[Any, range], Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """Return what a bound run says of images, a batch at a time, on the host; nothing where there is no image.

    Args:
        images: (N, ...) array or tensor.
        batch_size: Images a run.
        run: Some images and their places → output name → `onnxruntime.OrtValue`.
    """
    found: dict[str, list[NDArray[Any]]] = {}
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        for name, value in run(part, range(start, start + len(part))).items():
            found.setdefault(name, []).append(value.numpy())
    return {name: np.concatenate(values) for name, values in found.items()}


def check_batch(images: Any, preprocess: Mapping[str, Any]) -> None:
    """Refuse an array or tensor that is not (N, H, W, C), or (N, D, H, W, C), of the channels and type of a spec's `preprocess`.

    Nothing is converted: an ImageError says what it is and what is wanted.
    """
    size, channels, dtype = (preprocess[name] for name in ("size", "channels", "dtype"))
    if images.ndim != len(size) + 2 or images.shape[-1] != channels or str(images.dtype).removeprefix("torch.") != dtype:
        wanted = f"(N, {'D, ' * (len(size) - 2)}H, W, {channels}) {dtype}"
        raise ImageError(f"a batch of shape {list(images.shape)} and type {images.dtype} is not this model's {wanted}")


def blank_feed(session: Any, batch_size: int, image: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Return zeros for each input of a session: `batch_size` images of shape (H, W, C) or (D, H, W, C), or other rows.

    Members of bags are each a bag of its own.
    """
    types = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(float16)": np.float16}
    feed: dict[str, NDArray[Any]] = {}
    for given in session.get_inputs():
        shape = [side if isinstance(side, int) else 2 for side in given.shape]  # 2: a few classes, where any number will do
        if given.name == "image":
            shape = [batch_size, *image]
        elif given.name in ROWS_OF_A_BATCH:
            shape[0] = batch_size
        feed[given.name] = np.full(shape, given.name == "counts", types[given.type])
    return feed


def _bind_tensor(binding: Any, name: str, tensor: Any, device: str, device_id: int) -> None:
    import torch  # it is imported already: the tensor is its own

    here = tensor.device.type, tensor.device.index or 0
    if here != (device, device_id):
        raise ProviderError(
            f"{name} is a tensor on {tensor.device}, the model runs on {device}:{device_id}; open it with provider=cuda and that "
            "device_id, or give tensor.cpu()"
        )
    if not tensor.is_contiguous():
        raise ImageError(f"{name} is not contiguous (a transposed or cut tensor); give tensor.contiguous()")
    types = {torch.uint8: np.uint8, torch.int64: np.int64, torch.float16: np.float16, torch.float32: np.float32}
    if tensor.dtype not in types:
        raise ImageError(f"{name} is {tensor.dtype}; give uint8 (0..255) or float32 (0..1)")
    if device == "cuda":  # what torch still computes on its own stream must be there when ONNX Runtime's stream reads it
        torch.cuda.current_stream(tensor.device).synchronize()
    binding.bind_input(name, device, device_id, types[tensor.dtype], tuple(tensor.shape), tensor.data_ptr())
