"""What the settings of `medzoo export` and `medzoo bench` may be (conf/export.yaml, conf/bench.yaml)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from medzoo.data.errors import ConfigError

TARGETS = ("onnx", "triton")
"""What an export writes for."""
PRECISIONS = ("fp32", "fp16", "int8", "int8_dynamic")
"""What an exported file may compute in."""

_LOSS, _SHARE, _COUNT = (0, math.inf), (0, 1), (1, math.inf)


def _limit(default: float, possible: tuple[float, float], judging: tuple[float, float]) -> Any:
    """Return a field with both of its ranges, ends included: where it means anything, and what the settings may ask for."""
    return field(default=default, metadata={"possible": possible, "judging": judging})


@dataclass
class CalibrationConfig:
    """How the ranges of activations are found for int8.

    Attributes:
        images: Training images, drawn at random; fewer if there are fewer, and the report says how many.
        seed: Of the draw.
        method: minmax, entropy or percentile; see `medzoo.export.precision.convert.METHODS`.
    """

    images: int = 128
    seed: int = 0
    method: str = "minmax"


@dataclass  # not frozen: OmegaConf would take the settings below it for read-only
class GateLimits:
    """How much a model of reduced precision may differ from its float32 model.

    Attributes:
        loss: Most that macro AUROC may fall, and that of each class with enough samples.
        kappa_loss: Most that quadratic kappa may fall (ordinal labels). Wider than `loss`: kappa is a step function of the
            argmax, and one changed grade among a few hundred moves it by more than AUROC.
        error_growth: Most that the mean absolute error of an output may grow (regression), in standard deviations of its
            targets.
        agreement: Least share of samples with the same argmax (exclusive labels), or of entries on the same side of
            probability 0.5 (multilabel).
        cosine: Least mean cosine of embeddings.
        support: A class counts on its own with that many positive and as many negative samples.
        probability_change: Most that the probabilities may change (all but regression): the mean total variation distance of a
            sample's distribution (exclusive labels), or the mean absolute difference of the finding that changes most
            (multilabel). AUROC and agreement stay equal where logits are only scaled.
        mean_change: Most that the values of an output may change, as the mean absolute difference in standard deviations of its
            targets (regression): the error can shrink while the model says the same for everybody.
        overlap: Least overlap of what both models call, as Dice's coefficient, of every class or finding that either calls at
            least `support` times, and of all findings together. AUROC does not see a shift of all logits, and agreement hardly
            sees what it does to a rare class.

    Raises:
        ConfigError: If a limit is negative or not finite, a share or cosine above 1, or the support below 1.
    """

    loss: float = _limit(0.005, _LOSS, (0, 0.2))
    kappa_loss: float = _limit(0.02, _LOSS, (0, 0.2))
    error_growth: float = _limit(0.01, _LOSS, (0, 1))
    agreement: float = _limit(0.98, _SHARE, (0.5, 1))
    cosine: float = _limit(0.99, _SHARE, (0.5, 1))
    support: int = _limit(30, _COUNT, (1, 1000))
    probability_change: float = _limit(0.03, _LOSS, (0, 0.2))
    mean_change: float = _limit(0.1, _LOSS, (0, 1))
    overlap: float = _limit(0.9, _SHARE, (0.5, 1))

    _range: ClassVar[str] = "possible"

    def __post_init__(self) -> None:
        for limit in fields(GateLimits):
            value, (low, high) = getattr(self, limit.name), limit.metadata[self._range]
            # Written so that NaN, with which every comparison is false, is refused too.
            if not (low <= value <= high and math.isfinite(value)):
                raise ConfigError(f"the gate's limit {limit.name} is {value}; it must be from {low:g} to {high:g}")


@dataclass
class GateConfig(GateLimits):
    """How much a reduced precision may lose on validation images, and on which; see `medzoo.export.precision.gate`.

    Attributes:
        images: Validation images it is judged on, drawn at random; None: all.
        replicates: Bootstrap replicates over groups.
        level: Coverage of the intervals.
        seed: Of the bootstrap and of the draw.

    Raises:
        ConfigError: If a limit is so wide that the gate would pass what no one would call the same model.
    """

    images: int | None = None
    replicates: int = 1000
    level: float = 0.95
    seed: int = 0

    _range: ClassVar[str] = "judging"


@dataclass
class ExportConfig:
    """Everything `medzoo export` needs.

    Attributes:
        run: A run directory.
        checkpoint: best or last.
        output: The file to write (image–text models: the folder); None: model.onnx, or model.<precision>.onnx, in the run
            directory.
        precision: fp32, fp16 (for GPUs), int8 (calibrated) or int8_dynamic (transformers).
        images: Validation images the float32 graph is proven on.
        calibration: How int8 is calibrated.
        gate: What a reduced precision must hold.
        sensitivity: Measure what each layer costs even if the gate passes at once.
        prompts: Wording of an image–text model's classifier: a file or the name of packaged prompts;
            None: those packaged for the dataset.
        operating_points: Let the run's operating points travel in the file; false leaves them out.
        target: onnx: the file alone; triton: a model repository of Triton Inference Server, too, `triton` beside the file.
        data: Dataset options that differ on this machine, such as {root: ...}.
        calibrated: Put the run's calibrator (calibration.json) behind the logits, inside the graph.
        conformal: Put the run's prediction sets (conformal.json) into the graph, as one output more.
        map: Add the exact map over the image (of a bottleneck, of its concepts) as an output more; float32 alone.
        other_data: Prove, calibrate and judge on other samples than the run's own, of the same labels; the report says so.
        debug: Show tracebacks of user errors.
    """

    run: str | None = None
    checkpoint: str = "best"
    output: str | None = None
    precision: str = "fp32"
    images: int = 256
    calibration: CalibrationConfig = field(default_factory=CalibrationConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    sensitivity: bool = False
    prompts: str | None = None
    operating_points: bool = True
    calibrated: bool = False
    conformal: bool = False
    map: bool = False
    target: str = "onnx"
    data: dict[str, Any] = field(default_factory=dict)
    other_data: bool = False
    debug: bool = False


@dataclass
class BenchConfig:
    """Everything `medzoo bench` needs.

    Attributes:
        run: A run directory with the files that `medzoo export` wrote into it.
        checkpoint: best or last.
        backbone: Instead of a run: a name, with random weights.
        family: Of the backbone: cnn, vit, cnn3d, slices or clip.
        size: Of the backbone: pixels a side, [H, W] or [D, H, W]; None: its own, else 224.
        channels: Of the backbone, 1 or 3.
        parts: Of an image–text model: image, text; None: both.
        engines: torch, compile, onnxruntime, openvino; torch eager takes part in any case.
        precisions: fp32, fp16, int8, int8_dynamic; None: those a run has files of, fp32 and int8 of a backbone.
        batch_sizes: Inputs a call.
        rounds: Turns of each engine; the median is reported.
        min_seconds: Least length of a turn.
        warm_up: Calls before the first turn.
        show_rounds: Print every round.
        threads: CPU threads of every engine; None: one a core.
        split_batches: On the CPU, ONNX Runtime and OpenVINO run batches as small pieces side by side, as `OnnxModel` does.
        whole_batches: Show them with whole batches too, in the same rounds.
        provider: Of ONNX Runtime: cpu, cuda, tensorrt; torch runs on the GPU with the last two.
        seed: Of random weights and images.
        output: Folder of bench.json and bench.png; None: the run directory.
        debug: Show tracebacks of user errors.
    """

    run: str | None = None
    checkpoint: str = "best"
    backbone: str | None = None
    family: str = "cnn"
    size: Any = None
    channels: int = 3
    parts: list[str] | None = None
    engines: list[str] = field(default_factory=lambda: ["torch", "compile", "onnxruntime", "openvino"])
    precisions: list[str] | None = None
    batch_sizes: list[int] = field(default_factory=lambda: [1, 32])
    rounds: int = 5
    min_seconds: float = 0.5
    warm_up: int = 2
    show_rounds: bool = True
    threads: int | None = None
    split_batches: bool = True
    whole_batches: bool = False
    provider: str = "cpu"
    seed: int = 0
    output: str | None = None
    debug: bool = False
