"""What the settings of `medzoo export` and `medzoo bench` may be (conf/export.yaml, conf/bench.yaml)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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


@dataclass
class GateConfig:
    """How much a reduced precision may lose on validation images; see `medzoo.export.precision.gate.GateLimits`.

    Attributes:
        loss: Most that macro AUROC, and that of each class with enough samples, may fall.
        kappa_loss: Most that quadratic kappa may fall (ordinal labels).
        error_growth: Most that the mean absolute error may grow, in standard deviations of the targets (regression).
        agreement: Least share of samples with the same answer.
        cosine: Least mean cosine of embeddings.
        support: A class is judged on its own with that many positive and as many negative samples.
        probability_change: Most that probabilities may change on average: of a sample's distribution, or of the worst finding.
        mean_change: Most that values may change, the mean absolute difference in standard deviations of the targets (regression).
        overlap: Least overlap (Dice) of the calls of each class or finding that is called `support` times.
        images: Validation images it is judged on, drawn at random; None: all.
        replicates: Bootstrap replicates over groups.
        level: Coverage of the intervals.
        seed: Of the bootstrap and of the draw.
    """

    loss: float = 0.005
    kappa_loss: float = 0.02
    error_growth: float = 0.01
    agreement: float = 0.98
    cosine: float = 0.99
    support: int = 30
    probability_change: float = 0.03
    mean_change: float = 0.1
    overlap: float = 0.9
    images: int | None = None
    replicates: int = 1000
    level: float = 0.95
    seed: int = 0


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
        data: Dataset options that differ on this machine, such as {root: ...}.
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
    data: dict[str, Any] = field(default_factory=dict)
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
