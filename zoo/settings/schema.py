"""The typed form of what `conf/` holds: a wrong key or type ends here, with one line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from medzoo.settings.evaluation import EvaluationConfig as EvaluationConfig
from medzoo.settings.pretraining import SslConfig as SslConfig
from medzoo.settings.prototypes import PrototypesConfig


@dataclass
class PreprocessConfig:
    """How images become model input; None is chosen from the dataset, or from the pretrained weights.

    Attributes:
        size: Pixels a side, [H, W] or [D, H, W]; default: the weights' own, the
            backbone's where it is fixed, else an in-memory dataset's native, else 224.
        mode: stretch, pad or crop.
        interpolation: bilinear, bicubic or nearest.
        channels: 1 or 3, or as many as planes are (2 to 32); default: the dataset's, 3 for pretrained weights and no planes.
        mean: One value a channel on the 0..1 scale, or one for all; default: the weights' own (their mean for gray and planes),
            else 0.5.
        std: One value a channel on the 0..1 scale, or one for all; default: as of `mean`.
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
        kind: What classes see of the concepts: soft (probabilities), hard (0 or 1), logit, embedding (two vectors a concept,
            mixed by its probability), prototype (how near places of the image lie to each of several a concept), score (of a
            language bottleneck).
        width: Numbers in each of a concept's two embeddings; embedding.
        random_corrections: Chance in training of each known concept to be shown to the classes as its truth (RandInt);
            embedding.
        prototypes: How many a concept, and how they are learnt; prototype.
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
    width: int = 16
    random_corrections: float = 0.25
    prototypes: PrototypesConfig = field(default_factory=PrototypesConfig)
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
class FusionConfig:
    """How several modalities become one answer.

    Attributes:
        encoders: Modality → what differs from the default for it: backbone (a name, or a run to start from), family, pretrained,
            checkpoint_path, small_stem, arguments, preprocess, frozen. Flat images take the model's own `backbone` and
            `preprocess`, volumes resnet18_3d, texts clip_tiny from scratch (of them: backbone, pretrained, checkpoint_path,
            frozen, arguments.context_length); of `inputs` there is nothing to say.
        join: attention (a learnt query over the modalities that are there), gate (their weighted mean) or concat.
        width: Of what each modality becomes before it is joined.
        dropout: Chance in training of each modality of a sample to be left out, never all of them; 0: none is.
    """

    encoders: dict[str, Any] = field(default_factory=dict)
    join: str = "attention"
    width: int = 128
    dropout: float = 0.25


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
        pool: How the members of a bag, or several photographs of a case, become one: mean, max or attention (of their features,
            before the head).
        freeze: Towers of an image–text model that are not trained: image, text.
        image_tower: A timm name, or that of a network over volumes, in place of an image–text model's own image tower.
        image_pretrained: Start that tower from timm's published weights.
        slices: For volumes, how an image–text model's embeddings of their slices become one: mean, attention, or {pool, chunk}.
        captions: What an image–text model reads: auto (the dataset's captions, else its labels in
            words), column, labels, or a prompt file.
        bottleneck: Of a concept bottleneck (family cbm); None for the others.
        fusion: Of several modalities (family fusion); None for the others.
        ssl: Of pre-training without labels; None: what is learnt is the labels.
        arguments: Further arguments of the architecture, such as {drop_rate: 0.1}.
        preprocess: How images become its input.
    """

    family: str = "cnn"
    backbone: str = "resnet18"
    pretrained: Any = False
    checkpoint_path: str | None = None
    small_stem: bool | None = None
    neighbours: int | None = None
    pool: str = "mean"
    freeze: list[str] = field(default_factory=list)
    image_tower: str | None = None
    image_pretrained: bool = False
    slices: Any = None
    captions: str = "auto"
    bottleneck: BottleneckConfig | None = None
    fusion: FusionConfig | None = None
    ssl: SslConfig | None = None
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
        logit_adjustment: Of classes of a long tail, how much of their log shares is added to the logits in training (Menon et al.
            2021); 1 is usual, None: nothing.
        group: A subgroup column whose groups are weighed against each other, or shall tell nothing: its name, or {column, how,
            cells, ...}; how is dro (the default), fis or balanced, or coral, irm or adversarial, cells=true parts groups by
            class, too. See docs/learning.md.
        targets: Of several targets (data.targets) each one's weight, or its weight and any of the settings above but group:
            {diagnosis: 1, tone: {weight: 0.3, name: corn}}; None: each weighs 1. See docs/targets.md.
    """

    name: str = "auto"
    label_smoothing: float = 0.0
    class_weights: Any = None
    positive_weights: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)
    logit_adjustment: float | None = None
    group: Any = None
    targets: Any = None


@dataclass
class DistillConfig:
    """How much is learnt from a teacher; see docs/learning.md.

    Attributes:
        weight: Share of the loss that is the teacher's, 0 to 1; 0: none.
        temperature: What both models' logits are divided by (Hinton et al. 2015).
        features: Weight of the distance between the teacher's pooled features and a linear projection of one's own; 0: none.
        threshold: Probability from which the teacher's answer stands for a missing label; None: never.
    """

    weight: float = 0.5
    temperature: float = 2.0
    features: float = 0.0
    threshold: float | None = None


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
        fsdp: Share the network, its gradients and the optimizer's state out among processes, in place of a copy in each
            (torch's `fully_shard`).
        checkpoint_activations: Compute activations again on the way back instead of keeping them: less memory, more time, the
            same gradients.
        monitor: Validation metric that chooses the epoch (of a solved probe the penalty), or `loss`; None: auroc, for
            regression mae. A name of medzoo's or torchmetrics'; with arguments {name: {argument: value}}; of several targets
            <target>.<name>.
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
        sampling: shuffle (every sample once an epoch), balanced (classes equally often, drawn
            with replacement; findings by their rarest) or groups (those of loss.group equally often).
        mixup: Beta parameter of mixup (Zhang et al. 2018); 0: off.
        cutmix: Beta parameter of cutmix (Yun et al. 2019); 0: off. With both, one is drawn a batch.
        metrics: Follow accuracy and AUROC (of quantities the mean error) on the training batches, too.
        input: loader (images are augmented by the loader's processes, one by one) or device (those of one shape are held where
            the network is, and augmented there in batches); auto: device on a GPU where the images allow it.
        workers: Loader processes; the numbers do not depend on it.
        trackers: Experiment trackers, by accelerate's names.
        log_every: Optimizer steps between logged values.
        profile: Trace some steps of the first epoch that has more than 3 (profile.json), and say in a line what they wait for.
        teacher: A run of the same labels, also an ensemble, whose answers are learnt from beside the labels.
        distill: How much: {weight, temperature, features, threshold}; None: its defaults, with a teacher.
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
    fsdp: bool = False
    checkpoint_activations: bool = False
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
    profile: bool = False
    teacher: str | None = None
    distill: DistillConfig | None = None


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
