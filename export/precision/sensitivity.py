"""Which layers a reduced precision hurts, and the search for the fewest that must stay float32.

The cost of a layer is measured with that layer alone reduced, as Wu et al. 2020 (arXiv 2004.09602, "Partial quantization")
measure it: N conversions of one calibrated graph and N short runs. Costs are then about additive, so leaving out the dearest
layers first is the greedy order. Reducing all but one instead would measure one layer against the noise of all the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from medzoo.export.files.model_files import open_model
from medzoo.export.precision.convert import Reduction
from medzoo.export.precision.figures import Gate

Judge = Callable[[onnx.ModelProto], Mapping[str, Gate]]


@dataclass(frozen=True)
class Search:
    """What a search has found.

    Attributes:
        model: The last graph tried: the one that passed, or the one with most layers in float32.
        gates: Its verdicts, by what was judged.
        first: The verdicts with every layer reduced.
        kept: Node names of the layers left in float32.
        costs: Node name → cost, see `layer_costs`; empty where it was not measured.
    """

    model: onnx.ModelProto
    gates: Mapping[str, Gate]
    first: Mapping[str, Gate]
    kept: tuple[str, ...] = ()
    costs: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate.passed for gate in self.gates.values())


def search_layers(
    reduction: Reduction, judge: Judge, measure: Callable[[], Mapping[str, float]], *, always: bool = False
) -> Search:
    """Reduce all layers; if a gate fails, leave the costliest 1, 2, 4, 8, ... and at last half of them in float32.

    Args:
        reduction: Of one graph.
        judge: Runs the gates on a reduced graph.
        measure: Returns the cost of each layer by node name; called at most once, and only if it is needed or `always`.
        always: Measure the costs even if the first graph passes.

    Returns:
        The first graph that passed, or the last one tried.
    """
    model = reduction.convert()
    first = judge(model)
    found = Search(model, first, first)
    if not found.passed or always:
        costs = dict(measure())
        order = sorted(costs, key=lambda node: -costs[node])
        found = Search(model, first, first, (), costs)
        for count in kept_counts(len(order)):
            if found.passed:
                break
            kept = tuple(order[:count])
            model = reduction.convert(kept)
            found = Search(model, judge(model), first, kept, costs)
    return found


def kept_counts(layers: int) -> Iterator[int]:
    """Yield 1, 2, 4, 8, ... below half of the layers, and half of them; nothing for a single layer."""
    count = 1
    while count < layers // 2:
        yield count
        count *= 2
    if layers >= 2:
        yield layers // 2


def layer_costs(
    reduction: Reduction, reference: Any, feeds: Sequence[Mapping[str, NDArray[Any]]], output: str
) -> dict[str, float]:
    """Return what each layer costs when it alone is reduced.

    Args:
        reduction: Of one graph.
        reference: Session of the float32 graph.
        feeds: A few batches of real inputs.
        output: The output that is compared.

    Returns:
        Node name → root mean square error of the output in standard deviations of the float32 output over these inputs; infinite
        where the reduced output is not finite.
    """
    wanted = _outputs(reference, feeds, output)
    # An output that is the same for every input has no spread: its own size is the scale.
    scale = float(wanted.std()) or float(np.abs(wanted).max()) or 1.0
    nodes = [layer.node for layer in reduction.layers]
    costs = {}
    for node in nodes:
        session = open_model(reduction.convert([other for other in nodes if other != node]))
        error = _outputs(session, feeds, output) - wanted
        cost = float(np.sqrt(np.mean(np.square(error)))) / scale
        costs[node] = cost if np.isfinite(cost) else float("inf")
    return costs


def _outputs(session: Any, feeds: Sequence[Mapping[str, NDArray[Any]]], output: str) -> NDArray[np.float64]:
    return np.concatenate([session.run([output], dict(feed))[0] for feed in feeds]).astype(np.float64)
