"""The typed form of what `conf/` holds: a wrong key or type ends here, with one line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from medzoo.data.dataset import SPLITS
from medzoo.data.errors import ConfigError, UnknownNameError
from medzoo.settings.metric_names import metric_texts


@dataclass
class PreprocessConfig:
    """How images become model input; None is chosen from the dataset, or from the pretrained weights.

    Attributes:
        size: Pixels a side, [H, W] or [D, H, W]; default: the weights' own, the
            backbone's where it is fixed, else an in-memory dataset's native, else 224.
        mode: stretch, pad or crop.
        interpolation: bilinear, bicubic or nearest.
        channels: 1 or 3; default: the dataset's, 3 for pretrained weights.
        mean: One value a channel on the 0..1 scale; default: the weights' own, else 0.5.
        std: One value a channel on the 0..1 scale; default: the weights' own, else 0.5.
    """

    size: Any = None
    mode: str = "stretch"
    interpolation: str | None = None
    channels: int | None = None
    mean: list[float] | None = None
    std: list[float] | None = None


@dataclass
class ConceptFilterConfig:
    """Which concepts of a list a language bottleneck leaves out; similarities are cosines of text embeddings.

    Oikarinen et al. 2023 (section 3.1) take 0.85 and 0.9 on the average of two encoders; CLIP's texts alone lie closer together.

    Attributes:
        class_similarity: A concept as near as this to a class name is that class again.
        concept_similarity: Of two concepts as near as this the later goes.
        activation: Least mean of a concept's five highest training scores (theirs: 0.25 for OpenAI's CLIP); None: any.
    """

    class_similarity: float = 0.97
    concept_similarity: float = 0.98
    activation: float | None = None


@dataclass
class BottleneckConfig:
    """How a concept bottleneck is built and trained.

    Attributes:
        kind: What classes see of the concepts: soft (probabilities), hard (0 or 1), logit, score (of a language bottleneck).
        regime: joint, sequential or independent training of `backbone`; posthoc: concept directions in the features of a trained
            run (`backbone`); language: an image–text model's scores for a list of texts. The latter two train no network.
        concepts: Names of the data's concepts to use; for language a list file or a packaged list's name; None: all, the
            dataset's list.
        concept_data: Name and options of another dataset that post-hoc concepts are learnt from; None: the run's own.
        concept_weight: Weight of the concept loss.
        class_layer_rate: Learning rate of a jointly trained class layer, times the backbone's.
        penalty: Of a class layer that is fitted after training (1 / C of scikit-learn); None, for posthoc and language:
            the one with the smallest validation loss.
        l1_ratio: Share of the L1 norm in that penalty (elastic net, on standardised concepts); 0: L2 alone.
        residual: A path from features to classes beside the concepts (CBM-h).
        shuffle_concepts: Train on concepts of other samples: what the classes are then still told
            leaks past the concepts.
        filter: Which concepts of a list are left out; language.
    """

    kind: str = "soft"
    regime: str = "joint"
    concepts: Any = None
    concept_data: dict[str, Any] | None = None
    concept_weight: float = 1.0
    class_layer_rate: float = 20.0
    penalty: float | None = 1.0
    l1_ratio: float = 0.0
    residual: bool = False
    shuffle_concepts: bool = False
    filter: ConceptFilterConfig = field(default_factory=ConceptFilterConfig)


@dataclass
class ModelConfig:
    """Which model, and where its first weights come from.

    Attributes:
        family: Registry family.
        backbone: Architecture name, or the directory of a run to start from.
        pretrained: Fetch the published weights: true, for image–text models a tag of open_clip's; `packaged`: those of the
            extra `pretrained`, without a network (tf_efficientnet_lite0).
        checkpoint_path: Start from a local weights file.
        small_stem: 3×3 stem for small images; None: for a ResNet from scratch on at most 32 pixels.
        neighbours: Answer by this many nearest training images in feature space instead of a
            trained head; nothing is trained. None: a trained head.
        freeze: Towers of an image–text model that are not trained: image, text.
        image_tower: A timm name in place of an image–text model's own image tower.
        image_pretrained: Start that tower from timm's published weights.
        captions: What an image–text model reads: auto (the dataset's captions, else its labels in
            words), column, labels, or a prompt file.
        bottleneck: Of a concept bottleneck (family cbm); None for the others.
        arguments: Further arguments of the architecture, such as {drop_rate: 0.1}.
        preprocess: How images become its input.
    """

    family: str = "cnn"
    backbone: str = "resnet18"
    pretrained: Any = False
    checkpoint_path: str | None = None
    small_stem: bool | None = None
    neighbours: int | None = None
    freeze: list[str] = field(default_factory=list)
    image_tower: str | None = None
    image_pretrained: bool = False
    captions: str = "auto"
    bottleneck: BottleneckConfig | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)


@dataclass
class LossConfig:
    """What training minimises; see `medzoo.losses.masked`.

    Attributes:
        name: `auto` (cross_entropy, binary_cross_entropy or smooth_l1 by label kind), or one of
            cross_entropy, corn, cumulative (ordinal), binary_cross_entropy, asymmetric, focal
            (multilabel), smooth_l1, squared_error (regression).
        label_smoothing: Share of each target spread over all classes, in [0, 1).
        class_weights: `balanced` (by the training split, as scikit-learn) or one number a class.
        positive_weights: `balanced` (negatives / positives) or one number a finding; multilabel.
        arguments: Further arguments of the loss, such as {gamma: 2.0}.
    """

    name: str = "auto"
    label_smoothing: float = 0.0
    class_weights: Any = None
    positive_weights: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class TrainerConfig:
    """How the loop trains. Units: epochs, optimizer steps, samples.

    Attributes:
        epochs: Passes over the training split.
        batch_size: Samples a forward pass, over all devices together.
        accumulate: Forward passes an optimizer step; the gradient is that of the larger batch, missing labels included.
        optimizer: Any name of `timm.optim.list_optimizers()`.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled where the optimizer's is; not on biases and norms.
        momentum: For optimizers that have it.
        schedule: cosine, constant or step.
        warmup_epochs: Linear warm-up from 0.
        final_learning_rate: Where cosine ends.
        milestones: Shares of the training after which `step` multiplies by 0.1.
        clip: Largest gradient norm; None: no clipping.
        ema: Decay of the moving average that is validated and saved (warmed up); None: no average.
        precision: no, bf16 or fp16 (accelerate's names; `no` is float32).
        compile: torch.compile the network.
        monitor: Validation metric that chooses the epoch (of a solved probe the penalty), or `loss`; None: auroc, for
            regression mae. A name of medzoo's or torchmetrics'; with arguments {name: {argument: value}}.
        patience: Epochs without a better `monitor` before stopping; None: never stop early.
        save_every: Optimizer steps between resumable states; None: at the end of each epoch only.
        augment: `auto` (by modality), a policy name, `none`, or a list of {name, ...} of albumentations
            or torchvision.
        augmenter: What runs a policy by name: opencv, or albumentations, as it was at first.
        finetune: full, partial (the head and the last `unfreeze` blocks) or linear (the head alone).
            What is frozen keeps its running statistics too.
        probe: How a linear probe finds its head: solved (the minimum on cached features, under the penalty that `monitor`
            likes best) or sgd (the loop); auto: solved, unless a setting or the model asks for steps.
        unfreeze: Blocks trained beside the head, counted from the end; for partial.
        layer_decay: Factor on the learning rate for each block further from the head; None: 1.
        cache_features: Compute the features of a linear probe once, without augmentation; None:
            for linear without an augmentation of its own.
        sampling: shuffle (every sample once an epoch) or balanced (classes equally often, drawn
            with replacement; findings by their rarest).
        mixup: Beta parameter of mixup (Zhang et al. 2018); 0: off.
        cutmix: Beta parameter of cutmix (Yun et al. 2019); 0: off. With both, one is drawn a batch.
        metrics: Follow accuracy and AUROC (of quantities the mean error) on the training batches, too.
        input: loader (images are augmented by the loader's processes, one by one) or device (those of one shape are held where
            the network is, and augmented there in batches); auto: device on a GPU where the images allow it.
        workers: Loader processes; the numbers do not depend on it.
        trackers: Experiment trackers, by accelerate's names.
        log_every: Optimizer steps between logged values.
    """

    epochs: int = 20
    batch_size: int = 64
    accumulate: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    momentum: float = 0.9
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    final_learning_rate: float = 0.0
    milestones: list[float] = field(default_factory=lambda: [0.5, 0.75])
    clip: float | None = 1.0
    ema: float | None = None
    precision: str = "no"
    compile: bool = False
    monitor: Any = None
    patience: int | None = None
    save_every: int | None = None
    augment: Any = "auto"
    augmenter: str = "opencv"
    finetune: str = "full"
    probe: str = "auto"
    unfreeze: int = 1
    layer_decay: float | None = None
    cache_features: bool | None = None
    sampling: str = "shuffle"
    mixup: float = 0.0
    cutmix: float = 0.0
    metrics: bool = False
    input: str = "auto"
    workers: int = 0
    trackers: list[str] = field(default_factory=list)
    log_every: int = 20


@dataclass
class EvaluationConfig:
    """How results are computed.

    Attributes:
        splits: Splits to predict and report.
        batch_size: Samples a forward pass; None: 64.
        replicates: Bootstrap replicates over groups.
        level: Coverage of the intervals.
        seed: Seed of the bootstrap.
        bins: Bins of the calibration error.
        tta: Augmented copies of each image whose probabilities are averaged with its own; 0: none.
        extra: Further metrics, any classification or regression metric of torchmetrics by its name; with arguments
            {name: {argument: value}}.
    """

    splits: list[str] = field(default_factory=lambda: ["val", "test"])
    batch_size: int | None = None
    replicates: int = 1000
    level: float = 0.95
    seed: int = 0
    bins: int = 15
    tta: int = 0
    extra: list[Any] = field(default_factory=list)


def check_evaluation(config: EvaluationConfig) -> None:
    """Refuse settings of an evaluation that mean nothing, before anything is trained or predicted.

    Raises:
        UnknownNameError: If there is no such split.
        ConfigError: If a number is out of range, or no split or one split twice is named.
    """
    for split in config.splits:
        if split not in SPLITS:
            raise UnknownNameError("split", split, SPLITS, where=" in evaluation.splits")
    if not config.splits or len(set(config.splits)) < len(config.splits):
        raise ConfigError(f"evaluation.splits={list(config.splits)} must name at least one split, and each once")
    for name, least in (("replicates", 0), ("bins", 1), ("tta", 0)):
        if getattr(config, name) < least:
            raise ConfigError(f"evaluation.{name}={getattr(config, name)} must be at least {least}")
    if config.batch_size is not None and config.batch_size < 1:
        raise ConfigError(f"evaluation.batch_size={config.batch_size} must be at least 1")
    metric_texts(config.extra, "evaluation.extra")
    if not 0 < config.level < 1:
        raise ConfigError(f"evaluation.level={config.level:g} is not between 0 and 1, both left out; 0.95 is usual")


@dataclass
class TrainConfig:
    """Everything `medzoo train` needs.

    Attributes:
        data: Name and options of a dataset; see `medzoo.data.load_dataset`.
        model: Which model.
        loss: What it minimises.
        trainer: How it is trained.
        evaluation: How it is scored afterwards.
        run: Run directory; None: runs/<data>-<backbone>-<time>.
        resume: A run directory to go on with; its own configuration is used.
        seed: Seed of the first weights, the order, the augmentation and dropout.
        device: auto, cpu or cuda.
        evaluate: Predict and report with the best checkpoint when training is done.
        debug: Show tracebacks of user errors.
    """

    data: dict[str, Any] = field(default_factory=dict)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    run: str | None = None
    resume: str | None = None
    seed: int = 0
    device: str = "auto"
    evaluate: bool = True
    debug: bool = False
