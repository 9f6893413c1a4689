"""`medzoo train -m ...`: Hydra's own sweeps over our training."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf


def sweep(overrides: Sequence[str], config_dir: Path | None) -> int:
    """Hand over to Hydra; each job gets its own run directory under `multirun/<date>/<time>/<job>`."""
    extra = [] if config_dir is None else ["--config-dir", str(config_dir)]
    sys.argv = ["medzoo-train", *overrides, *extra]

    @hydra.main(version_base="1.3", config_path="pkg://medzoo.conf", config_name="train")
    def job(config: DictConfig) -> None:
        from medzoo.train.command import main

        if config.run is None:
            folder = Path(HydraConfig.get().runtime.output_dir) / "run"
            config = OmegaConf.merge(config, {"run": str(folder)})  # type: ignore[assignment]
        main(config)

    job()
    return 0
