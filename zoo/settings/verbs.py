"""What the settings of each verb but `train` may be (conf/*.yaml); see `medzoo.settings.schema` for those of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from medzoo.settings.evaluation import EvaluationConfig
from medzoo.settings.schema import ModelConfig


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
        sample: One sample of the run's data instead, whose image is looked at again with `remove` or `within`.
        remove: Box [x, y, width, height] in the image's pixels that the concepts shall not see.
        within: Box outside which they shall see nothing.
        paint: Paint the box of `remove` over with what surrounds it, so that no part of the network has seen it.
        only: Concepts that see otherwise; empty: all.
        data: Dataset options that differ on this machine, such as {root: ...}; with `sample`.
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
    sample: str | None = None
    remove: list[float] | None = None
    within: list[float] | None = None
    paint: bool = False
    only: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    metric: str | None = None
    replicates: int = 1000
    level: float = 0.95
    seed: int = 0
    debug: bool = False


@dataclass
class ExplainConfig:
    """Everything `medzoo explain` needs.

    Attributes:
        run: A run directory.
        sample: A sample_id; None: of a concept bottleneck the class-by-concept weights.
        map: Where the network looked: auto, cam, gradcam or gradient_x_activation; None: of a concept bottleneck what each
            concept adds, of other models auto.
        of: labels, or concepts of a bottleneck.
        name: Which of them; None: of a sample what the model says, of a measure all.
        measure: localisation (maps against marked regions) or deletion (does the output follow the map), over a split.
        split: Of a measure.
        images: Most images of a measure, drawn at random; None: all.
        checkpoint: best or last.
        data: Dataset options that differ on this machine, such as {root: ...}.
        replicates: Bootstrap replicates over groups.
        level: Coverage of the intervals.
        seed: Of the bootstrap, the draw and random maps.
        device: auto, cpu or cuda.
        debug: Show tracebacks of user errors.
    """

    run: str | None = None
    sample: str | None = None
    map: str | None = None
    of: str = "labels"
    name: str | None = None
    measure: str | None = None
    split: str = "test"
    images: int | None = None
    checkpoint: str = "best"
    data: dict[str, Any] = field(default_factory=dict)
    replicates: int = 1000
    level: float = 0.95
    seed: int = 0
    device: str = "auto"
    debug: bool = False


@dataclass
class RobustnessConfig:
    """Everything `medzoo robustness` needs.

    Attributes:
        run: A run directory.
        checkpoint: best or last.
        split: Which split is corrupted.
        corruptions: auto, those of the images' modality; or names, [gaussian_noise, jpeg].
        severities: Of 1 to 5.
        metric: What is measured; None: the one a report leads with.
        baseline: A run directory with a robustness.json of the same samples, corruptions and draws, whose errors are divided by.
        data: Dataset options that differ on this machine, such as {root: ...}.
        replicates: Bootstrap replicates over groups.
        level: Coverage of the intervals.
        seed: Of what is drawn for each sample, and of the bootstrap.
        batch_size: Samples a forward pass; None: 64.
        workers: Loader processes.
        device: auto, cpu or cuda.
        debug: Show tracebacks of user errors.
    """

    run: str | None = None
    checkpoint: str = "best"
    split: str = "test"
    corruptions: Any = "auto"
    severities: list[int] = field(default_factory=lambda: [1, 2, 3, 4, 5])
    metric: str | None = None
    baseline: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    replicates: int = 1000
    level: float = 0.95
    seed: int = 0
    batch_size: int | None = None
    workers: int = 0
    device: str = "auto"
    debug: bool = False


@dataclass
class ReportConfig:
    """Everything `medzoo report` needs.

    Attributes:
        run: A run directory, evaluated.
        split: Whose figures are shown in detail.
        cases: Samples of a kind that are shown; 0: none, and no image is opened.
        overlays: Show where the network looked in each of them; loads the model.
        data: Dataset options that differ on this machine, such as {root: ...}.
        output: The file; None: report.html in the run.
        debug: Show tracebacks of user errors.
    """

    run: str | None = None
    split: str = "test"
    cases: int = 6
    overlays: bool = False
    data: dict[str, Any] = field(default_factory=dict)
    output: str | None = None
    debug: bool = False


@dataclass
class PrepareConfig:
    """Everything `medzoo prepare` needs.

    Attributes:
        data: Name and options of a dataset; see `medzoo.data.load_dataset`.
        format: packed, what data.packed reads; or webdataset, tar files that data=shards and others read.
        size: Pixels a side, [H, W] or [D, H, W]; None: 224, or in format=webdataset as the images are.
        mode: stretch, pad or crop.
        interpolation: bilinear, bicubic or nearest.
        channels: 1 or 3, or as many as planes are; None: the dataset's.
        images: In format=webdataset decoded, pixels without loss, or original, the files' own bytes.
        shard_size: In format=webdataset the most samples a tar file.
        output: Folder to fill; None: prepared/<data>-<size>.
        workers: Threads that decode.
        debug: Show tracebacks of user errors.
    """

    data: dict[str, Any] = field(default_factory=dict)
    format: str = "packed"
    size: Any = None
    mode: str = "stretch"
    interpolation: str = "bilinear"
    channels: int | None = None
    images: str = "decoded"
    shard_size: int = 1000
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


@dataclass
class PushConfig:
    """Everything `medzoo push` needs.

    Attributes:
        run: A run directory.
        repo: Repository on the Hugging Face hub, owner/name; it is made if there is none.
        output: A folder to write the bundle into, with a repository or without.
        checkpoint: best or last.
        private: Whether a new repository is seen by its owner alone.
        licence: Under which the model is shared, an SPDX identifier or other.
        card: A card finished by hand, taken as it is; None: written anew from the run.
        licences_checked: Whether you have looked up the licences that nobody states; for private=false.
        key: Private key of an elliptic curve (PEM) that signs the bundle.
        record: Take along the hashes of samples and patients that were learnt from, which can be guessed at.
        message: Of the commit; None: the bundle's hash.
        debug: Show tracebacks of user errors.
    """

    run: str | None = None
    repo: str | None = None
    output: str | None = None
    checkpoint: str = "best"
    private: bool = True
    licence: str | None = None
    card: str | None = None
    licences_checked: bool = False
    key: str | None = None
    record: bool = False
    message: str | None = None
    debug: bool = False


@dataclass
class CardConfig:
    """Everything `medzoo card` needs.

    Attributes:
        run: A run directory.
        licence: Under which the model is to be shared, an SPDX identifier or other.
        output: The file; None: README.md in the run.
        debug: Show tracebacks of user errors.
    """

    run: str | None = None
    licence: str | None = None
    output: str | None = None
    debug: bool = False
