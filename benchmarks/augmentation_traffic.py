"""What a GPU has to do to augment a batch: kernels started, and memory read and written, counted without a GPU.

    python -m benchmarks.augmentation_traffic [--batch 128] [--side 256] [--size 224]

A GPU's time for steps as light as these is that of their memory (large images) or of their starts (small ones). Both are the
same on any device: they are counted here while a CPU runs the code a GPU would run, in float16 as it would.
"""

from __future__ import annotations

import argparse
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from medzoo.data.samples import by_torch
from medzoo.data.samples.augment import Augment
from medzoo.data.samples.policies import POLICIES
from medzoo.data.samples.preprocess import Preprocess


def footprint(tensor: Tensor) -> int:
    """Return the bytes a tensor lies on; what is repeated by a stride of 0 counts once."""
    count = tensor.element_size()
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= length if stride else 1
    return count


class Traffic(TorchDispatchMode):
    """Counts what runs within it.

    Attributes:
        launches: Operations that touch memory.
        bytes: Read by them and written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launches = self.bytes = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        written = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        returns = operation._schema.returns
        if returns and all(one.alias_info is not None and not one.alias_info.is_write for one in returns):
            return result  # a view
        name = operation._schema.name
        if name == "aten::empty":
            return result
        if name == "aten::index_select":  # rows alone
            read = [*read[1:], *written]
        elif name in {"aten::index_copy_", "aten::scatter_"}:
            read = read[1:]
            written = read[-1:]
        self.launches += 1
        self.bytes += sum(map(footprint, read)) + sum(map(footprint, written))
        return result


def main() -> None:
    """Print a line a policy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--side", type=int, default=256, help="of the images as they are held")
    parser.add_argument("--size", type=int, default=224, help="of the network's input")
    options = parser.parse_args()
    images = torch.randint(0, 256, (options.batch, 3, options.side, options.side), dtype=torch.uint8)
    batch = 2 * images[0, :, 0, 0].numel() * options.size**2 * options.batch
    print(f"{options.batch} images of {options.side} pixels to {options.size}; a batch of float16 is {batch / 2**20:.1f} MiB")
    for name, policy in POLICIES.items():
        augment = Augment(policy, Preprocess((options.size, options.size))).batched
        assert augment is not None
        with patch.object(by_torch, "_working", lambda images: torch.float16), Traffic() as counted:
            augment(images, list(range(options.batch)))
        print(f"{name:<12} {counted.launches:>4} launches  {counted.bytes / batch:6.1f} batches read and written")


if __name__ == "__main__":
    main()
