"""What the settings of each verb but `train` may be (conf/*.yaml); see `medzoo.settings.schema` for those of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from medzoo.settings.schema import EvaluationConfig, ModelConfig


@dataclass
class EvaluateConfig:
    """Everything `medzoo evaluate` needs.

    Attributes:
        run: A run directory.
        checkpoint: best or last.
        predict: Predict anew; false: score the predictions.parquet that is there, without model or images.
        evaluation: How it is scored.
        data: Dataset options that differ on this machine, such as {root: ...}.
        on: Name and options of another dataset to test on, on=scin on.root=...; its results go to external/ in the run.
        on_splits: Which of its splits are taken; None: all its samples.
        map: Its names → the model's, where classes, findings, quantities or concepts are called otherwise, {theirs: ours}; null
            leaves one out. Or a YAML file of that, or the name of one of conf/maps.
        name: Of the folder of those results; None: the dataset's.
        workers: Loader processes.
        device: auto, cpu or cuda.
        debug: Show tracebacks of user errors.
    """

    run: str | None = None
    checkpoint: str = "best"
    predict: bool = True
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    data: dict[str, Any] = field(default_factory=dict)
    on: dict[str, Any] = field(default_factory=dict)
    on_splits: list[str] | None = None
    map: Any = None
    name: str | None = None
    workers: int = 0
    device: str = "auto"
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
        frames: With `images`: members makes each frame of a file of several an image; None: such files are refused.
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
    frames: str | None = None
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
