"""What the settings of each verb but `train` may be (conf/*.yaml); see `medzoo.config` for those of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from medzoo.config import EvaluationConfig, ModelConfig


@dataclass
class EvaluateConfig:
    """Everything `medzoo evaluate` needs.

    Attributes:
        run: A run directory.
        checkpoint: best or last.
        predict: Predict anew; false: score the predictions.parquet that is there, without model or images.
        evaluation: How it is scored.
        data: Dataset options that differ on this machine, such as {root: ...}.
        workers: Loader processes.
        device: auto, cpu or cuda.
        debug: Show tracebacks of user errors.
    """

    run: str | None = None
    checkpoint: str = "best"
    predict: bool = True
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    data: dict[str, Any] = field(default_factory=dict)
    workers: int = 0
    device: str = "auto"
    debug: bool = False


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


@dataclass
class ZeroshotConfig:
    """Everything `medzoo zeroshot` needs.

    Attributes:
        data: Name and options of a dataset; not used with `images`.
        model: An image–text model: model.backbone=<open_clip name>, hf-hub:..., local-dir:...
        trained: A run directory of medzoo's own, instead.
        checkpoint: best or last, of `trained`.
        prompts: A prompt file, or the name of packaged prompts; None: those packaged for the dataset.
        held_out: Use the prompts' held-out wording: null, templates, synonyms or both.
        classes: Class names, with `images`, or in place of the dataset's own wording.
        templates: Texts with one {} each, for `classes`.
        ontology: A JSON file of node → children; classes are then scored by the leaves below them.
        images: Image files or folders, without a dataset; prints one line an image.
        json: With `images`, one JSON object a line.
        evaluation: How results are computed.
        run: Directory for results; None: runs/zeroshot-<data>-<model>-<time>.
        device: auto, cpu or cuda.
        debug: Show tracebacks of user errors.
    """

    data: dict[str, Any] = field(default_factory=dict)
    model: ModelConfig = field(default_factory=ModelConfig)
    trained: str | None = None
    checkpoint: str = "best"
    prompts: str | None = None
    held_out: str | None = None
    classes: list[str] | None = None
    templates: list[str] | None = None
    ontology: str | None = None
    images: list[str] | None = None
    json: bool = False
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    run: str | None = None
    device: str = "auto"
    debug: bool = False


@dataclass
class InterveneConfig:
    """Everything `medzoo intervene` needs.

    Attributes:
        run: A run directory of a concept bottleneck, evaluated.
        split: Which split of its predictions.
        policies: Orders of correction: random, uncertainty, effect.
        groups: Correct the concepts of a group together.
        set: Concepts to set for every sample instead, by name, 0 to 1.
        randomise: Concepts to draw at random instead.
        metric: Of the classes; None: the label kind's first.
        replicates: Bootstrap replicates over groups.
        level: Coverage of the intervals.
        seed: Of random orders, random concepts and the bootstrap.
        debug: Show tracebacks of user errors.
    """

    run: str | None = None
    split: str = "test"
    policies: list[str] = field(default_factory=lambda: ["random", "uncertainty", "effect"])
    groups: bool = False
    set: dict[str, float] = field(default_factory=dict)
    randomise: list[str] = field(default_factory=list)
    metric: str | None = None
    replicates: int = 1000
    level: float = 0.95
    seed: int = 0
    debug: bool = False


@dataclass
class ExplainConfig:
    """Everything `medzoo explain` needs.

    Attributes:
        run: A run directory of a concept bottleneck.
        sample: A sample_id of its predictions; None: the class-by-concept weights.
        debug: Show tracebacks of user errors.
    """

    run: str | None = None
    sample: str | None = None
    debug: bool = False


@dataclass
class PrepareConfig:
    """Everything `medzoo prepare` needs.

    Attributes:
        data: Name and options of a dataset; see `medzoo.data.load_dataset`.
        size: Pixels a side, [H, W] or [D, H, W].
        mode: stretch, pad or crop.
        interpolation: bilinear, bicubic or nearest.
        channels: 1 or 3; None: the dataset's.
        output: Folder to fill; None: prepared/<data>-<size>.
        workers: Threads that decode.
        debug: Show tracebacks of user errors.
    """

    data: dict[str, Any] = field(default_factory=dict)
    size: Any = 224
    mode: str = "stretch"
    interpolation: str = "bilinear"
    channels: int | None = None
    output: str | None = None
    workers: int = 2
    debug: bool = False


@dataclass
class VerifyConfig:
    """Everything `medzoo verify` needs.

    Attributes:
        data: Name and options of a dataset; see `medzoo.data.load_dataset`.
        images: all, none, or how many images to decode and compare.
        deep: Look for near-identical images too, by perceptual hash.
        output: Folder for verify.json and verify.html; None: the terminal alone.
        workers: Threads that decode.
        debug: Show tracebacks of user errors.
    """

    data: dict[str, Any] = field(default_factory=dict)
    images: Any = "all"
    deep: bool = False
    output: str | None = None
    workers: int = 2
    debug: bool = False
